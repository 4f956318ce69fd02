"""Which policy sets a journal had, and which was in force for what, as an export is checked from its beginning."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from remit.core import entries as e
from remit.core.activation import SetsInForce
from remit.core.entries import Entry
from remit.core.people import People
from remit.core.recorded import RecordedPolicies
from remit.core.reviews import ReviewState

Say = Callable[[str, str], None]


class PolicySets:
    """The sets so far. `bad` is told the place and what is wrong."""

    def __init__(self, artifacts: Mapping[str, bytes], bad: Say) -> None:
        self._artifacts = artifacts
        self._bad = bad
        self._force = SetsInForce()
        self._known: dict[str, list[RecordedPolicies]] = {}
        self._last = ""
        self.single_operator = False
        """Whether the last one permits rulings without signatures."""

    def get(self, digest: str) -> list[RecordedPolicies] | None:
        """Returns a set as it was loaded, each time with the tools of then; None where it wasn't."""
        return self._known.get(digest)

    def people(self, digest: str) -> People | None:
        """Who was in charge by a set; without a digest, by the last one before it."""
        loaded = self._known.get(digest or self._last)
        return loaded[-1].people().without(self._force.revoked) if loaded else None

    def revoked(self, place: str, entry: Entry) -> None:
        """A reviewer or a key rules no more, or again."""
        if why := self._force.revoke(entry):
            self._bad(place, why)

    def loaded(self, place: str, entry: Entry, body: e.PolicyLoaded, review: ReviewState | None, used: str) -> bool:
        """Takes in a set that was loaded or activated; says whether it is an activation that counts.

        Args:
            review: the one that an activation names; `used` is where it was used before, "" where it wasn't.
        """
        recorded = RecordedPolicies(body, self._artifacts)
        if body.activation != recorded.people().activation:
            self._bad(place, "it doesn't say truly who must approve an activation")
        activated = isinstance(body, e.PolicyActivated)
        if activated:
            people = self.people(self._last) or People()
            why = self._force.activate(entry, self._artifacts.get(body.texts), people, review)
            if used:
                why = f"the approval in its review was used before, at {used}"
            if why:
                self._bad(place, why)
                return False
        elif not self._force.may_load(body.digest):
            self._bad(place, f"policy set {body.digest[:12]} was loaded, and another one is activated")
            return False
        self.single_operator = body.single_operator
        self._last = body.digest
        self._known.setdefault(body.digest, []).append(recorded)
        return activated

    def kept(self, body: e.PolicyKept) -> None:
        """A worker stays under the set that it had."""
        self._force.kept(body)

    def key(self, body: e.KeyAdded | e.KeyRetired) -> None:
        """A key that may sign activations, or may no more."""
        self._force.key(body)

    def started(self, place: str, body: e.RunStarted) -> None:
        """Checks what a run says of being pinned."""
        graph = self._artifacts.get(body.graph_digest)
        if graph is not None and (orjson.loads(graph).get("policies") == "pinned") is not body.pinned:
            self._bad(place, "it doesn't say truly whether its graph pins its runs to a policy set")
        if body.pinned and not self._force.may_decide(body.policies):
            self._bad(place, f"it is pinned to policy set {body.policies[:12]}, and another one is activated")

    def decided(self, place: str, run: e.RunStarted, worker: str, at: str, verdict: e.VerdictRecord) -> None:
        """Checks that a decision was made under the set in force then, or under the one that its run is pinned to."""
        digest = verdict.policies
        if run.pinned and digest != run.policies:
            self._bad(place, "its run is pinned to another policy set than it was decided under")
        if not run.pinned and not self._force.may_decide(digest, worker):
            self._bad(place, f"decided under policy set {digest[:12]}, and another one was activated before")
        if self._force.is_over(digest, at):
            self._bad(place, f"decided under policy set {digest[:12]}, which had expired")
