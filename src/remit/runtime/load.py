"""Folds runs and reviews back from the journal."""

from __future__ import annotations

from typing import TypeVar

from remit.core.entries import Payload, is_committed
from remit.core.grants import GrantState, condition_of
from remit.core.lifecycle import RunState, fold
from remit.core.reviews import ReviewState
from remit.errors import Tampered, UnknownId
from remit.store.journal import Journal

_State = TypeVar("_State", RunState, ReviewState, GrantState)


async def load_run(journal: Journal, run: str) -> RunState:
    """Returns the run's state. Raises UnknownId, or Tampered where the journal doesn't add up."""
    return await _load(journal, "run", run, RunState, "`remit runs list` names them")


async def load_review(journal: Journal, review: str) -> ReviewState:
    """Returns the review's state. Raises UnknownId, or Tampered."""
    return await _load(journal, "review", review, ReviewState, "`remit review list` names the open ones")


async def load_grant(journal: Journal, grant: str) -> GrantState:
    """Returns the grant's state. Raises UnknownId, or Tampered."""
    return await _load(journal, "grant", grant, GrantState, "`remit grant list` names them")


async def _load(journal: Journal, what: str, id: str, kind: type[_State], remedy: str) -> _State:
    state = fold(await journal.read(f"{what}/{id}"))
    if state is None:
        raise UnknownId(f"there is no {what} `{id}` in this store: {remedy}")
    if not isinstance(state, kind):
        raise Tampered(f"{what}/{id} does not hold a {what}")
    return state


async def load_reviews(journal: Journal, state: RunState) -> dict[str, ReviewState]:
    """Returns the reviews of the run's calls, by id."""
    wanted = {review for call in state.calls.values() for review in call.reviews}
    return {review: await load_review(journal, review) for review in sorted(wanted)}


async def condition_payload(journal: Journal, review: ReviewState) -> Payload | None:
    """Returns the value that holds a grant's condition; None where it was erased. Raises Tampered."""
    place = condition_of(review)
    stored = await journal.payloads(f"review/{review.opened.review}") if place else {}
    payload = stored.get((place[0], "/grant")) if place else None
    if payload is not None and place is not None and not is_committed(payload, place[1]):
        raise Tampered(f"{payload.stream}#{payload.seq} /grant: the payload is not what the ruling committed to")
    return payload
