"""The grants that a worker knows: which of them cover a call, and their uses as they are handed to the writer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from remit.core.conditions import Condition
from remit.core.decide import Approval, Verdict
from remit.core.entries import CallRecord, GrantUsed, Outcome, Sealed, unseal
from remit.core.facts import Facts, roots
from remit.core.granting import compile_grant, covers, misstated, unusable
from remit.core.grants import GrantState, apply_grant, read_condition
from remit.core.policy import PolicySet
from remit.core.reviews import ReviewState
from remit.core.rulings import names_of
from remit.core.tools import Call, JsonSchema, ToolSpec
from remit.errors import BadInput, NewerJournal, Tampered
from remit.logs import get
from remit.runtime.ambient import Ambient
from remit.runtime.load import condition_payload, load_grant, load_review
from remit.runtime.stream import Draft, RunStream
from remit.store.journal import Journal

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Usable:
    """A grant that may cover a call: what it says, and its condition for the call's tool."""

    review: ReviewState
    condition: Condition
    reviewed: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Covered:
    """A call that grants cover: by which, the facts and the approval to decide it with, and what their use is."""

    grants: tuple[str, ...]
    facts: Facts
    approval: Approval
    used: tuple[tuple[Draft, Sealed], ...]
    verdict: Verdict
    """What was decided without them, and then with them."""


class GrantBook:
    """What a worker has read of the journal's grants, and what it has enqueued itself since."""

    def __init__(self, journal: Journal, ambient: Ambient) -> None:
        self._journal = journal
        self._ambient = ambient
        self._seen = 0
        self._open: dict[str, GrantState] = {}
        self._stale: set[str] = set()
        self._made: dict[tuple[str, str], Usable] = {}

    async def usable(
        self, policies: PolicySet, record: CallRecord, tool: ToolSpec, types: Mapping[str, JsonSchema], now: str
    ) -> dict[str, Usable]:
        """Returns the open grants that are for this agent and tool, as they are in the journal now."""
        for number, name in await self._journal.streams_since(self._seen, "grant/"):
            self._seen = max(number, self._seen)
            self._stale.add(name.removeprefix("grant/"))
        found = {}
        for id in sorted({*self._open, *self._stale}):
            known = None if id in self._stale else self._open.get(id)
            if known is not None and known.is_open(now) and not _is_for(known, record, tool):
                continue  # what it is for never changes
            try:
                state = await self._read(id)
                if state is not None and not state.is_open(now):
                    self._open.pop(id, None)
                    self._made = {key: made for key, made in self._made.items() if key[0] != id}
                elif state is not None and _is_for(state, record, tool):
                    found[id] = await self._usable(state, policies.digest, tool, types)
            except (BadInput, Tampered, NewerJournal) as error:
                _log.warning("grant can't be used", grant=id, error=str(error))
        return found

    async def _read(self, id: str) -> GrantState | None:
        """Returns a grant as the journal has it; one that this worker has enqueued a use of is ahead of that."""
        if id in self._stale:
            self._open[id] = await load_grant(self._journal, id)
            self._stale.discard(id)
            return self._open[id]
        seen = state = self._open[id]
        for entry in await self._journal.read(f"grant/{id}", seen.head.seq):
            state = apply_grant(state, entry)
        if self._open.get(id) is seen:
            self._open[id] = state
        return self._open.get(id)

    async def _usable(
        self, state: GrantState, policies: str, tool: ToolSpec, types: Mapping[str, JsonSchema]
    ) -> Usable:
        key = (state.made.grant, policies)
        if key not in self._made:
            review = await load_review(self._journal, state.made.grant)
            if why := misstated(state, review):
                raise Tampered(why)
            payload = await condition_payload(self._journal, review)
            if payload is None:
                raise Tampered("its condition was erased")
            source, reviewed = read_condition(payload.value)
            self._made[key] = Usable(review, compile_grant(source, tool, types), reviewed)
        return self._made[key]

    def current(self, usable: Mapping[str, Usable] | None) -> Mapping[str, Usable] | None:
        """Returns what `usable` returned, or None where that has to be read again."""
        return None if usable is None or not self._stale.isdisjoint(usable) else usable

    def cover(
        self, usable: Mapping[str, Usable], verdict: Verdict, stream: RunStream, call: Call, tool: ToolSpec,
        facts: Facts, policies: PolicySet,
    ) -> Covered | None:  # fmt: skip
        """Returns what covers a call that was escalated: a grant for each queue it would wait in, or None."""
        started, seen = stream.state.started, roots(facts.document(), tool, call.args)
        chosen: dict[str, str] = {}
        for queue in verdict.queues:
            asking = {hit.digest for hit in (*verdict.rules, *verdict.broken) if _asks(hit.effect, hit.queue, queue)}
            for id, one in usable.items():
                state = self._open.get(id)
                if state is None or state.made.queue != queue:
                    continue
                if not asking <= set(state.made.disclosed):
                    continue
                if unusable(state, one.review, call.record, started, facts.now, policies.digest, policies.people):
                    continue
                if covers(one.condition, seen, tool, one.reviewed):
                    chosen[queue] = id
                    break
            else:
                return None
        try:
            used = tuple(self._used(id, call) for id in chosen.values())
        except Tampered:
            return None  # it has ended in this very moment
        return self._covered(usable, chosen, facts, used, verdict)

    def _used(self, id: str, call: Call) -> tuple[Draft, Sealed]:
        state = self._open[id]
        draft = Draft(f"grant/{id}", state.head, self._ambient)
        sealed = draft.seal("gate", GrantUsed(id, state.used + 1, call.run, call.id, call.digest))
        apply_grant(state, unseal(sealed.bytes))
        return draft, sealed

    def _covered(
        self, usable: Mapping[str, Usable], chosen: Mapping[str, str], facts: Facts,
        used: tuple[tuple[Draft, Sealed], ...], verdict: Verdict,
    ) -> Covered:  # fmt: skip
        disclosed = {queue: frozenset(self._open[id].made.disclosed) for queue, id in chosen.items()}
        names = [name for id in chosen.values() for name in names_of(usable[id].review.approving)]
        approved = replace(facts, approved=True, reviewers=tuple(dict.fromkeys(names)))
        return Covered(tuple(chosen.values()), approved, Approval(disclosed), used, verdict)

    def handed(
        self, grants: Sequence[str], used: Sequence[tuple[Draft, Sealed]], written: asyncio.Future[None]
    ) -> None:
        """Counts uses that were handed to the writer; where they aren't stored, the grants are read again."""
        for id, (_, sealed) in zip(grants, used, strict=True):
            self._open[id] = apply_grant(self._open[id], unseal(sealed.bytes))
        if grants:
            written.add_done_callback(partial(self._written, grants))

    def _written(self, grants: Sequence[str], written: asyncio.Future[None]) -> None:
        if written.cancelled() or written.exception() is not None:
            self._stale.update(grants)


def are_permitted(policies: PolicySet) -> bool:
    """Whether any queue permits grants: where none does, nobody looks for one."""
    return any(queue.terms.grant for queue in policies.queues.values())


def _is_for(state: GrantState, record: CallRecord, tool: ToolSpec) -> bool:
    return (state.terms.agent, state.terms.tool_digest) == (record.agent, tool.digest)


def _asks(effect: Outcome, to: str, queue: str) -> bool:
    return effect is Outcome.ESCALATE and to == queue
