"""Grants in an export: that each was made as it says, and each use of one was good, and counted once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from remit.core.decide import Approval
from remit.core.entries import (
    CallDecided,
    Entry,
    GrantRevoked,
    GrantUsed,
    ReviewRuled,
)
from remit.core.facts import roots
from remit.core.granting import (
    compile_grant,
    covers,
    is_of,
    misstated,
    unsound_revocation,
    unusable,
)
from remit.core.grants import GrantState, read_condition
from remit.core.lifecycle import RunState, State
from remit.core.people import People
from remit.core.recorded import RecordedPolicies
from remit.core.reviews import ReviewState
from remit.core.rulings import counts

Say = Callable[[str, str], None]


class GrantChecks:
    """What the entries so far say of grants. `bad` is told what can't be, `note` what couldn't be checked."""

    def __init__(self, bad: Say, note: Callable[[str], None], people: Callable[[str], People | None]) -> None:
        self._bad = bad
        self._note = note
        self._people = people
        self._reviews: dict[str, ReviewState] = {}
        self._conditions: dict[str, bytes] = {}
        self._expected: dict[str, tuple[str, GrantUsed]] = {}

    def said(self, place: str, body: ReviewRuled, value: bytes | None, args: Mapping[str, object] | None) -> None:
        """Takes what a reviewer granted; `args` are those of the reviewed call, where they are disclosed."""
        if body.grant is None or value is None:
            return
        self._conditions[body.grant.condition] = value
        if args is not None and read_condition(value)[1] != args:
            self._bad(place, "what it grants compares with other arguments than those of the reviewed call")

    def made(self, place: str, grant: GrantState, review: State | None, run: State | None) -> None:
        """Checks that everybody whose approval counts has signed what the grant says, under the policy it names."""
        found = review if isinstance(review, ReviewState) else None
        if why := misstated(grant, found):
            return self._bad(place, why)
        assert found is not None  # or it would be misstated
        self._reviews[grant.made.grant] = found
        people = self._people(grant.made.policies)
        if people is None or not counts(people, found):
            self._bad(place, "those who granted it were not enough, or might not, under the policy set it names")
        call = run.calls.get(found.opened.call) if isinstance(run, RunState) else None
        if call is not None and call.record is not None and is_of(grant.terms, call.record):
            self._bad(place, "it is for another agent or tool than the call that was reviewed")
        return None

    def decided(
        self, place: str, at: str, run: RunState, body: CallDecided, states: Mapping[str, State]
    ) -> Approval | None:
        """Checks that every grant that a call names could be used for it; returns what their makers were shown."""
        if not body.grants:
            return None
        disclosed: dict[str, frozenset[str]] = {}
        people = self._people(body.verdict.policies)
        for id in body.grants:
            grant, review = states.get(f"grant/{id}"), self._reviews.get(id)
            if not isinstance(grant, GrantState) or review is None or people is None:
                self._bad(place, f"there is no grant `{id}` before it")
                continue
            if why := unusable(grant, review, body.call, run.started, at, body.verdict.policies, people):
                self._bad(place, f"grant `{id}` can't be used for it: {why}")
                continue
            if id in self._expected:
                self._bad(place, f"grant `{id}` is named twice for one use")
            self._expected[id] = (
                place,
                GrantUsed(id, grant.used + 1, run.run, body.call.id, body.digest or body.call.digest),
            )
            disclosed[grant.made.queue] = frozenset(grant.made.disclosed)
        if not body.key:
            self._bad(place, "it names grants, and isn't intended")
        return Approval(disclosed)

    def compare(
        self, place: str, body: CallDecided, args: Mapping[str, object], facts: Mapping[str, object],
        policies: RecordedPolicies,
    ) -> None:  # fmt: skip
        """Evaluates the conditions of the grants that a call names anew, where they are disclosed."""
        tool = policies.tools[body.call.tool]
        seen = roots(facts, tool, args)
        for id in body.grants:
            review = self._reviews.get(id)
            terms = review.granted if review else None
            value = self._conditions.get(terms.condition) if terms else None
            if value is None:
                self._note(f"{place}: the condition of grant `{id}` is not disclosed, and was not evaluated anew")
                continue
            source, reviewed = read_condition(value)
            if not covers(compile_grant(source, tool, policies.root_types(tool)), seen, tool, reviewed):
                self._bad(place, f"the condition of grant `{id}` is not true of this call")

    def used(self, place: str, body: GrantUsed, *, elsewhere: bool) -> None:
        """Checks that a use is that of the call before it; `elsewhere`: its run is no part of the export."""
        expected = self._expected.pop(body.grant, None)
        if expected is None and not elsewhere:
            self._bad(place, "a use without a call that names it")
        elif expected is not None and expected[1] != body:
            self._bad(place, "it is the use of another call than the one that names it")

    def revoked(self, place: str, entry: Entry, body: GrantRevoked) -> None:
        """Checks who revoked it, and their signature."""
        people, review = self._people(body.policies), self._reviews.get(body.grant)
        if review is None or people is None:
            self._bad(place, "there is no such grant, or the policy set that it names was not loaded before it")
        elif why := unsound_revocation(people, review, body, entry.at):
            self._bad(place, why)

    def end(self) -> None:
        """Tells of calls whose use of a grant is not in its stream."""
        for place, use in self._expected.values():
            self._bad(place, f"grant `{use.grant}` has no entry of this use")
