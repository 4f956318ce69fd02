"""A call and its reviews as a run's stream has them: their standing together, and the entries that end them."""

from __future__ import annotations

from remit.core.canonical import plain
from remit.core.entries import ReviewConsumed, ReviewWithdrawn, Sealed
from remit.core.judging import Judged, Standing, is_asked_by, judge
from remit.core.lifecycle import CallState
from remit.core.people import People
from remit.core.reviews import ReviewState, ReviewStatus
from remit.core.tools import Call, call_digest
from remit.errors import Tampered
from remit.runtime.stream import Draft, RunStream


def recorded_call(stream: RunStream, state: CallState) -> Call:
    """Returns the call as the journal has it, every argument checked against its commitment.

    Raises:
        Tampered: a payload, or the digest, isn't what was recorded.
    """
    record, principal = state.current, stream.state.started.principal
    if record is None:
        raise Tampered(f"{stream.name}: call `{state.id}` was never decided")
    if call_digest(stream.state.run, principal, record) != record.digest:
        raise Tampered(f"{stream.name}: call `{state.id}`: its digest is not the digest of what it says")
    edited = {name: plain(stream.value(seq, f"/edited/{name}", said)) for name, (said, seq) in state.edited.items()}
    return Call(stream.state.run, principal, {**stream.args(state.id), **edited}, record)


def reviews_of(stream: RunStream, call: CallState) -> list[ReviewState]:
    """Returns the reviews of a call."""
    return [stream.reviews[id] for id in call.reviews if id in stream.reviews]


def judged_now(stream: RunStream, call: CallState, people: People) -> Judged:
    """Returns what a call's reviews say now; one that says another asked than did is a no."""
    digest, reviews = call.current.digest if call.current else "", reviews_of(stream, call)
    judged = judge(reviews, digest, stream.now(), people)
    agent = call.record.agent if call.record else ""
    if any(not is_asked_by(review, stream.state.started, agent) for review in reviews):
        return Judged(Standing.DENIED, judged.rulings)
    return judged


def consume(stream: RunStream, call: CallState) -> tuple[tuple[Draft, Sealed], ...]:
    """Returns the entries that use a call's approvals up: there is no second use."""
    used = []
    for review in reviews_of(stream, call):
        opened = review.opened
        draft = Draft(f"review/{opened.review}", review.head, stream.ambient)
        body = ReviewConsumed(opened.review, stream.state.run, call.id, review.version)
        used.append((draft, draft.seal("gate", body)))
    return tuple(used)


def withdraw(
    stream: RunStream, call: CallState, because: str, kept: tuple[str, ...] = ()
) -> tuple[tuple[Draft, Sealed], ...]:
    """Returns the entries that close a call's other reviews: nobody is asked about what can't happen any more."""
    left = []
    for review in reviews_of(stream, call):
        id = review.opened.review
        if (review.waits or review.status is ReviewStatus.APPROVED) and id not in kept:
            draft = Draft(f"review/{id}", review.head, stream.ambient)
            left.append((draft, draft.seal("gate", ReviewWithdrawn(id, because))))
    return tuple(left)
