"""Takes a run over, and answers its agents' calls from the journal until the frontier is reached."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from remit.core.canonical import canonical
from remit.core.entries import Owned, Payload
from remit.core.lifecycle import CallState, CallStatus, RunState
from remit.errors import Conflict, InvalidArguments, OwnershipLost, ReplayMismatch
from remit.runtime.ambient import Ambient
from remit.runtime.answers import ended
from remit.runtime.drafts import Ask, said
from remit.runtime.gate import Gate
from remit.runtime.load import load_reviews
from remit.runtime.registry import Registry
from remit.runtime.stream import RunStream
from remit.store.journal import Journal


async def take(journal: Journal, ambient: Ambient, state: RunState, worker: str) -> RunStream:
    """Becomes the run's owner: appends `owned` with the next epoch, right after what `state` has seen.

    From then on every older owner's next append fails: `(stream, seq)` is unique.

    Raises:
        OwnershipLost: somebody else took it, or went on with it, in the meantime.
    """
    reviews = await load_reviews(journal, state)
    payloads: Mapping[tuple[int, str], Payload] = await journal.payloads(f"run/{state.run}")
    stream = RunStream(journal, ambient, state, reviews, payloads)
    try:
        await stream.enqueue(stream.draft(), worker, Owned(state.epoch + 1, worker))
    except Conflict as error:
        raise OwnershipLost(f"run `{state.run}` is being worked on by somebody else") from error
    return stream


async def answer(gate: Gate, registry: Registry, stream: RunStream, ask: Ask, call: CallState) -> bytes:
    """Answers a call that the journal has: from the record where it ended, through the gate where it didn't.

    Raises:
        ReplayMismatch: the agent asks for another tool or other arguments than it did; nothing is executed.
        CallError, Waiting: as `Gate.call`.
    """
    _same(registry, stream, ask, call)
    if call.status is CallStatus.WAITING:
        return await gate.after_review(stream, ask, call)
    if call.status is CallStatus.INTENDED:
        return await gate.recover(stream, ask, call)
    if call.status is CallStatus.IN_DOUBT:
        return await gate.after_doubt(stream, ask, call)
    return await ended(stream, call)


def _same(registry: Registry, stream: RunStream, ask: Ask, call: CallState) -> None:
    """Compares what the agent asks for now with what it asked for then."""
    tool = registry.tools.get(ask.tool)
    if call.record is None:
        then, now = {"tool": call.tool}, {"tool": ask.tool[:128]}
        if then == now and said(ask.arguments) != stream.value(call.seq, "/args", call.said):
            now = {"tool": ask.tool, "args": "other arguments than it had"}
    else:
        then = {"tool": call.tool, "spec": call.record.tool_digest, **_flat(stream.args(call.id))}
        try:
            args = tool.arguments.normalise(ask.arguments) if tool else dict(ask.arguments)
            now = {"tool": ask.tool, "spec": tool.spec.digest if tool else "", **_flat(args)}
        except InvalidArguments as error:
            now = {"tool": ask.tool, "error": str(error)}
    if then != now:
        raise mismatch(stream, call.id, then, now)


def mismatch(stream: RunStream, id: str, then: Mapping[str, str], now: Mapping[str, str]) -> ReplayMismatch:
    """Returns the error that stops a run whose agents no longer do what the journal says, with a diff."""
    old = [f"{key}: {value}" for key, value in sorted(then.items())]
    new = [f"{key}: {value}" for key, value in sorted(now.items())]
    diff = "\n".join(difflib.unified_diff(old, new, "journal", "agent", lineterm="", n=9))
    return ReplayMismatch(
        f"run `{stream.state.run}`: call `{id}` is not the call that the journal has; nothing was executed:"
        " agent code between calls must be deterministic: use `ctx.now()`, `ctx.uuid()` and `ctx.random()`,"
        f" and finish or abandon a run before its agents change\n{diff}"
    )


def _flat(args: Mapping[str, object]) -> dict[str, str]:
    return {f"args.{name}": canonical(value).decode() for name, value in args.items()}
