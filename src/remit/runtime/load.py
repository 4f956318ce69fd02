"""Folds runs and reviews back from the journal."""

from __future__ import annotations

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
