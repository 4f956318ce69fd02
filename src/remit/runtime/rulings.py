"""A reviewer's ruling: it goes to the review's own stream, never to the run's."""

from __future__ import annotations

from remit.core.canonical import canonical
from remit.core.entries import PolicyLoaded, ReviewRuled, is_committed
from remit.core.lifecycle import ReviewState, ReviewStatus, is_expired
from remit.errors import BadInput, Conflict, Stale, Tampered
from remit.runtime.ambient import Ambient, stamp
from remit.runtime.load import load_review
from remit.runtime.stream import Draft
from remit.store.journal import Append, Journal


async def rule(
    journal: Journal, ambient: Ambient, review: str, *, approved: bool, reviewer: str, reason: str = ""
) -> ReviewState:
    """Records a ruling, in single-operator mode, and returns the review as it stands after it.

    Raises:
        UnknownId: no such review.
        Stale: somebody ruled first, or it expired.
        BadInput: single-operator mode is off, or a denial has no reason.
    """
    if not approved and not reason.strip():
        raise BadInput("a denial needs a reason: say it with --reason: the agent and the auditor will read it")
    state = await load_review(journal, review)
    if not await _is_single_operator(journal):
        raise BadInput(
            "rulings without signatures are off: set `single_operator: true` in policies/queues.yaml to switch"
            " them on; every entry then says so"
        )
    _check_open(state, stamp(ambient.now()))
    if approved:
        await _check_shown(journal, state)
    draft = Draft(f"review/{review}", state.head, ambient)
    body = ReviewRuled(
        review,
        state.opened.digest,
        approved,
        reviewer,
        tuple(hit.digest for hit in state.opened.disclosed),
        draft.commit("/reason", canonical(reason)) if reason else None,
        single_operator=True,
    )
    sealed = draft.seal(f"reviewer:{reviewer}", body)
    try:
        await journal.append(Append((sealed,), tuple(draft.payloads)))
    except Conflict:
        _check_open(await load_review(journal, review), stamp(ambient.now()))
        raise
    return await load_review(journal, review)


def _check_open(state: ReviewState, now: str) -> None:
    place = f"review `{state.opened.review}`"
    if state.ruled is not None:
        word = "approved" if state.ruled.approved else "denied"
        raise Stale(f"{place} was {word} by {state.ruled.reviewer} at {state.ruled_at}: a ruling is final")
    if state.status is ReviewStatus.WITHDRAWN:
        raise Stale(f"{place} was withdrawn: its call was refused or decided without it")
    if state.status is not ReviewStatus.OPEN or is_expired(state, now):
        raise Stale(f"{place} expired at {state.opened.expires}: an expired review can't be ruled on")


async def _check_shown(journal: Journal, state: ReviewState) -> None:
    """What can't be shown as it was recorded can't be approved."""
    stream = f"review/{state.opened.review}"
    shown = (await journal.payloads(stream)).get((0, "/shown"))
    if shown is None or not is_committed(shown, state.opened.shown):
        raise Tampered(f"{stream}#0 /shown: what reviewers are to be shown is gone or changed: it can only be denied")


async def _is_single_operator(journal: Journal) -> bool:
    """Says whether the policy set in force, as the journal has it, permits unsigned rulings."""
    loaded = await journal.read("policy")
    body = loaded[-1].body if loaded else None
    return isinstance(body, PolicyLoaded) and body.single_operator
