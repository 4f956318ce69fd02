"""Writes a bundle: a folder, or a `.zip` of it, that `remit audit verify` checks offline.

manifest.json     what is in it: the scope, the streams with their lengths and heads, a SHA-256 of each file
entries.jsonl     the entries' exact stored bytes, one a line, in the order they were committed
payloads.jsonl    {path, salt, seq, stream, value}: the values that entries commit to
artifacts.jsonl   {data, digest, kind}: policy sets, tool specs and graphs, by the SHA-256 of `data`
README.txt        what this is, for a person
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from remit.core.canonical import canonical
from remit.core.entries import Entry, Exported, PolicyLoaded, ReviewOpened, seal, unseal
from remit.errors import BadInput, Conflict, JournalError, UnknownId
from remit.store.journal import Append, Journal

FORMAT = "remit export"
VERSION = 1
_BATCH = 5_000
_README = """This is an export of a Remit journal: what agents asked for, what was decided, by which rules, who
ruled, and what was done.

Check it with:      remit audit verify <this folder or zip>

entries.jsonl holds the journal's entries, one a line, exactly as they were stored and hashed. Every entry names
the hash of the one before it in its stream. payloads.jsonl holds the values (arguments, results, reasons) that
the entries commit to with a salted SHA-256. artifacts.jsonl holds the policy files and tool descriptions that
the decisions were made with. manifest.json says what belongs to the bundle.
"""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was exported: counts, and the SHA-256 of `entries.jsonl`."""

    scope: tuple[str, ...]
    streams: int
    entries: int
    payloads: int
    digest: str


async def export(journal: Journal, out: Path, at: str, actor: str, runs: Sequence[str] | None = None) -> Manifest:
    """Writes `runs` (all of the store for None) with their reviews and policies to `out`.

    It appears there whole or not at all, and the journal records that it was made.

    Raises:
        UnknownId: no such run.
        BadInput: something is at `out` already, or it can't be written.
        JournalError: the journal couldn't be read.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadInput(f"`{out}` is there already: name a new folder or .zip file")
    wanted = None if runs is None else await _streams_of(journal, runs)
    scope = ("all",) if runs is None else tuple(sorted(runs))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".remit-export-", dir=out.parent) as folder:
            made = Path(folder) / "bundle"
            made.mkdir()
            manifest = await _write(journal, made, wanted, scope, at)
            if out.suffix == ".zip":
                _zip(made, Path(folder) / "bundle.zip")
                made = Path(folder) / "bundle.zip"
            await _record(journal, at, actor, manifest)
            if out.is_dir():
                out.rmdir()
            made.replace(out)
    except OSError as error:
        raise BadInput(f"`{out}` can't be written: {error.strerror or error}") from error
    return manifest


async def _streams_of(journal: Journal, runs: Sequence[str]) -> set[str]:
    wanted = {"policy"}
    for run in runs:
        entries = await journal.read(f"run/{run}")
        if not entries:
            raise UnknownId(f"there is no run `{run}` in this store")
        wanted.add(f"run/{run}")
    for name in await journal.streams("review/"):
        opened = (await journal.read(name))[0].body
        if isinstance(opened, ReviewOpened) and opened.run in runs:
            wanted.add(name)
    return wanted


async def _write(journal: Journal, folder: Path, wanted: set[str] | None, scope: tuple[str, ...], at: str) -> Manifest:
    streams: dict[str, dict[str, object]] = {}
    artifacts: dict[str, None] = {}
    count, position, hashed = 0, 0, hashlib.sha256()
    with (folder / "entries.jsonl").open("wb") as file:
        while batch := await journal.since(position, _BATCH):
            position = batch[-1][0]
            for _, data in batch:
                entry = unseal(data)
                if wanted is not None and entry.stream not in wanted:
                    continue
                count += 1
                file.write(data + b"\n")
                hashed.update(data + b"\n")
                streams[entry.stream] = {"entries": entry.seq + 1, "head": entry.hash}
                artifacts.update(dict.fromkeys(_artifacts_of(entry)))
    files = {"entries.jsonl": hashed.hexdigest()}
    payloads, files["payloads.jsonl"] = await _write_payloads(journal, folder / "payloads.jsonl", sorted(streams))
    files["artifacts.jsonl"] = await _write_artifacts(journal, folder / "artifacts.jsonl", list(artifacts))
    (folder / "README.txt").write_text(_README, encoding="utf-8")
    files["README.txt"] = hashlib.sha256(_README.encode()).hexdigest()
    document = {
        "format": FORMAT,
        "version": VERSION,
        "at": at,
        "scope": list(scope),
        "entries": count,
        "payloads": payloads,
        "streams": streams,
        "files": files,
    }
    (folder / "manifest.json").write_bytes(canonical(document) + b"\n")
    return Manifest(scope, len(streams), count, payloads, files["entries.jsonl"])


def _artifacts_of(entry: Entry) -> tuple[str, ...]:
    body = entry.body
    if isinstance(body, PolicyLoaded):
        return body.types, body.texts
    graph = getattr(body, "graph_digest", "")
    call = getattr(body, "call", None)
    tool = getattr(call, "tool_digest", "")
    return tuple(digest for digest in (graph, tool) if digest)


async def _write_payloads(journal: Journal, path: Path, streams: Sequence[str]) -> tuple[int, str]:
    count, hashed = 0, hashlib.sha256()
    with path.open("wb") as file:
        for stream in streams:
            for payload in (await journal.payloads(stream)).values():
                row = {
                    "stream": payload.stream,
                    "seq": payload.seq,
                    "path": payload.path,
                    "salt": payload.salt.hex(),
                    "value": payload.value.decode(),
                }
                line = canonical(row) + b"\n"
                file.write(line)
                hashed.update(line)
                count += 1
    return count, hashed.hexdigest()


async def _write_artifacts(journal: Journal, path: Path, digests: Sequence[str]) -> str:
    hashed = hashlib.sha256()
    with path.open("wb") as file:
        for digest in digests:
            found = await journal.artifact(digest)
            if found is None:
                raise JournalError(f"artifact {digest} is named by an entry, but is not in the store")
            row = {"digest": digest, "kind": found.kind, "data": found.data.decode()}
            line = orjson.dumps(row, option=orjson.OPT_SORT_KEYS) + b"\n"
            file.write(line)
            hashed.update(line)
    return hashed.hexdigest()


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)


async def _record(journal: Journal, at: str, actor: str, manifest: Manifest) -> None:
    body = Exported(manifest.scope, manifest.entries, manifest.digest)
    while True:
        sealed = seal("store", await journal.head("store"), at, actor, body)
        try:
            return await journal.append(Append((sealed,)))
        except Conflict:
            continue
