"""What the entries of a journal say together: that each follows, and that each effect had its verdict.

`remit audit verify` checks an export with it, and a worker what others have written, before it acts on that. It is told
the entries in the order in which they were committed. It imports the pure core only, and none of the code that writes
entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import orjson

from remit.core import entries as e
from remit.core.canonical import plain
from remit.core.counting import CounterState, apply_counter
from remit.core.decide import Approval, Verdict
from remit.core.entries import Entry, Head, Outcome, follow
from remit.core.grants import GrantState
from remit.core.judging import Judged, Standing, is_asked_by, judge, passed
from remit.core.lifecycle import CallState, CallStatus, RunState, RunStatus, State, apply
from remit.core.obligations import is_covered, joined, labels_of
from remit.core.obliging import Document, as_obliged, decide_approved, decide_granted, held, settled
from remit.core.people import People
from remit.core.policy import PolicySet
from remit.core.recorded import UNFIT, RecordedPolicies
from remit.core.reviews import ReviewState, ReviewStatus
from remit.core.rulings import revoked_by, unsound
from remit.core.tools import Repeat, ToolSpec, call_digest, idempotency_key
from remit.core.vouching import unsound_vouching
from remit.errors import RemitError, Tampered
from remit.grantchecks import GrantChecks
from remit.policysets import PolicySets

_ENDED = (ReviewStatus.CONSUMED, ReviewStatus.DENIED, ReviewStatus.EXPIRED, ReviewStatus.WITHDRAWN)


@dataclass(slots=True)
class Counted:
    """How much was checked."""

    decisions: int = 0
    """How many decisions were made again from their recorded facts, with the same verdict."""
    undecided: int = 0
    """How many decisions could not be made again, because a value that they rest on is withheld or erased."""
    effects: int = 0
    approvals: int = 0
    activations: int = 0
    """How many policy sets were activated, signed, and approved where that takes people."""
    rulings: int = 0
    """How many rulings' signatures hold, by reviewers who might rule then."""
    vouched: int = 0
    """How many endorsed sources and removed labels rest on the word of somebody who might say so then."""


class Checks:
    """Everything that the entries so far say, and what of it can't be.

    `bad` is told the place and what is wrong, `note` what couldn't be checked. Memory grows with the number of streams
    and of runs that aren't over, not with that of entries.
    """

    def __init__(
        self, artifacts: Mapping[str, bytes], bad: Callable[[str, str], None], note: Callable[[str], None],
        done: Counted, *, elsewhere: Callable[[str], bool], decides: Callable[[str], bool] = lambda _: True,
    ) -> None:  # fmt: skip
        """Takes what tells it the rest.

        Args:
            artifacts: policy sets, tool specs and graphs by digest; it may grow while entries are told.
            done: is counted up.
            elsewhere: whether a run is no part of what is told, and needn't be.
            decides: whether the decisions of a call with this id are made again.
        """
        self._artifacts = artifacts
        self._bad = bad
        self._note = note
        self._done = done
        self._is_elsewhere = elsewhere
        self._decides = decides
        self.heads: dict[str, Head] = {}
        self.broken: set[str] = set()
        """Streams of which an entry doesn't follow: what comes after it is not looked at."""
        self._states: dict[str, State] = {}
        self._before: State | None = None
        self._over: set[str] = set()
        self._counters: dict[str, CounterState] = {}
        self._counted: dict[str, set[tuple[str, str]]] = {}
        """By run that isn't over: the counter's stream and the call of each count that is for good."""
        self._reviews: dict[str, list[str]] = {}
        self._policies = PolicySets(artifacts, bad)
        self._args: dict[str, dict[str, dict[str, object]]] = {}
        self._used: dict[str, str] = {}
        self._vouched: dict[str, dict[str, Entry]] = {}
        self._grants = GrantChecks(bad, note, self._policies.people)

    def follow(self, entry: Entry) -> None:
        """Adds the next entry to its stream; `check` comes next.

        Raises:
            Tampered, or one of `UNFIT`: it doesn't follow. One broken link says all that can be said of a stream.
        """
        self._before = self._states.get(entry.stream)
        try:
            self.heads[entry.stream] = follow(entry, self.heads.get(entry.stream, Head()))
            if entry.stream in self._over:
                raise Tampered(f"{entry.stream}#{entry.seq} {entry.kind}: it comes after the end of its run")
            if entry.stream.startswith(("run/", "review/", "grant/")):
                self._states[entry.stream] = apply(self._before, entry)
            elif entry.stream.startswith("counter/"):
                self._counters[entry.stream] = apply_counter(self._counters.get(entry.stream), entry)
        except (Tampered, *UNFIT):
            self.broken.add(entry.stream)
            self._args.pop(entry.stream, None)
            raise

    def check(self, place: str, entry: Entry, values: Mapping[str, bytes]) -> None:
        """Checks what the entry that was added last means; `values` are its payloads, by path, those that are there."""
        try:
            self._meaning(place, entry, self._before, values)
        except (RemitError, *UNFIT) as error:
            self._bad(place, str(error) or type(error).__name__)
        self._forget(entry)

    def end(self) -> None:
        """Checks what can only be said once there are no more entries."""
        for stream, state in self._states.items():
            if isinstance(state, ReviewState):
                self._used_up(stream, state)
        self._grants.end()

    def _used_up(self, stream: str, review: ReviewState) -> None:
        consumed = review.status is ReviewStatus.CONSUMED
        if self._is_elsewhere(review.opened.run):
            return
        if stream not in self.broken and consumed != (review.opened.review in self._used):
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
            self._counted.pop(run, None)
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
        elif isinstance(body, e.CounterCounted):
            self._count(place, entry.stream, body)
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

    def _count(self, place: str, stream: str, body: e.CounterCounted) -> None:
        """Checks that a count is of a call that was allowed, or that waits, right before it; and once for good."""
        run = self._states.get(f"run/{body.run}")
        call = run.calls.get(body.call) if isinstance(run, RunState) else None
        if call is None:
            if not self._is_elsewhere(body.run) and f"run/{body.run}" not in self.broken:
                self._bad(place, "there is no such call before it")
            return
        if call.status is not (CallStatus.WAITING if body.reviews else CallStatus.INTENDED):
            self._bad(place, "it counts a call that was not allowed, or that doesn't wait")
        counted = self._counted.setdefault(f"run/{body.run}", set())
        if not body.reviews and (stream, body.call) in counted:
            self._bad(place, "it counts this call a second time")
        if not body.reviews:
            counted.add((stream, body.call))

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
        if not self._decides(call.id):
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
