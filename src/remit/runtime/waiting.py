"""What a reviewer does next, and waiting for what others rule. Nothing here polls: the store says when it grew."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from remit.core.identity import identity
from remit.core.reviews import ReviewState, ReviewStatus, is_expired
from remit.core.rulings import may_not_rule
from remit.errors import Claimed, Conflict, NotEntitled, Stale
from remit.runtime.ambient import Ambient, stamp
from remit.runtime.load import load_review
from remit.runtime.rulings import Reviewer, claim, in_force
from remit.store.journal import Journal
from remit.store.projections import Projections, ReviewRow

_LONGEST = 3600.0
"""Seconds that are waited at once; the store wakes us long before, if anything happens."""


async def claim_next(journal: Journal, ambient: Ambient, reviewer: Reviewer, queue: str = "") -> ReviewState | None:
    """Claims the most urgent review that this reviewer may rule on: by priority, then by deadline.

    One that they hold already comes before all others, so that nobody gathers claims. None where there is none.
    """
    now = stamp(ambient.now())
    rows = await Projections(journal).reviews(open_only=True)

    def urgency(row: ReviewRow) -> tuple[bool, int, str, str]:
        return not _holds(row, reviewer.name, now), -row.priority, row.expires, row.review

    for row in sorted(rows, key=urgency):
        if row.problem or (queue and row.queue != queue):
            continue
        state = await load_review(journal, row.review)
        if not await _may(journal, state, reviewer, now):
            continue
        if state.holder(now) == reviewer.name:
            return state
        try:
            return await claim(journal, ambient, row.review, reviewer)
        except (Claimed, Stale, NotEntitled, Conflict):
            continue  # somebody was faster
    return None


def _holds(row: ReviewRow, name: str, now: str) -> bool:
    return row.claimed == name and now < row.claimed_until


async def _may(journal: Journal, state: ReviewState, reviewer: Reviewer, now: str) -> bool:
    """Whether they could rule on it now: it waits, nobody else holds it, they may, and have not yet."""
    people = (await in_force(journal)).people
    if not state.waits or is_expired(state, now) or state.holder(now) not in ("", reviewer.name):
        return False
    if any(identity(reviewer.name) in vote.names for vote in state.votes if vote.version == state.version):
        return False
    if reviewer.signer is None:
        return people.single_operator
    return not may_not_rule(people, state, reviewer.name, now)


async def settled(journal: Journal, ambient: Ambient, review: str, timeout: float | None = None) -> ReviewState | None:
    """Returns a review as soon as it waits no more; None after `timeout` seconds.

    One that is past its deadline, and is not handed on then, waits no more either.
    """
    end = None if timeout is None else ambient.now().timestamp() + timeout
    while True:
        position = await journal.position()
        state, now = await load_review(journal, review), ambient.now()
        if not state.waits or (is_expired(state, stamp(now)) and not state.terms.next):
            return state
        if end is not None and now.timestamp() >= end:
            return None
        ends = [end, None if state.terms.next else _seconds(state.expires)]
        left = min(moment - now.timestamp() for moment in ends if moment is not None) if any(ends) else _LONGEST
        await journal.wait(position, min(max(left, 0.001), _LONGEST))


def is_denied(state: ReviewState) -> bool:
    """Whether a settled review means no."""
    return state.status in (ReviewStatus.DENIED, ReviewStatus.WITHDRAWN)


def is_approved(state: ReviewState) -> bool:
    """Whether a settled review means yes; one that was used since does."""
    return state.status in (ReviewStatus.APPROVED, ReviewStatus.CONSUMED)


async def changes(journal: Journal, queue: str = "") -> AsyncGenerator[list[ReviewRow], None]:
    """Yields the reviews that wait, then those that have changed, whenever some have; never ends by itself."""
    known: dict[str, ReviewRow] = {}
    first = True
    while True:
        position = await journal.position()
        rows = [row for row in await Projections(journal).reviews() if queue in ("", row.queue) or row.review in known]
        changed = [row for row in rows if known.get(row.review) != row and (row.open or not first)]
        known = {row.review: row for row in rows}
        if changed:
            yield changed
        first = False
        await journal.wait(position, _LONGEST)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).astimezone(UTC).timestamp()
