"""Writes a bundle: a folder, or a `.zip` of it, that `remit audit verify` checks offline.

manifest.json     what is in it: the scope, the streams with their lengths and heads, a SHA-256 of each file
manifest.note     the manifest's SHA-256 as a signed note, where the journal has a key
entries.jsonl     the entries' exact stored bytes, one a line, in the order they were committed
payloads.jsonl    {path, salt, seq, stream, value}: the values that entries commit to, but for those withheld, in the
                  order of their entries, so that both files are read at once
withheld.jsonl    {paths, seq, stream}: the values that are withheld, an entry a line; not there where none is
artifacts.jsonl   {data, digest, kind}: policy sets, tool specs and graphs, by the SHA-256 of `data`
checkpoint        a signed note: how many entries the journal had, and the root of their Merkle tree
proofs.jsonl      {index, proof, seq, stream}: that each stream's last entry is in that tree; its chain does the rest
consistency.json  {checkpoint, proof}: that the tree of a checkpoint the auditor holds begins this one
keys.json         the journal's public keys; an auditor compares them with those they got elsewhere
verify.py         checks all of this with nothing but Python's standard library
README.txt        what this is, for a person
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as files_of
from pathlib import Path

import orjson

from remit.core.canonical import canonical
from remit.core.entries import CallDecided, Entry, Erased, Exported, Payload, PolicyLoaded, ReviewOpened, seal, unseal
from remit.core.merkle import Frontier, leaf_hash
from remit.core.notes import SignerKey, VerifierKey
from remit.core.people import allowed_signers, read_people
from remit.errors import BadInput, Conflict, JournalError, UnknownId
from remit.export.evidence import Evidence
from remit.export.formats import writer
from remit.export.history import history
from remit.export.page import write as write_page
from remit.export.rows import run_rows
from remit.export.withhold import ORIGINAL, Kept, Withhold, covered_paths, nothing
from remit.store.journal import Append, Journal

FORMAT = "remit export"
VERSION = 1
_BATCH = 5_000
_KNOWN = 1_000
_README = """This is an export of a Remit journal: what agents asked for, what was decided, by which rules, who
ruled, and what was done.

Check it with:      remit audit verify <this folder or zip>
or without Remit:   python -I YOUR/verify.py <this folder>

Bring your own copy of verify.py: whoever made this export can have changed the one that lies in it. Get one with
`remit audit verifier > verify.py`, from a Remit that you installed yourself.

entries.jsonl holds the journal's entries, one a line, exactly as they were stored and hashed. Every entry names
the hash of the one before it in its stream. payloads.jsonl holds the values (arguments, results, reasons) that
the entries commit to with a salted SHA-256. artifacts.jsonl holds the policy files and tool descriptions that
the decisions were made with. manifest.json says what belongs to the bundle; checkpoint and manifest.note are
signed, proofs.jsonl shows that what is here is in the journal that was signed, and keys.json lists the public
keys: compare them with the ones you got elsewhere. index.html is for reading.

Each signed ruling can be checked with OpenSSH alone; allowed_signers holds the reviewers' keys as policy has them:

    python -I verify.py --rulings DIR      writes what was signed, and the signatures, one file each
    ssh-keygen -Y verify -f allowed_signers -I REVIEWER -n ruling@remit \\
        -s DIR/REVIEW-1.json.sig < DIR/REVIEW-1.json

With a key that has an end, add `-Overify-time=YYYYMMDDhhmmssZ`, the time of the entry.
"""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was exported: counts, and the SHA-256 of `entries.jsonl`."""

    scope: tuple[str, ...]
    streams: int
    entries: int
    payloads: int
    withheld: int
    digest: str
    signed: bool


@dataclass(frozen=True, slots=True)
class Request:
    """What to export, and how.

    Attributes:
        runs: ids; None for everything in the store.
        signer: signs checkpoint and manifest; None where the journal has no key.
        held: a checkpoint that the auditor has from before; "" for none.
        withhold: says whether a payload stays out of the bundle: its entry's commitment still stands.
    """

    at: str
    actor: str
    runs: Sequence[str] | None = None
    signer: SignerKey | None = None
    keys: Sequence[VerifierKey] = ()
    held: str = ""
    withhold: Withhold = nothing


async def export(journal: Journal, out: Path, request: Request) -> Manifest:
    """Writes runs with their reviews and policies to `out`, with the proofs that they are in the journal.

    It appears there whole or not at all, and the journal records that it was made.

    Raises:
        UnknownId: no such run.
        BadInput: something is at `out` already, it can't be written, or `held` isn't a checkpoint of this journal.
        JournalError: the journal couldn't be read, or doesn't begin with its last checkpoint.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadInput(f"`{out}` is there already: name a new folder or .zip file")
    wanted = None if request.runs is None else await _streams_of(journal, request.runs)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".remit-export-", dir=out.parent) as folder:
            made = Path(folder) / "bundle"
            made.mkdir(mode=0o700)
            manifest = await _write(journal, made, wanted, request)
            await _unerased(journal, made)
            for file in made.iterdir():
                file.chmod(0o600)
            if out.suffix == ".zip":
                _zip(made, Path(folder) / "bundle.zip")
                made = Path(folder) / "bundle.zip"
            await _record(journal, request, manifest)
            if out.is_dir():
                out.rmdir()
            made.replace(out)
    except OSError as error:
        raise BadInput(f"`{out}` can't be written: {error.strerror or error}") from error
    return manifest


async def _unerased(journal: Journal, folder: Path) -> None:
    """Refuses an export in which values were erased while it was written. Raises JournalError."""
    streams = orjson.loads((folder / "manifest.json").read_bytes())["streams"]
    exported = streams.get("store", {"entries": 0})["entries"]
    if any(isinstance(entry.body, Erased) for entry in await journal.read("store", after=exported - 1)):
        raise JournalError("values were erased while this was exported: export again")


async def _streams_of(journal: Journal, runs: Sequence[str]) -> set[str]:
    wanted = {"policy", "store"}  # which policies, keys and erasures there were
    for run in runs:
        entries = await journal.read(f"run/{run}")
        if not entries:
            raise UnknownId(f"there is no run `{run}` in this store")
        wanted |= {f"run/{run}", f"flow/{run}"}
    for name in await journal.streams("review/"):
        opened = (await journal.read(name))[0].body
        if isinstance(opened, ReviewOpened) and (opened.run in runs or opened.activation):
            wanted.add(name)
    return wanted | await _grants_of(journal, wanted)


async def _grants_of(journal: Journal, wanted: set[str]) -> set[str]:
    """Returns the grants that these runs used, or that were made in their reviews, and the reviews of all of them."""
    used = set()
    for name in wanted:
        if name.startswith("run/"):
            bodies = [entry.body for entry in await journal.read(name)]
            used |= {id for body in bodies if isinstance(body, CallDecided) for id in body.grants}
    made = {name.removeprefix("review/") for name in wanted if name.startswith("review/")}
    there = {name.removeprefix("grant/") for name in await journal.streams("grant/")}
    return {f"{family}/{id}" for id in used | (made & there) for family in ("grant", "review")}


async def _write(journal: Journal, folder: Path, wanted: set[str] | None, request: Request) -> Manifest:
    evidence = Evidence(journal, request.signer, request.keys, request.held)
    size = await evidence.begin(request.at)
    written = await _write_entries(journal, folder, size, wanted, request.withhold)
    evidence.check(written.tree)
    streams, files = written.streams, dict(written.files)
    count, payloads, withheld = written.entries, written.payloads, written.withheld
    files["artifacts.jsonl"] = await _write_artifacts(journal, folder / "artifacts.jsonl", list(written.artifacts))
    page = {
        "exported": request.at, "of": ", ".join(request.runs or ["everything"]), "entries": f"{count:,}",
        "values": f"{payloads:,} are here, {withheld:,} are withheld",
    }  # fmt: skip
    runs = [rows async for rows in run_rows(journal, request.runs, request.withhold, streams.last)]
    told = await history(journal, streams.last, request.withhold)
    texts = {
        "index.html": b"".join(write_page(runs, told, page)),
        "README.txt": _README.encode(),
        "verify.py": (files_of("remit.export") / "standalone.py").read_bytes(),
    }
    texts |= await _signers(journal, streams.last)
    for name, data in {**texts, **await evidence.files(streams.last, whole=wanted is None)}.items():
        (folder / name).write_bytes(data)
        files[name] = hashlib.sha256(data).hexdigest()
    scope = ("all",) if request.runs is None else tuple(sorted(request.runs))
    document = {
        "format": FORMAT,
        "version": VERSION,
        "at": request.at,
        "scope": list(scope),
        "size": size,
        "signed": request.signer is not None,
        "entries": count,
        "payloads": payloads,
        "withheld": withheld,
        "streams": streams.ends,
        "files": files,
    }
    manifest = canonical(document) + b"\n"
    (folder / "manifest.json").write_bytes(manifest)
    if request.signer is not None:
        (folder / "manifest.note").write_text(evidence.sign_manifest(manifest), encoding="utf-8")
    return Manifest(
        scope, len(streams.ends), count, payloads, withheld, files["entries.jsonl"], request.signer is not None
    )


class _Streams:
    """What was written of each stream: its end for the manifest, its last entry's place in the tree."""

    def __init__(self) -> None:
        self.ends: dict[str, dict[str, object]] = {}
        self.last: dict[str, tuple[int, int]] = {}

    def add(self, entry: Entry, index: int) -> None:
        self.ends[entry.stream] = {"entries": entry.seq + 1, "head": entry.hash}
        self.last[entry.stream] = (entry.seq, index)


def _artifacts_of(entry: Entry) -> tuple[str, ...]:
    body = entry.body
    if isinstance(body, PolicyLoaded):
        return body.types, body.texts
    graph = getattr(body, "graph_digest", "")
    call = getattr(body, "call", None)
    tool = getattr(call, "tool_digest", "")
    return tuple(digest for digest in (graph, tool) if digest)


class _Written:
    """What was written of the journal."""

    def __init__(self) -> None:
        self.tree = Frontier()
        self.streams = _Streams()
        self.artifacts: dict[str, None] = {}
        self.entries = self.payloads = self.withheld = 0
        self.files: dict[str, str] = {}


async def _write_entries(
    journal: Journal, folder: Path, size: int, wanted: set[str] | None, withhold: Withhold
) -> _Written:
    """Writes the first `size` entries of the journal, those of the wanted streams, and beside them their payloads."""
    done, position, kept = _Written(), 0, _Withholding(journal, withhold)
    places = _Places(folder / "withheld.jsonl")
    with _Lines(folder / "entries.jsonl") as entries, _Lines(folder / "payloads.jsonl") as values, places:
        while position < size and (batch := await journal.since(position, min(_BATCH, size - position))):
            for number, data in batch:
                done.tree.append(leaf_hash(data))
                entry = unseal(data)
                if wanted is not None and entry.stream not in wanted:
                    continue
                entries.write(data)
                done.streams.add(entry, number - 1)
                done.artifacts.update(dict.fromkeys(_artifacts_of(entry)))
                kept.covered |= {(entry.stream, entry.seq, path) for path in covered_paths(entry)}
            for payload in await journal.payloads_between(position, batch[-1][0]):
                if wanted is not None and payload.stream not in wanted:
                    continue
                if await kept(payload):
                    places.add(payload)
                else:
                    values.write(_payload(payload))
            position = batch[-1][0]
            kept.covered.clear()
    done.entries, done.payloads, done.withheld = entries.count, values.count, places.withheld
    done.files = {"entries.jsonl": entries.digest, "payloads.jsonl": values.digest}
    if places.withheld:
        done.files["withheld.jsonl"] = places.digest
    else:
        (folder / "withheld.jsonl").unlink()
    return done


class _Lines:
    """A file of lines, counted and hashed as they are written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hashed = hashlib.sha256()
        self.count = 0

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        self._file.write(data + b"\n")
        self._hashed.update(data + b"\n")
        self.count += 1

    @property
    def digest(self) -> str:
        return self._hashed.hexdigest()


class _Places(_Lines):
    """The places of what is withheld: a line for each entry, as payloads come in the order of their entries."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.withheld = 0
        self._entry = ("", -1)
        self._paths: list[str] = []

    def __exit__(self, *_: object) -> None:
        self._end()
        super().__exit__(*_)

    def add(self, payload: Payload) -> None:
        if self._entry != (payload.stream, payload.seq):
            self._end()
            self._entry = (payload.stream, payload.seq)
        self._paths.append(payload.path)
        self.withheld += 1

    def _end(self) -> None:
        if self._paths:
            stream, seq = self._entry
            self.write(canonical({"stream": stream, "seq": seq, "paths": sorted(self._paths)}))
        self._paths = []


class _Withholding:
    """Says which payloads stay out; what a stream's entries say of that is kept for the streams met last."""

    def __init__(self, journal: Journal, withhold: Withhold) -> None:
        self._journal = journal
        self._withhold = withhold
        self._known: dict[str, Kept] = {}
        self.covered: set[tuple[str, int, str]] = set()
        """What the entries of this batch hold as it was before it was masked."""

    async def __call__(self, payload: Payload) -> bool:
        if payload.path == ORIGINAL or (payload.stream, payload.seq, payload.path) in self.covered:
            return True
        if self._withhold is nothing:
            return False
        kept = self._known.pop(payload.stream, None)
        if kept is None:
            kept = self._withhold(await self._journal.read(payload.stream))
            if len(self._known) >= _KNOWN:
                del self._known[next(iter(self._known))]
        self._known[payload.stream] = kept
        return kept(payload.seq, payload.path)


def _payload(payload: Payload) -> bytes:
    return canonical(
        {
            "stream": payload.stream,
            "seq": payload.seq,
            "path": payload.path,
            "salt": payload.salt.hex(),
            "value": payload.value.decode(),
        }
    )


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


async def _signers(journal: Journal, last: Mapping[str, tuple[int, int]]) -> dict[str, bytes]:
    """Returns the file of reviewers' keys, for `ssh-keygen -Y verify`; none where no policy set names any."""
    seq, _ = last.get("policy", (-1, 0))
    found = []
    for entry in (await journal.read("policy"))[: seq + 1]:
        artifact = await journal.artifact(entry.body.texts) if isinstance(entry.body, PolicyLoaded) else None
        if artifact is not None:
            found.append(read_people(orjson.loads(artifact.data)["files"]))
    text = allowed_signers(found)
    return {"allowed_signers": text.encode()} if text else {}


def _zip(folder: Path, path: Path) -> None:
    path.touch(mode=0o600)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)


async def _record(journal: Journal, request: Request, manifest: Manifest) -> None:
    body = Exported(manifest.scope, manifest.entries, manifest.digest)
    while True:
        sealed = seal("store", await journal.head("store"), request.at, request.actor, body)
        try:
            return await journal.append(Append((sealed,)))
        except Conflict:
            continue


async def export_view(journal: Journal, out: Path, form: str, request: Request) -> int:
    """Writes runs to `out` in the format `form` (see `formats`), and records that. Returns how many there are.

    Raises:
        BadInput: something is at `out` already, it can't be written, or the format's extra isn't installed.
    """
    if out.exists():
        raise BadInput(f"`{out}` is there already: name a new file")
    runs = [rows async for rows in run_rows(journal, request.runs, request.withhold)]
    hashed = hashlib.sha256()
    beside = out.with_name(f".{out.name}.new")
    try:
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600, exist_ok=False)
        with beside.open("wb") as file:
            for data in writer(form)(runs):
                file.write(data)
                hashed.update(data)
        scope = (f"format:{form}", *(("all",) if request.runs is None else sorted(request.runs)))
        await _record(journal, request, Manifest(scope, 0, 0, 0, 0, hashed.hexdigest(), False))
        beside.replace(out)
    except OSError as error:
        raise BadInput(f"`{out}` can't be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
    return len(runs)
