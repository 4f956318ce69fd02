"""Reads the files of a bundle: a folder or a zip. Part of `verify`, and imports none of the code that writes."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from remit.core.entries import Entry
from remit.errors import BadInput

UNREADABLE = (OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What reading a file of a bundle may raise; the last two are a zip's that is encrypted or of another kind."""
UNFIT = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What values that were never checked may raise."""
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
                self._archive = zipfile.ZipFile(path)
            self._root: Path | zipfile.Path = path if self._archive is None else zipfile.Path(self._archive)
            manifest = orjson.loads((self._root / "manifest.json").read_bytes())
        except UNREADABLE as error:
            raise BadInput(f"`{path}` is not an export: there is no manifest.json in it") from error
        except ValueError as error:
            raise BadInput(f"`{path}`: manifest.json is not JSON: {error}") from error
        if not isinstance(manifest, dict) or manifest.get("format") != "remit export":
            raise BadInput(f"`{path}`: manifest.json is not the manifest of a Remit export")
        if manifest.get("version") != 1:
            raise BadInput(f"`{path}`: export version {manifest.get('version')}: this Remit reads version 1: upgrade")
        return manifest

    def lines(self, name: str) -> Generator[tuple[int, bytes], None, None]:
        """Yields line numbers and lines, without their ends."""
        with (self._root / name).open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line[:-1] if line.endswith(b"\n") else line + b" (cut)"

    def read(self, name: str) -> bytes | None:
        """Returns a small file's bytes; None where it isn't there or can't be read."""
        try:
            return (self._root / name).read_bytes()
        except UNREADABLE:
            return None

    def names(self) -> list[str]:
        """Returns the name of every file there is; in a zip one may be there twice."""
        if isinstance(self._root, zipfile.Path):
            return self._root.root.namelist()
        return sorted(path.name for path in self._root.iterdir())

    def digest(self, name: str) -> str:
        """Returns the SHA-256 of a file."""
        hashed = hashlib.sha256()
        with (self._root / name).open("rb") as file:
            while block := file.read(1 << 20):
                hashed.update(block)
        return hashed.hexdigest()


_Place = tuple[str, int, str]


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
