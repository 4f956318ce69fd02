"""Independent checker of an export: chains, commitments, and that each effect had its verdict.

It reads a bundle and nothing else, and imports the pure core only: none of the code that wrote the journal.
It stops at nothing: the first problem is the first bad line, and what can't be checked is said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.resources import files as files_of
from itertools import islice
from pathlib import Path

import orjson

from remit import proofs
from remit.bundles import UNFIT, UNREADABLE, Bundle, Payloads
from remit.core import entries as e
from remit.core.canonical import canonical, commitment, plain
from remit.core.decide import Approval, Verdict
from remit.core.entries import Entry, Head, Outcome, follow, unseal
from remit.core.grants import GrantState
from remit.core.judging import Judged, Standing, is_asked_by, judge, passed
from remit.core.lifecycle import CallState, CallStatus, RunState, RunStatus, State, apply
from remit.core.merkle import Frontier
from remit.core.notes import VerifierKey
from remit.core.obligations import is_covered, joined, labels_of
from remit.core.obliging import Document, as_obliged, decide_approved, decide_granted, held, settled
from remit.core.people import People
from remit.core.policy import PolicySet
from remit.core.recorded import RecordedPolicies
from remit.core.reviews import ReviewState, ReviewStatus
from remit.core.rulings import revoked_by, unsound
from remit.core.tools import Repeat, ToolSpec, call_digest, idempotency_key
from remit.core.vouching import unsound_vouching
from remit.errors import RemitError, Tampered
from remit.grantchecks import GrantChecks
from remit.policysets import PolicySets

_FILES = ("entries.jsonl", "payloads.jsonl", "artifacts.jsonl", "README.txt")
KNOWN = frozenset(
    (
        *_FILES, "index.html", "verify.py", "checkpoint", "proofs.jsonl", "consistency.json", "keys.json",
        "allowed_signers",
    )
)  # fmt: skip
"""The files that a manifest may name."""
_EARLIER = frozenset(("e8ad6b9d4fcb257d4be1f377414d169852858dc7573b01bb5e331af686371b0f",))
"""SHA-256 of each verify.py that earlier versions wrote into exports."""
_NAMED = 20
"""How many missing values are named one by one."""
_ENDED = (ReviewStatus.CONSUMED, ReviewStatus.DENIED, ReviewStatus.EXPIRED, ReviewStatus.WITHDRAWN)
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
class Verification:
    """What was checked. `problems` is empty where the export holds; `notes` say what couldn't be checked."""

    entries: int = 0
    streams: int = 0
    payloads: int = 0
    decisions: int = 0
    """How many decisions were made again from their recorded facts, with the same verdict."""
    undecided: int = 0
    """How many decisions could not be made again, because a value that they rest on is withheld or erased."""
    erased: int = 0
    """How many values are not there because an entry erased them."""
    withheld: int = 0
    """How many values are not there because the export leaves them out, as its manifest says."""
    erasures: list[str] = field(default_factory=list)
    """Every erasure, in words: when, by whom, how many values of which stream."""
    verifier: str = ""
    """What is to be said about the verifier in the bundle; "" where it is one that Remit wrote."""
    effects: int = 0
    approvals: int = 0
    activations: int = 0
    """How many policy sets were activated, signed, and approved where that takes people."""
    rulings: int = 0
    """How many rulings' signatures hold, by reviewers who might rule then."""
    vouched: int = 0
    """How many endorsed sources and removed labels rest on the word of somebody who might say so then."""
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
        strict: a decision that can't be made again is a problem, even where its values were erased or withheld.
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
        self._heads: dict[str, Head] = {}
        self._states: dict[str, State] = {}
        self._broken: set[str] = set()
        self._over: set[str] = set()
        self._reviews: dict[str, list[str]] = {}
        self._payloads = Payloads(bundle, self._bad)
        self._artifacts: dict[str, bytes] = {}
        self._policies = PolicySets(self._artifacts, self._bad)
        self._args: dict[str, dict[str, dict[str, object]]] = {}
        self._used: dict[str, str] = {}
        self._vouched: dict[str, dict[str, Entry]] = {}
        self._missing: dict[tuple[str, int, str], str] = {}
        self._absent: set[tuple[str, int, str]] = set()
        """Values that aren't there and that no entry has erased so far."""
        self._untold = 0
        self._grants = GrantChecks(self._bad, self._note, self._policies.people)

    def run(self) -> Verification:
        self._files()
        try:
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
        if said != done.withheld:
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
        if done.undecided and self._strict:
            self._bad("decisions", f"{done.undecided} can't be made again: values they rest on are not there")

    def _scope(self, scope: object) -> None:
        runs = {name.removeprefix("run/") for name in self._heads if name.startswith("run/")}
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
        proven = proofs.check(parts, manifest, self._heads, self._tree, self._keys, self._held, self._before, self._bad)
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
        if entry.stream in self._broken:
            return None
        before = self._states.get(entry.stream)
        try:
            self._heads[entry.stream] = follow(entry, self._heads.get(entry.stream, Head()))
            if entry.stream in self._over:
                raise Tampered(f"{entry.stream}#{entry.seq} {entry.kind}: it comes after the end of its run")
            if entry.stream.startswith(("run/", "review/", "grant/")):
                self._states[entry.stream] = apply(before, entry)
        except (Tampered, *UNFIT) as error:
            # One broken link says all that can be said of a stream: what follows hangs on it.
            self._broken.add(entry.stream)
            self._args.pop(entry.stream, None)
            return self._bad(f"entries.jsonl:{number}", str(error))
        values = self._disclosed(place, entry, given)
        try:
            self._meaning(place, entry, before, values)
        except (RemitError, *UNFIT) as error:
            self._bad(place, str(error) or type(error).__name__)
        self._forget(entry)
        return None

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
        for stream in sorted({*listed, *self._heads}):
            head = self._heads.get(stream)
            row = listed.get(stream)
            if row is None or head is None:
                self._bad(stream, "it is in the entries or in the manifest, but not in both")
            elif stream not in self._broken and row != {"entries": head.seq + 1, "head": head.hash}:
                self._bad(
                    stream,
                    f"its last entry is #{head.seq}, but the manifest says otherwise: it was cut or added to",
                )
        self._done.streams = len(self._heads)
        for stream, state in self._states.items():
            if isinstance(state, ReviewState):
                self._used_up(stream, state)
        self._grants.end()

    def _is_elsewhere(self, run: str) -> bool:
        """Whether a run is no part of the export, and needn't be: grants bring the reviews of other runs with them."""
        return f"run/{run}" not in self._heads and self._bundle.manifest.get("scope") != ["all"]

    def _used_up(self, stream: str, review: ReviewState) -> None:
        consumed = review.status is ReviewStatus.CONSUMED
        if self._is_elsewhere(review.opened.run):
            return
        if stream not in self._broken and consumed != (review.opened.review in self._used):
            self._bad(stream, "an approval is used exactly where a call is intended, and here it isn't")

    def _forget(self, entry: Entry) -> None:
        """Drops what nothing can refer to any more: a run that is over, and its reviews when they are, too."""
        if isinstance(entry.body, e.ReviewOpened):
            self._reviews.setdefault(f"run/{entry.body.run}", []).append(entry.stream)
        state = self._states.get(entry.stream)
        if isinstance(state, ReviewState):
            run = f"run/{state.opened.run}"
        elif isinstance(state, RunState) and state.status is not RunStatus.RUNNING:
            run = entry.stream
            del self._states[run]
            self._over.add(run)
            self._args.pop(run, None)
            self._vouched.pop(f"flow/{state.run}", None)
        else:
            return
        if run not in self._over:
            return
        left = []
        for stream in self._reviews.pop(run, ()):
            review = self._states.get(stream)
            if isinstance(review, ReviewState) and review.status not in _ENDED:
                left.append(stream)
            elif isinstance(review, ReviewState):
                self._used_up(stream, review)
                del self._states[stream]
                self._used.pop(review.opened.review, None)
                self._over.add(stream)
        if left:
            self._reviews[run] = left

    # --- what the entries mean ---

    def _meaning(self, place: str, entry: Entry, before: State | None, values: Mapping[str, bytes]) -> None:
        body, state = entry.body, self._states.get(entry.stream)
        if isinstance(body, e.PolicyLoaded):
            id = getattr(body, "review", "")
            review = self._states.get(f"review/{id}")
            found = review if isinstance(review, ReviewState) else None
            self._done.activations += self._policies.loaded(place, entry, body, found, self._used.get(id, ""))
            if id:
                self._used[id] = place
        elif isinstance(body, e.PolicyKept):
            self._policies.kept(body)
            self._note(f"{place}: worker {body.worker} stays under policy set {body.kept[:12]}")
        elif isinstance(body, (e.PolicyRevoked, e.PolicyRestored)):
            self._policies.revoked(place, entry)
        elif isinstance(body, (e.KeyAdded, e.KeyRetired)):
            self._policies.key(body)
        elif isinstance(body, e.RunStarted):
            self._policies.started(place, body)
        elif isinstance(body, e.Erased):
            words = f"erased by {body.by} at {entry.at}"
            self._done.erasures.append(f"{entry.at} by {body.by}: {len(body.places)} values of {body.stream}")
            for seq, path in body.places:
                if (body.stream, seq, path) in self._absent:
                    self._absent.remove((body.stream, seq, path))
                    self._done.erased += 1
                if (body.stream, seq, path) in self._missing:
                    self._missing[body.stream, seq, path] = words
        elif isinstance(body, e.ReviewRuled):
            self._ruled(place, entry, body)
            opened = state.opened if isinstance(state, ReviewState) else None
            args = self._args.get(f"run/{opened.run}", {}).get(opened.call) if opened else None
            self._grants.said(place, body, values.get("/grant"), args)
        elif isinstance(body, e.GrantMade) and isinstance(state, GrantState):
            self._grants.made(
                place, state, self._states.get(f"review/{body.grant}"), self._states.get(f"run/{body.run}")
            )
        elif isinstance(body, e.GrantUsed):
            self._grants.used(place, body, elsewhere=self._is_elsewhere(body.run))
        elif isinstance(body, e.GrantRevoked):
            self._grants.revoked(place, entry, body)
        elif isinstance(body, e.Vouched):
            self._vouched.setdefault(entry.stream, {})[entry.hash] = entry
            if why := revoked_by(self._policies.people(body.policies) or People(), body.by, body.signature):
                self._bad(place, why)
        elif not isinstance(before, RunState) or not isinstance(state, RunState):
            return
        elif isinstance(body, e.RunVouched):
            self._taken(place, state, body)
        elif isinstance(body, e.CallDecided):
            if call_digest(state.run, state.started.principal, body.call) != body.call.digest:
                self._bad(place, "the call's digest is not the digest of what it says")
            asked, args = _args(body.call, values), _args(body.call, values, body.edited)
            if args is not None:
                self._args.setdefault(entry.stream, {})[body.call.id] = args
            current = state.calls[body.call.id].current
            if body.edited and (
                current is None or call_digest(state.run, state.started.principal, current) != body.digest
            ):
                self._bad(place, "the digest of the call that obligations changed is not the digest of what it says")
            self._policies.decided(place, state.started, state.worker, entry.at, body.verdict)
            approval = self._grants.decided(place, entry.at, state, body, self._states)
            under = self._first_decided(place, body, asked, args, values, approval)
            if body.grants and under is not None and args is not None:
                self._grants.compare(place, body, args, plain(values["/facts"]), under)
        elif isinstance(body, e.CallDecidedAgain):
            call = before.calls[body.id]
            policies = self._policies.get(body.verdict.policies)
            judged = self._approved(place, entry, call, body.rulings, body.verdict.policies, used=bool(body.key))
            approval = judged.approval
            if judged.standing is Standing.ANSWERED:
                self._bad(place, "a reviewer answered in the tool's place, and it was decided all the same")
            self._policies.decided(place, state.started, state.worker, entry.at, body.verdict)
            if judged.edit != (body.edited, body.editor, body.digest):
                self._bad(place, "what was decided is not what the reviewers approved")
            if policies and not policies[-1].single_operator and any(map(self._is_single_operator, body.rulings)):
                self._bad(place, "it rests on a ruling in single-operator mode, which its policy set has switched off")
            if call.record is not None:
                self._edited(place, state, body, values)
                args = self._args.get(entry.stream, {}).get(body.id)
                record = state.calls[body.id].current or call.record

                def decided(tool: ToolSpec, facts: Document, policies: PolicySet) -> Verdict:
                    return decide_approved(tool, facts, args or {}, policies, approval)

                self._decided(place, record, args, body.verdict, body.key, values, decided)
        elif isinstance(body, e.CallAnswered):
            call = before.calls[body.id]
            judged = self._approved(place, entry, call, body.rulings, used=True)
            if judged.standing is not Standing.ANSWERED or judged.answer != (body.result, body.reviewer):
                self._bad(place, "it is not the answer that a reviewer gave, or that answer doesn't count")
            self._args.get(entry.stream, {}).pop(body.id, None)
        elif isinstance(body, e.CallIntendedAgain):
            call = before.calls[body.id]
            if body.because == "ruled":
                judged = self._approved(place, entry, call, body.rulings, used=True)
                if judged.approval is None or not judged.approval.disclosed:
                    self._bad(place, "it was run again on an approval that doesn't count")
            elif not self._may_repeat(call, body.because):
                self._bad(place, "it was run again by guess: neither its tool nor a person permits that")
            if body.key != call.key:
                self._bad(place, "it was run again with another idempotency key")
            if body.verdict is not None:
                self._once_more(place, entry, state, call, body.verdict, values, ruled=body.because == "ruled")
                if body.verdict.outcome is not Outcome.ALLOW:
                    self._bad(place, "it was run again, and the policies did not allow that")
        elif isinstance(body, e.CallSettled):
            call = before.calls[body.id]
            if body.verdict is not None:
                ruled = call.status is CallStatus.IN_DOUBT
                self._once_more(place, entry, state, call, body.verdict, values, ruled=ruled)
                if body.ok or body.verdict.outcome is not Outcome.DENY:
                    self._bad(place, "it says that it was not run again, and its verdict or its result says otherwise")
            self._settled(place, call, body, values)
            self._args.get(entry.stream, {}).pop(body.id, None)

    def _once_more(
        self, place: str, entry: Entry, run: RunState, call: CallState, said: e.VerdictRecord,
        values: Mapping[str, bytes], *, ruled: bool,
    ) -> None:  # fmt: skip
        """Decides again whether a call in doubt might be run again."""
        self._policies.decided(place, run.started, run.worker, entry.at, said)
        args, record = self._args.get(entry.stream, {}).get(call.id), call.current
        if record is None:
            return
        reviews = [self._states.get(f"review/{id}") for id in call.reviews] if ruled else []
        also = [hit for one in reviews if isinstance(one, ReviewState) for hit in one.opened.disclosed]
        approval = passed(call.verdict, also)

        def decided(tool: ToolSpec, facts: Document, policies: PolicySet) -> Verdict:
            return decide_approved(tool, facts, args or {}, policies, approval)

        key = call.key if said.outcome is Outcome.ALLOW else ""
        self._decided(place, record, args, said, key, values, decided)

    def _taken(self, place: str, run: RunState, body: e.RunVouched) -> None:
        """Checks that somebody who might has said what the run takes into account."""
        entry = self._vouched.get(f"flow/{run.run}", {}).get(body.hash)
        said = entry.body if entry is not None else None
        if entry is None or not isinstance(said, e.Vouched):
            return self._bad(place, "nobody has vouched for that before it")
        if (said.source, said.by, said.label) != (body.source, body.by, body.label):
            self._bad(place, "it is not what was vouched for")
        loaded = self._policies.get(said.policies)
        if not loaded:
            return self._bad(place, "the policy set that lets them vouch was not loaded before it")
        agents = {task.agent for task in run.tasks.values() if task.agent}
        if why := unsound_vouching(loaded[-1].people(), run.started, agents, said, entry.at):
            return self._bad(place, f"the word it rests on doesn't count: {why}")
        self._done.vouched += 1
        return None

    def _ruled(self, place: str, entry: Entry, body: e.ReviewRuled) -> None:
        review = self._states[entry.stream]
        if not isinstance(review, ReviewState):
            return
        if set(body.disclosed) != {hit.digest for hit in review.opened.disclosed}:
            self._bad(place, "the rules it says were shown are not the rules that the review shows")
        if body.single_operator and not self._policies.single_operator:
            self._bad(place, "made in single-operator mode, which no policy set had switched on")
        if body.policies or not body.single_operator:
            loaded = self._policies.get(body.policies)
            if not body.signature:
                if not body.single_operator:
                    self._bad(place, "an unsigned ruling that wasn't made in single-operator mode")
            elif not loaded:
                self._bad(place, "the policy set whose reviewers it names was not loaded before it")
            elif why := unsound(self._policies.people(body.policies) or People(), review, body, entry.at):
                self._bad(place, why)
            else:
                self._done.rulings += 1

    def _approved(
        self,
        place: str,
        entry: Entry,
        call: CallState,
        rulings: tuple[e.Ruling, ...],
        policies: str = "",
        *,
        used: bool,
    ) -> Judged:
        """Checks that every review of the call was approved: for it, in time, and for the first time."""
        named = {ruling.review: ruling.hash for ruling in rulings}
        if not named or set(named) != set(call.reviews):
            self._bad(place, "it doesn't rest on a ruling in each of the call's reviews")
        found = []
        for id, hash in named.items():
            review = self._states.get(f"review/{id}")
            if not isinstance(review, ReviewState) or review.ruled is None or review.ruling != hash:
                self._bad(place, f"there is no such ruling on review `{id}` before it")
                continue
            if not review.ruled.approved:
                self._bad(place, f"review `{id}` was denied by {review.ruled.reviewer}")
            if call.record is None or call.current is None:
                continue
            if call.current.digest not in (review.opened.digest, review.version):
                self._bad(place, f"the ruling on review `{id}` is for another call")
            if entry.at >= review.expires:
                self._bad(place, f"the approval in review `{id}` had expired at {review.expires}")
            run = self._states.get(entry.stream)
            if isinstance(run, RunState) and not is_asked_by(review, run.started, call.record.agent):
                self._bad(place, f"review `{id}` doesn't say truly who asked")
            if used and id in self._used:
                self._bad(place, f"the approval in review `{id}` was used before, at {self._used[id]}")
            if used:
                self._used[id] = place
            found.append(review)
        self._done.approvals += used
        digest = call.current.digest if call.current else ""
        # An entry that names no policy set is held to the one that the ruling names.
        named_by = [review.ruled.policies for review in found if review.ruled is not None]
        return judge(found, digest, entry.at, self._policies.people(policies or "".join(named_by[:1])))

    def _edited(self, place: str, state: RunState, body: e.CallDecidedAgain, values: Mapping[str, bytes]) -> None:
        """Checks that what a reviewer changed is what is decided from here on."""
        if not body.edited:
            return
        call = state.calls[body.id].current
        if call is None or call_digest(state.run, state.started.principal, call) != body.digest:
            self._bad(place, "the edited call's digest is not the digest of what it says")
        known = self._args.get(f"run/{state.run}", {})
        if any(f"/edited/{name}" not in values for name in body.edited):
            known.pop(body.id, None)  # then it can't be decided again
        elif body.id in known:
            known[body.id] = {**known[body.id], **{name: plain(values[f"/edited/{name}"]) for name in body.edited}}

    def _is_single_operator(self, ruling: e.Ruling) -> bool:
        review = self._states.get(f"review/{ruling.review}")
        return isinstance(review, ReviewState) and review.ruled is not None and review.ruled.single_operator

    def _may_repeat(self, call: CallState, because: str) -> bool:
        """Whether the tool's spec permits it to be run again without asking anybody."""
        if call.record is None or call.status is not CallStatus.INTENDED:
            return False
        data = self._artifacts.get(call.record.tool_digest)
        if data is None:
            self._note(f"call `{call.id}`: run again, and its tool's spec is not in the bundle")
            return True
        spec = ToolSpec.from_document(plain(data))
        return spec.probe if because == "probe" else because == "repeat" and spec.repeat is not Repeat.ONCE

    def _settled(self, place: str, call: CallState, body: e.CallSettled, values: Mapping[str, bytes]) -> None:
        if (call.status is CallStatus.IN_DOUBT or body.verdict is not None) and not body.ok:
            return  # given up: there was no further effect
        self._done.effects += 1
        digest = call.current.digest if call.current else ""
        if call.verdict is None or call.verdict.outcome is not Outcome.ALLOW:
            self._bad(place, "an effect without an allow verdict before it")
        elif call.key != idempotency_key(digest):
            self._bad(place, "the intent before it is for another call")
        if body.ok:
            if not {*labels_of(call.obliged)} <= {*body.labels}:
                self._bad(place, "its result doesn't have the labels that the verdict obliges it to have")
            if "/result" in values and not is_covered(plain(values["/result"]), call.obliged):
                self._bad(place, "its result shows what the verdict obliges to cover")

    def _first_decided(
        self, place: str, body: e.CallDecided, asked: Mapping[str, object] | None,
        args: Mapping[str, object] | None, values: Mapping[str, bytes], approval: Approval | None,
    ) -> RecordedPolicies | None:  # fmt: skip
        """Decides a call again as it was asked for, and, where that obliges to change it, as it was changed.

        With `approval`, then as grants cover it.
        """

        def first(tool: ToolSpec, facts: Document, policies: PolicySet) -> Verdict | str:
            assert args is not None
            if not body.edited:
                found = as_obliged(tool, facts, args, policies)
                return "it is as asked for, and the policies oblige to change it" if found.changed else found.verdict
            if asked is None or "/asked" not in values:
                self._note(f"{place}: decided again as it ran: what was asked for, and is covered, is not disclosed")
                return held(tool, facts, args, body.verdict, policies)
            changed = as_obliged(tool, plain(values["/asked"]), asked, policies)
            if changed.args != args or changed.covered != body.covered:
                return "what was run is not what the verdict obliges the call to be"
            return settled(tool, changed, facts, policies).verdict

        def decided(tool: ToolSpec, facts: Document, policies: PolicySet) -> Verdict | str:
            if approval is None or args is None:
                return first(tool, facts, policies)
            if body.edited and "/asked" not in values:
                return self._granted_as_ran(place, tool, facts, args, body, policies, approval)
            before = first(tool, {**facts, "approval": {"given": False, "reviewers": []}}, policies)
            return before if isinstance(before, str) else decide_granted(tool, facts, args, policies, approval, before)

        return self._decided(place, body.call, args, body.verdict, body.key, values, decided)

    def _granted_as_ran(
        self, place: str, tool: ToolSpec, facts: Document, args: Mapping[str, object], body: e.CallDecided,
        policies: PolicySet, approval: Approval,
    ) -> Verdict:  # fmt: skip
        """Decides a changed call again that grants cover, where the call as it was asked for is not disclosed."""
        self._note(f"{place}: decided again as it ran: what was asked for, and is covered, is not disclosed")
        verdict = decide_approved(tool, facts, args, policies, approval)
        fits = joined(body.verdict.obliged, verdict.obliged) == body.verdict.obliged
        return replace(verdict, obliged=body.verdict.obliged if fits else verdict.obliged, reasons=())

    def _decided(
        self, place: str, call: e.CallRecord, args: Mapping[str, object] | None, said: e.VerdictRecord, key: str,
        values: Mapping[str, bytes], decided: Callable[[ToolSpec, Document, PolicySet], Verdict | str],
    ) -> RecordedPolicies | None:  # fmt: skip
        """Decides again from what was recorded: the same call, facts and policies give the same verdict.

        Returns the policies that it was decided under, where it could be."""
        if bool(key) != (said.outcome is Outcome.ALLOW):
            self._bad(place, f"the verdict is {said.outcome}, but it was {'intended' if key else 'not intended'}")
        loaded = self._policies.get(said.policies)
        if not loaded:
            self._bad(place, f"decided under policy set {said.policies[:12]}, which was not loaded before it")
            return None
        if args is None or "/facts" not in values:
            self._done.undecided += 1
            self._note(f"{place}: not decided again: its arguments or facts are not disclosed")
            return None
        # The same files may have been checked against the tools of several apps: by whom was this decided?
        policies = next((one for one in reversed(loaded) if one.has(call)), None)
        if policies is None:
            self._bad(place, f"tool `{call.tool}` is not the one that the policies were checked against")
            return None
        verdict = decided(policies.tools[call.tool], plain(values["/facts"]), policies.load())
        if isinstance(verdict, str):
            self._bad(place, verdict)
            return policies
        if (verdict.outcome, verdict.rules, verdict.broken, verdict.shadow, verdict.obliged) != (
            said.outcome, said.rules, said.broken, said.shadow, said.obliged,
        ):  # fmt: skip
            self._bad(place, f"decided again it is {verdict.outcome}: {_rules(verdict)}; recorded is {said.outcome}")
            return policies
        if verdict.reasons and "/reasons" in values and orjson.loads(values["/reasons"]) != list(verdict.reasons):
            self._bad(place, "the recorded reasons are not the reasons of this decision")
            return policies
        self._done.decisions += 1
        return policies


def _args(
    call: e.CallRecord, values: Mapping[str, bytes], edited: Mapping[str, str] | None = None
) -> dict[str, object] | None:
    """The call's arguments, where all of them are disclosed; with `edited`, as obligations changed those."""
    paths = {name: f"/edited/{name}" if name in (edited or {}) else f"/args/{name}" for name in call.args}
    if any(path not in values for path in paths.values()):
        return None
    return {name: plain(values[path]) for name, path in paths.items()}


def _rules(verdict: Verdict) -> str:
    return ", ".join(f"{hit.policy}/{hit.rule}" for hit in verdict.rules) or "no rule"
