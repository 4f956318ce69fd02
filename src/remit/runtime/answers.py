"""What an agent is told of a call that has ended: the same words live and when replayed from the journal."""

from __future__ import annotations

import orjson

from remit.core.entries import Commitment
from remit.core.lifecycle import CallState, CallStatus
from remit.core.reviews import ReviewState, Vote
from remit.errors import CallError, Denied, InvalidArguments, ResultLost, Tampered, ToolFailed
from remit.runtime.stream import RunStream
from remit.store.payloads import open_payload


def denied(tool: str, reasons: tuple[str, ...]) -> Denied:
    """Returns the error for a call that a policy or a person refused."""
    return Denied(f"`{tool}` was denied: {'; '.join(reasons) or 'no reason was given'}", reasons)


def failed(tool: str, error: str, cause: str) -> ToolFailed:
    """Returns the error for a tool that ran and failed."""
    return ToolFailed(f"`{tool}` failed: {cause}: {error}", cause)


def lost(tool: str, error: str, cause: str) -> ResultLost:
    """Returns the error for a tool that ran well and whose result can't be had."""
    return ResultLost(f"`{tool}` ran, and what it did is done, but its result can't be had: {error}", cause)


async def refusal(stream: RunStream, call: CallState) -> Denied:
    """Returns the error for a call that was waiting and won't run: who said no, and why."""
    if call.because == "expired":
        return denied(call.tool, ("its review expired before anybody approved it",))
    if call.because == "used":
        return denied(call.tool, ("its approval was used before",))
    if call.because == "unfit":
        return denied(call.tool, ("a reviewer changed its arguments to what it doesn't take",))
    reasons = []
    for id in call.reviews:
        review = stream.reviews.get(id)
        if review is not None and review.ruled is not None and not review.ruled.approved:
            for vote in review.votes:
                if not vote.body.approved:
                    said = await reason_of(stream, review, vote)
                    reasons.append(f"{vote.body.reviewer} said no" + (f": {said}" if said else ""))
    if not reasons:
        # Approved, and still refused: policy has switched the mode off since.
        reasons.append("it was approved in single-operator mode, which the policies don't permit")
    return denied(call.tool, tuple(reasons))


async def reason_of(stream: RunStream, review: ReviewState, vote: Vote) -> str:
    """Returns the reason a reviewer gave, or "" where none was given or it was erased."""
    stored = await stream.journal.payloads(f"review/{review.opened.review}")
    payload = stored.get((vote.seq, "/reason"))
    if vote.body.reason is None or payload is None:
        return ""
    return str(open_payload(payload, vote.body.reason))


def told(call: CallState) -> str:
    """Returns what an agent is told of a call that did not go as it asked; "" where it did."""
    if call.answered:
        return f"`{call.tool}` did not run: {call.answered} answered in its place, and this is what it returned"
    if call.edited and call.status is CallStatus.SETTLED:
        # What the call was requested with, obligations changed in the same entry.
        by_policy = sorted(name for name, (_, seq) in call.edited.items() if seq == call.seq)
        by_people = sorted(set(call.edited) - set(by_policy))
        who = [("the policy", by_policy), (call.editor, by_people)]
        said = " and ".join(f"{by} changed {', '.join(f'`{name}`' for name in names)}" for by, names in who if names)
        return f"`{call.tool}` did not run as asked: {said}, and that ran"
    return ""


async def ended(stream: RunStream, call: CallState) -> bytes:
    """Returns the result of a call that has ended, as canonical bytes, or raises as it did the first time.

    Raises:
        CallError: it was rejected, refused, or the tool failed.
        Tampered: a payload isn't what the journal committed to.
    """
    if call.status is CallStatus.SETTLED and call.ok and not call.lost:
        return stream.value(call.settled, "/result", call.commitment)
    raise await _error(stream, call)


async def _error(stream: RunStream, call: CallState) -> CallError:
    if call.status is CallStatus.REJECTED:
        return InvalidArguments(_text(stream, call.seq, "/error", call.commitment))
    if call.lost:
        return lost(call.tool, _text(stream, call.settled, "/error", call.commitment), call.cause)
    if call.status is CallStatus.SETTLED:
        return failed(call.tool, _text(stream, call.settled, "/error", call.commitment), call.cause)
    if call.because:
        return await refusal(stream, call)
    reasons = call.verdict.reasons if call.verdict else None
    words = orjson.loads(stream.value(call.decided, "/reasons", reasons)) if reasons else []
    return denied(call.tool, tuple(words))


def _text(stream: RunStream, seq: int, path: str, expected: Commitment) -> str:
    text = orjson.loads(stream.value(seq, path, expected))
    if not isinstance(text, str):
        raise Tampered(f"{stream.name}#{seq} {path}: not a text")
    return text
