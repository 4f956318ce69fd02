"""Folds runs and reviews back from the journal."""

from __future__ import annotations

from remit.core.entries import Payload, is_committed
from remit.core.grants import GrantState, condition_of
from remit.core.lifecycle import RunState, fold
from remit.core.reviews import ReviewState
from remit.errors import Tampered, UnknownId
from remit.store.journal import Journal


async def load_run(journal: Journal, run: str) -> RunState:
    """Returns the run's state. Raises UnknownId, or Tampered where the journal doesn't add up."""
    state = fold(await journal.read(f"run/{run}"))
    if state is None:
        raise UnknownId(f"there is no run `{run}` in this store: `remit runs list` names them")
    if not isinstance(state, RunState):
        raise Tampered(f"run/{run} does not hold a run")
    return state


async def load_review(journal: Journal, review: str) -> ReviewState:
    """Returns the review's state. Raises UnknownId, or Tampered."""
    state = fold(await journal.read(f"review/{review}"))
    if state is None:
        raise UnknownId(f"there is no review `{review}` in this store: `remit review list` names the open ones")
    if not isinstance(state, ReviewState):
        raise Tampered(f"review/{review} does not hold a review")
    return state


async def load_reviews(journal: Journal, state: RunState) -> dict[str, ReviewState]:
    """Returns the reviews of the run's calls, by id."""
    wanted = {review for call in state.calls.values() for review in call.reviews}
    return {review: await load_review(journal, review) for review in sorted(wanted)}


async def load_grant(journal: Journal, grant: str) -> GrantState:
    """Returns the grant's state. Raises UnknownId, or Tampered."""
    state = fold(await journal.read(f"grant/{grant}"))
    if state is None:
        raise UnknownId(f"there is no grant `{grant}` in this store: `remit grant list` names them")
    if not isinstance(state, GrantState):
        raise Tampered(f"grant/{grant} does not hold a grant")
    return state


async def condition_payload(journal: Journal, review: ReviewState) -> Payload | None:
    """Returns the value that holds a grant's condition; None where it was erased. Raises Tampered."""
    place = condition_of(review)
    stored = await journal.payloads(f"review/{review.opened.review}") if place else {}
    payload = stored.get((place[0], "/grant")) if place else None
    if payload is not None and place is not None and not is_committed(payload, place[1]):
        raise Tampered(f"{payload.stream}#{payload.seq} /grant: the payload is not what the ruling committed to")
    return payload
