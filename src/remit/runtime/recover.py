"""Takes a run over, and answers its agents' calls from the journal until the frontier is reached."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from remit.core.canonical import canonical, plain
from remit.core.entries import Owned, Payload
from remit.core.lifecycle import CallState, CallStatus, RunState
from remit.core.schemas import names_of
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
    _same(registry, stream, ask, call, await _spec_of_then(registry, stream, ask, call))
    if call.status is CallStatus.WAITING:
        return await gate.after_review(stream, ask, call)
    if call.status is CallStatus.INTENDED:
        return await gate.recover(stream, ask, call)
    if call.status is CallStatus.IN_DOUBT:
        return await gate.after_doubt(stream, ask, call)
    return await ended(stream, call)


_HARMLESS = frozenset(("description", "timeout", "attempts", "cost", "tags", "arguments", "normal"))
"""Fields of a spec that don't say what a call of its tool meant; in place of the schemas arguments are compared."""
_NAMING = frozenset(("authority", "content"))
"""Fields that list arguments: one that there was not then doesn't matter."""


async def _spec_of_then(registry: Registry, stream: RunStream, ask: Ask, call: CallState) -> dict[str, Any]:
    """Returns the tool's spec as it was when the call was asked for; nothing where it is the one of now, or is gone."""
    tool = registry.tools.get(ask.tool)
    if tool is None or call.record is None or call.record.tool_digest == tool.spec.digest:
        return {}
    artifact = await stream.journal.artifact(call.record.tool_digest)
    found: dict[str, Any] = plain(artifact.data) if artifact is not None else {}
    return found


def _same(registry: Registry, stream: RunStream, ask: Ask, call: CallState, spec: Mapping[str, Any]) -> None:
    """Compares what the agent asks for now with what it asked for then.

    Args:
        spec: the tool's spec of then, where it is another one now. A call that has ended is answered all the same where
            nothing was changed that says what it meant: another description or timeout, or one more optional argument.
    """
    tool = registry.tools.get(ask.tool)
    if call.record is None:
        then, now = {"tool": call.tool}, {"tool": ask.tool[:128]}
        if then == now and said(ask.arguments) != stream.value(call.seq, "/args", call.said):
            now = {"tool": ask.tool, "args": "other arguments than it had"}
    else:
        asked = stream.args(call.id)
        then = {"tool": call.tool, **_flat(asked)}
        try:
            args = tool.arguments.normalise(ask.arguments) if tool else dict(ask.arguments)
            if tool is not None and spec and call.settled >= 0:
                new = {name for name in tool.arguments.normalise(asked) if name not in asked}
                args = {name: value for name, value in args.items() if name not in new or name in ask.arguments}
            now = {"tool": ask.tool, **_flat(args)}
        except InvalidArguments as error:
            now = {"tool": ask.tool, "error": str(error)}
        if tool is not None and tool.spec.digest != call.record.tool_digest:
            old, new_ = _spec(spec, tool.spec.document(), ended=call.settled >= 0)
            then, now = {**then, **old}, {**now, **new_}
            if not spec:
                then["spec"], now["spec"] = call.record.tool_digest, tool.spec.digest
    if then != now:
        raise mismatch(stream, call.id, then, now)


def _spec(then: Mapping[str, Any], now: Mapping[str, Any], *, ended: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the fields of a tool's spec that differ, as then and as now."""
    known = names_of(then["normal"]) if then and ended else ()
    now = {name: [one for one in now[name] if one in known] if known and name in _NAMING else now[name] for name in now}
    names = [name for name in then if then[name] != now.get(name) and not (ended and name in _HARMLESS)]
    old, new = ({f"spec.{name}": canonical(one.get(name)).decode() for name in names} for one in (then, now))
    return old, new


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
