"""Independent checker of an export: chains, commitments, and that each effect had its verdict.

It reads a bundle and nothing else, and imports the pure core only: none of the code that wrote the journal.
It stops at nothing: the first problem is the first bad line, and what can't be checked is said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib.resources import files as files_of
from itertools import islice
from pathlib import Path

import orjson

from remit import proofs
from remit.bundles import UNFIT, UNREADABLE, WITHHELD, Bundle, Payloads, withheld_places
from remit.checks import Checks, Counted
from remit.core import entries as e
from remit.core.canonical import canonical, commitment
from remit.core.entries import Entry, unseal
from remit.core.merkle import Frontier
from remit.core.notes import VerifierKey
from remit.errors import RemitError

_FILES = ("entries.jsonl", "payloads.jsonl", "artifacts.jsonl", "README.txt")
KNOWN = frozenset(
    (
        *_FILES, "index.html", "verify.py", "checkpoint", "proofs.jsonl", "consistency.json", "keys.json",
        "allowed_signers", WITHHELD,
    )
)  # fmt: skip
"""The files that a manifest may name."""
_EARLIER = frozenset(("e8ad6b9d4fcb257d4be1f377414d169852858dc7573b01bb5e331af686371b0f",))
"""SHA-256 of each verify.py that earlier versions wrote into exports."""
_NAMED = 20
"""How many missing values are named one by one where an export only counts what is withheld."""
_PROGRESS = 10_000
"""Entries between two reports of progress."""
_KEPT = 1_000
"""How many problems, and how many values that aren't there, are told one by one."""


def verifiers() -> frozenset[str]:
    """Returns the SHA-256 of each verify.py that Remit wrote into exports: this version's, and those before."""
    return _EARLIER | {hashlib.sha256(verifier()).hexdigest()}


def verifier() -> bytes:
    """Returns the verify.py that this version writes into exports."""
    return (files_of("remit") / "export" / "standalone.py").read_bytes()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that isn't as it must be, and where: a file and line, or a stream and entry."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(slots=True)
class Verification(Counted):
    """What was checked. `problems` is empty where the export holds; `notes` say what couldn't be checked."""

    entries: int = 0
    streams: int = 0
    payloads: int = 0
    erased: int = 0
    """How many values are not there because an entry erased them."""
    withheld: int = 0
    """How many values are not there because the export leaves them out, as its manifest says."""
    erasures: list[str] = field(default_factory=list)
    """Every erasure, in words: when, by whom, how many values of which stream."""
    verifier: str = ""
    """What is to be said about the verifier in the bundle; "" where it is one that Remit wrote."""
    signed: tuple[str, ...] = ()
    """Names of the keys that signed it; empty where nobody did."""
    tree: str = ""
    """What its Merkle tree was compared with, in words."""
    problems: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything that was exported is whole and says nothing impossible."""
        return not self.problems


def verify(
    path: Path,
    *,
    keys: Sequence[VerifierKey] = (),
    held: str = "",
    strict: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Checks the bundle at `path`, a folder or a .zip.

    Args:
        keys: public keys that were got elsewhere; without any, those in the bundle are used, and that is noted.
        held: a checkpoint from before: the journal must begin with its entries; "" for none.
        strict: a decision that can't be made again is a problem, even where its values were erased or withheld;
            in an export of everything in which none were, it always is one.
        progress: is told now and then how many entries are done.

    Memory grows with the number of streams, of runs that aren't over and of values that aren't there, not with that
    of entries.

    Raises:
        BadInput: there is nothing at `path`, it isn't an export, or `held` is not a checkpoint of a key known here.
    """
    with closing(Bundle(path)) as bundle:
        return _Verifier(bundle, tuple(keys), held, progress, strict=strict).run()


class _Verifier:
    def __init__(
        self,
        bundle: Bundle,
        keys: tuple[VerifierKey, ...],
        held: str,
        progress: Callable[[int], None] | None,
        *,
        strict: bool,
    ) -> None:
        self._bundle = bundle
        self._keys = keys
        self._held = proofs.read_held(held, keys, bundle.read("keys.json"))
        self._before: bytes | None = None
        """The root that the first entries have, as many as the checkpoint covers that the auditor holds."""
        self._strict = strict
        self._progress = progress
        self._tree = Frontier()
        self._done = Verification()
        self._payloads = Payloads(bundle, self._bad)
        self._artifacts: dict[str, bytes] = {}
        self._checks = Checks(self._artifacts, self._bad, self._note, self._done, elsewhere=self._is_elsewhere)
        self._missing: dict[tuple[str, int, str], str] = {}
        self._absent: set[tuple[str, int, str]] = set()
        """Values that aren't there and that no entry has erased so far."""
        self._listed: set[tuple[str, int, str]] | None = None
        """Values that are listed as withheld; None where the export only counts them."""
        self._untold = 0

    def run(self) -> Verification:
        self._files()
        try:
            self._listed = withheld_places(self._bundle, self._bad)
            self._read_artifacts()
            with closing(self._bundle.lines("entries.jsonl")) as lines:
                self._tree = proofs.check_chains(line for _, line in lines).tree
            if self._held is not None and self._held.size <= self._tree.size:
                with closing(self._bundle.lines("entries.jsonl")) as lines:
                    first = islice((line for _, line in lines), self._held.size)
                    self._before = proofs.check_chains(first).tree.root()
            for number, line in self._bundle.lines("entries.jsonl"):
                self._entry(number, line)
                if self._progress is not None and number % _PROGRESS == 0:
                    self._progress(number)
        except UNREADABLE as error:
            self._bad("bundle", f"it can't be read to its end: {error}")
        self._ends()
        try:
            self._payloads.end()
        except UNREADABLE as error:
            self._bad("bundle", f"it can't be read to its end: {error}")
        finally:
            self._payloads.close()
        self._done.payloads = self._payloads.count
        self._counts()
        for place, why in self._missing.items():
            self._note(f"{place[0]}#{place[1]} {place[2]}: {why}")
        if self._untold:
            self._done.notes.append(f"{self._untold} more values are not disclosed, or were erased")
        self._prove()
        return self._done

    def _counts(self) -> None:
        """Compares what the manifest counts with what is there. What is gone was erased, or withheld as it says."""
        manifest, done = self._bundle.manifest, self._done
        done.withheld = len(self._absent)
        said = manifest.get("withheld")
        if self._listed is not None:
            self._places(self._listed, said)
        elif said != done.withheld:
            self._bad(
                "payloads.jsonl",
                f"{done.withheld} values are missing that no entry erased, and the manifest says that {said} were "
                f"withheld",
            )
            for stream, seq, path in sorted(self._absent)[:_NAMED]:
                self._bad(f"{stream}#{seq} {path}", "the value is missing, or one of those that were withheld")
        for name, count in (("entries", done.entries), ("payloads", done.payloads)):
            if manifest.get(name) != count:
                self._bad("manifest.json", f"it says {manifest.get(name)} {name}, and there are {count}")
        size, scope = manifest.get("size"), manifest.get("scope")
        if not isinstance(size, int) or size < done.entries or (scope == ["all"] and size != done.entries):
            self._bad("manifest.json", f"it says the journal has {size} entries, and {done.entries} are here")
        self._scope(scope)
        # Nothing rests on what the stream `store` commits to, such as the secret that names counters.
        listed = self._listed
        whole = said == 0 if listed is None else all(stream == "store" for stream, _, _ in listed)
        complete = scope == ["all"] and whole and not done.erasures
        if done.undecided and (self._strict or complete):
            self._bad("decisions", f"{done.undecided} can't be made again: values they rest on are not there")

    def _places(self, listed: set[tuple[str, int, str]], said: object) -> None:
        """Compares the places that are listed as withheld with those where no value is and no entry erased one."""
        if said != len(listed):
            self._bad("manifest.json", f"it says that {said} values were withheld, and {WITHHELD} lists {len(listed)}")
        for stream, seq, path in sorted(self._absent - listed):
            self._bad(
                f"{stream}#{seq} {path}", f"the value is missing: not erased by an entry, not listed in {WITHHELD}"
            )
        for stream, seq, path in sorted(listed - self._absent):
            self._bad(f"{stream}#{seq} {path}", f"{WITHHELD} lists it, and it is there, was erased, or never was")

    def _scope(self, scope: object) -> None:
        runs = {name.removeprefix("run/") for name in self._checks.heads if name.startswith("run/")}
        if not isinstance(scope, list) or not all(isinstance(run, str) for run in scope):
            return self._bad("manifest.json", "its scope is neither `all` nor a list of runs")
        if scope != ["all"] and set(scope) != runs:
            odd = ", ".join(sorted(set(scope) ^ runs)[:5])
            self._bad("manifest.json", f"its scope was changed: it is not the runs that are here: {odd}")
        return None

    def _prove(self) -> None:
        read = self._bundle.read
        parts = proofs.Parts(
            read("manifest.json") or b"", read("manifest.note"), read("checkpoint"), read("keys.json"),
            read("proofs.jsonl"), read("consistency.json"),
        )  # fmt: skip
        manifest = self._bundle.manifest
        proven = proofs.check(
            parts, manifest, self._checks.heads, self._tree, self._keys, self._held, self._before, self._bad
        )
        self._done.signed, self._done.tree = proven.signed, proven.tree
        self._done.notes.extend(proven.notes)

    def _bad(self, place: str, message: str) -> None:
        if len(self._done.problems) < _KEPT:
            self._done.problems.append(Finding(place, message))

    def _note(self, message: str) -> None:
        if len(self._done.notes) < 2 * _KEPT:
            self._done.notes.append(message)

    # --- the bundle's parts ---

    def _files(self) -> None:
        files = self._bundle.manifest.get("files")
        named = [str(name) for name in files if str(name) in KNOWN] if isinstance(files, dict) else []
        for name in sorted(set(files) - KNOWN) if isinstance(files, dict) else ():
            self._bad("manifest.json", f"it names {name!r}, which is no file of an export")
        for name in dict.fromkeys((*_FILES, *named)):
            try:
                if not isinstance(files, dict) or self._bundle.digest(name) != files.get(name):
                    self._bad(name, "it is not the file that the manifest describes: its SHA-256 differs")
            except UNREADABLE as error:
                self._bad(name, f"it is missing or can't be read: {error}")
        self._done.verifier = self._verifier_differs()

        there = self._bundle.names()
        for name in dict.fromkeys(there):
            if there.count(name) > 1:
                self._bad(name, "there are two files of this name in the zip")
            elif name not in (*_FILES, *named, "manifest.json", "manifest.note"):
                self._note(f"{name} is no part of the export")

    def _verifier_differs(self) -> str:
        """Compares the bundle's verify.py with those that Remit writes; an auditor must not run another."""
        try:
            if self._bundle.digest("verify.py") in verifiers():
                return ""
        except UNREADABLE:
            return "there is no verify.py in it: use your own, of `remit audit verifier`"
        return (
            "verify.py in it is not one that this Remit knows: don't trust it; use your own, of `remit audit verifier`"
        )

    def _read_artifacts(self) -> None:
        for number, line in self._bundle.lines("artifacts.jsonl"):
            place = f"artifacts.jsonl:{number}"
            try:
                row = orjson.loads(line)
                data = row["data"].encode()
                if hashlib.sha256(data).hexdigest() != row["digest"]:
                    self._bad(place, f"{row['kind']} {row['digest']}: the data has another SHA-256")
                else:
                    self._artifacts[row["digest"]] = data
            except UNFIT as error:
                self._bad(place, f"not an artifact: {error}")

    def _entry(self, number: int, line: bytes) -> None:
        self._done.entries += 1
        try:
            entry = unseal(line)
            exact = canonical(orjson.loads(line)) == line
        except (RemitError, *UNFIT) as error:
            return self._bad(f"entries.jsonl:{number}", str(error))
        place = f"entries.jsonl:{number}: {entry.stream}#{entry.seq} {entry.kind}"
        if not exact:
            self._bad(place, "these are not the canonical bytes of the entry")
        given = self._payloads.of(entry)
        if entry.stream in self._checks.broken:
            return None
        try:
            self._checks.follow(entry)
        except (RemitError, *UNFIT) as error:
            return self._bad(f"entries.jsonl:{number}", str(error))
        values = self._disclosed(place, entry, given)
        if isinstance(entry.body, e.Erased):
            self._erased(entry, entry.body)
        self._checks.check(place, entry, values)
        return None

    def _erased(self, entry: Entry, body: e.Erased) -> None:
        words = f"erased by {body.by} at {entry.at}"
        self._done.erasures.append(f"{entry.at} by {body.by}: {len(body.places)} values of {body.stream}")
        for seq, path in body.places:
            if (body.stream, seq, path) in self._absent:
                self._absent.remove((body.stream, seq, path))
                self._done.erased += 1
            if (body.stream, seq, path) in self._missing:
                self._missing[body.stream, seq, path] = words

    def _disclosed(self, place: str, entry: Entry, given: dict[str, tuple[bytes, bytes]]) -> dict[str, bytes]:
        """Checks the entry's payloads and returns their values by path."""
        values = {}
        for path, expected in e.commitments(entry.body).items():
            found = given.pop(path, None)
            if found is None:
                self._absent.add((entry.stream, entry.seq, path))
            if found is None and len(self._missing) < _KEPT:
                self._missing[entry.stream, entry.seq, path] = "the value is not disclosed"
            elif found is None:
                self._untold += 1
            elif commitment(*found) != expected:
                self._bad(place, f"{path}: the payload is not what the entry committed to")
            else:
                values[path] = found[1]
        for path in given:
            self._bad(place, f"{path}: a payload that no entry commits to")
        return values

    def _ends(self) -> None:
        listed = self._bundle.manifest.get("streams")
        listed = listed if isinstance(listed, dict) else {}
        for stream in sorted({*listed, *self._checks.heads}):
            head = self._checks.heads.get(stream)
            row = listed.get(stream)
            if row is None or head is None:
                self._bad(stream, "it is in the entries or in the manifest, but not in both")
            elif stream not in self._checks.broken and row != {"entries": head.seq + 1, "head": head.hash}:
                self._bad(
                    stream,
                    f"its last entry is #{head.seq}, but the manifest says otherwise: it was cut or added to",
                )
        self._done.streams = len(self._checks.heads)
        self._checks.end()

    def _is_elsewhere(self, run: str) -> bool:
        """Whether a run is no part of the export, and needn't be: grants bring the reviews of other runs with them."""
        return f"run/{run}" not in self._checks.heads and self._bundle.manifest.get("scope") != ["all"]
