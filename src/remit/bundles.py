"""Reads the files of a bundle: a folder or a zip. Part of `verify`, and imports none of the code that writes."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from remit.core.entries import Entry
from remit.errors import BadInput

UNREADABLE = (OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What reading a file of a bundle may raise; the last two are a zip's that is encrypted or of another kind."""
UNFIT = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What values that were never checked may raise."""
MEMBERS = 64
"""How many files a bundle may have; Remit writes about a dozen."""
FILE_BYTES = 8 << 30
"""How many bytes a file of a bundle may have, after it was unpacked."""
TOTAL_BYTES = 16 << 30
"""How many bytes all files of a .zip may have, after they were unpacked."""
SMALL_BYTES = 256 << 20
"""How many bytes a file that is read at once may have: the manifest, the proofs and the keys."""
LINE_BYTES = 64 << 20
"""How many bytes a line may have."""
_LEFT = 20


class Bundle:
    """The files of a folder or a zip."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise BadInput(f"there is nothing at `{path}`: name a folder or .zip that `remit audit export` wrote")
        self._archive: zipfile.ZipFile | None = None
        try:
            self.manifest = self._manifest()
        except BadInput:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the zip."""
        if self._archive is not None:
            self._archive.close()

    def _manifest(self) -> dict[str, Any]:
        path = self._path
        try:
            if not path.is_dir():
                if not path.is_file():
                    raise BadInput(f"`{path}` is neither a folder nor a regular file: name an export")
                self._archive = zipfile.ZipFile(path)
            self._bound()
            manifest = orjson.loads(self._whole("manifest.json"))
        except UNREADABLE as error:
            raise BadInput(f"`{path}` is not an export: its manifest.json can't be read: {error}") from error
        except ValueError as error:
            raise BadInput(f"`{path}`: manifest.json is not JSON: {error}") from error
        if not isinstance(manifest, dict) or manifest.get("format") != "remit export":
            raise BadInput(f"`{path}`: manifest.json is not the manifest of a Remit export")
        if manifest.get("version") != 1:
            raise BadInput(f"`{path}`: export version {manifest.get('version')}: this Remit reads version 1: upgrade")
        return manifest

    def _bound(self) -> None:
        """Refuses what is too much to read. Raises BadInput."""
        count = len(self.names())
        if count > MEMBERS:
            raise BadInput(f"`{self._path}`: {count} files, and an export has at most {MEMBERS}")
        total = sum(member.file_size for member in self._archive.infolist()) if self._archive is not None else 0
        if total > TOTAL_BYTES:
            raise BadInput(f"`{self._path}`: {total} bytes when unpacked, and at most {TOTAL_BYTES} are read")

    def _open(self, name: str) -> BinaryIO:
        """Opens a regular file. Raises OSError for anything else, such as a link, a FIFO or a device."""
        if self._archive is not None:
            member = self._archive.getinfo(name)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise OSError(f"{name} is not a regular file")
            if member.file_size > FILE_BYTES:
                raise OSError(f"{name} has {member.file_size} bytes when unpacked, and at most {FILE_BYTES} are read")
            return cast("BinaryIO", self._archive.open(member))
        path = self._path / name
        if path.is_symlink():
            raise OSError(f"{name} is a link: an export has regular files only")
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_BYTES:
            os.close(number)
            what = f"has more than {FILE_BYTES} bytes" if stat.S_ISREG(found.st_mode) else "is not a regular file"
            raise OSError(f"{name} {what}")
        return os.fdopen(number, "rb")

    def _whole(self, name: str) -> bytes:
        with self._open(name) as file:
            data = file.read(SMALL_BYTES + 1)
        if len(data) > SMALL_BYTES:
            raise OSError(f"{name} has more than the {SMALL_BYTES} bytes that are read of it")
        return data

    def lines(self, name: str) -> Generator[tuple[int, bytes], None, None]:
        """Yields line numbers and lines, without their ends."""
        with self._open(name) as file:
            number = done = 0
            while line := file.readline(LINE_BYTES + 1):
                number, done = number + 1, done + len(line)
                if len(line) > LINE_BYTES:
                    raise OSError(f"{name}:{number} has more than the {LINE_BYTES} bytes that a line may have")
                if done > FILE_BYTES:
                    raise OSError(f"{name} has more than the {FILE_BYTES} bytes that are read of it")
                yield number, line[:-1] if line.endswith(b"\n") else line + b" (cut)"

    def read(self, name: str) -> bytes | None:
        """Returns a small file's bytes; None where it isn't there or can't be read."""
        try:
            return self._whole(name)
        except UNREADABLE:
            return None

    def names(self) -> list[str]:
        """Returns the name of every file there is, at most one more than are read; in a zip one may be there twice."""
        if self._archive is not None:
            return self._archive.namelist()
        found = []
        with os.scandir(self._path) as there:
            for entry in there:
                found.append(entry.name)
                if len(found) > MEMBERS:
                    break
        return sorted(found)

    def digest(self, name: str) -> str:
        """Returns the SHA-256 of a file."""
        hashed, done = hashlib.sha256(), 0
        with self._open(name) as file:
            while block := file.read(1 << 20):
                done += len(block)
                if done > FILE_BYTES:
                    raise OSError(f"{name} has more than the {FILE_BYTES} bytes that are read of it")
                hashed.update(block)
        return hashed.hexdigest()


_Place = tuple[str, int, str]
WITHHELD = "withheld.jsonl"


def withheld_places(bundle: Bundle, bad: Callable[[str, str], None]) -> set[tuple[str, int, str]] | None:
    """Returns stream, number and path of each value that is listed as withheld; what is no such line goes to `bad`.

    None where nothing is listed though something is withheld: exports of earlier versions say only how many there are.
    """
    files = bundle.manifest.get("files")
    if not isinstance(files, dict) or WITHHELD not in files:
        return None if bundle.manifest.get("withheld") else set()
    found: set[tuple[str, int, str]] = set()
    with closing(bundle.lines(WITHHELD)) as lines:
        for number, line in lines:
            try:
                row = orjson.loads(line)
                stream, seq, paths = row["stream"], row["seq"], row["paths"]
                if (type(stream), type(seq), type(paths)) != (str, int, list) or {*map(type, paths)} != {str}:
                    raise TypeError("its stream is text, its seq a number, its paths a list of text")
            except UNFIT as error:
                bad(f"{WITHHELD}:{number}", f"not the places of values: {error}")
                continue
            for path in paths:
                if (stream, seq, path) in found:
                    bad(f"{WITHHELD}:{number}", f"{stream}#{seq} {path}: listed a second time")
                found.add((stream, seq, path))
    return found


class Payloads:
    """The payloads, read beside the entries: they stand in the same order."""

    def __init__(self, bundle: Bundle, bad: Callable[[str, str], None]) -> None:
        self._rows = self._read(bundle, bad)
        self._bad = bad
        self._next: tuple[int, _Place, tuple[bytes, bytes]] | None = None
        self._begun = False
        self.count = 0

    def of(self, entry: Entry) -> dict[str, tuple[bytes, bytes]]:
        """Returns salt and value of each payload of the entry, by path."""
        if not self._begun:
            self._begun, self._next = True, next(self._rows, None)
        found: dict[str, tuple[bytes, bytes]] = {}
        while self._next is not None and self._next[1][:2] == (entry.stream, entry.seq):
            number, (_, _, path), value = self._next
            if path in found:
                self._bad(f"payloads.jsonl:{number}", f"a second payload {path} of {entry.stream}#{entry.seq}")
            found[path] = value
            self._next = next(self._rows, None)
        return found

    def end(self) -> None:
        """Reports what is left when there are no more entries."""
        left = 0
        if not self._begun:
            self._next = next(self._rows, None)
        while self._next is not None:
            number, (stream, seq, path), _ = self._next
            if left < _LEFT:
                self._bad(
                    f"payloads.jsonl:{number}",
                    f"{stream}#{seq} {path}: a payload that no entry commits to, or one out of its place",
                )
            left, self._next = left + 1, next(self._rows, None)

    def close(self) -> None:
        """Lets go of the file, wherever reading it ended."""
        self._rows.close()

    def _read(
        self, bundle: Bundle, bad: Callable[[str, str], None]
    ) -> Generator[tuple[int, _Place, tuple[bytes, bytes]], None, None]:
        with closing(bundle.lines("payloads.jsonl")) as lines:
            for number, line in lines:
                try:
                    row = orjson.loads(line)
                    place = (row["stream"], row["seq"], row["path"])
                    if tuple(map(type, place)) != (str, int, str):
                        raise TypeError("its stream and path are text, its seq a number")
                    value = (bytes.fromhex(row["salt"]), row["value"].encode())
                except UNFIT as error:
                    bad(f"payloads.jsonl:{number}", f"not a payload: {error}")
                    continue
                self.count += 1
                yield number, place, value
