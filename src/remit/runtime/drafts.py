"""What the gate writes: from a call, its facts and its verdict to entries and their payloads. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from pydantic_core import PydanticSerializationError, to_jsonable_python

from remit.core.canonical import LARGEST, canonical, digest_bytes, plain
from remit.core.decide import Verdict
from remit.core.entries import CallRecord, Commitment, Head, Outcome, ReviewOpened, RuleHit, Sealed, VerdictRecord
from remit.core.facts import Facts, roots
from remit.core.obliging import Obliged
from remit.core.people import IN_DOUBT, Queue, deadline
from remit.core.policy import PolicySet
from remit.core.roundtrip import changing
from remit.core.tools import Call, Limits, ToolSpec, call_digest
from remit.errors import NotCanonical
from remit.runtime.ambient import Ambient, new_id, stamp
from remit.runtime.stream import Draft, RunStream

TITLE_MAX: Final = 200
"""Characters of a review's title."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What an agent asked for: `id` is the call's place in its task, the same at every replay."""

    id: str
    task: str
    agent: str
    agent_version: str
    tool: str
    arguments: Mapping[str, object]


def write_call(draft: Draft, stream: RunStream, ask: Ask, tool: ToolSpec, args: Mapping[str, object]) -> Call:
    """Commits to the arguments, a payload each, and returns the call with its digest.

    The call's arguments are made from the bytes that are committed to, and nobody else has them.
    """
    state = stream.state
    values = {name: canonical(value) for name, value in args.items()}
    commitments = {name: draft.commit(f"/args/{name}", value) for name, value in values.items()}
    record = CallRecord(ask.id, ask.agent, ask.agent_version, ask.task, tool.name, tool.digest, commitments, "")
    digest = call_digest(state.run, state.started.principal, record)
    record = msgspec.structs.replace(record, digest=digest)
    return Call(state.run, state.started.principal, {name: plain(value) for name, value in values.items()}, record)


def write_change(draft: Draft, asked: Call, obliged: Obliged) -> tuple[Call, dict[str, Commitment]]:
    """Commits to the arguments that obligations changed, and returns the call as it runs; as asked, if they did not."""
    if not obliged.changed:
        return asked, {}
    values = {name: canonical(obliged.args[name]) for name in obliged.changed}
    edited = {name: draft.commit(f"/edited/{name}", value) for name, value in values.items()}
    record = msgspec.structs.replace(asked.record, args={**asked.record.args, **edited})
    record = msgspec.structs.replace(record, digest=call_digest(asked.run, asked.principal, record))
    args = {**asked.args, **{name: plain(value) for name, value in values.items()}}
    return Call(asked.run, asked.principal, args, record), edited


def said(arguments: Mapping[str, object]) -> bytes:
    """Returns what an agent asked for as canonical bytes, even where it has no JSON form; of much, size and SHA-256."""
    try:
        data = canonical(to_jsonable_python(dict(arguments), inf_nan_mode="constants"))
        if why := changing(arguments, binary=True):  # the bytes must be the same when the agent runs again elsewhere
            raise ValueError(why)
        if len(data) <= Limits().arguments:
            return data
        return canonical(f"{len(data)} bytes, SHA-256 {digest_bytes(data)}")
    except (PydanticSerializationError, NotCanonical, ValueError, RecursionError):
        return canonical(repr(sorted(arguments))[:2_000].encode(errors="replace").decode())


def write_verdict(draft: Draft, verdict: Verdict) -> VerdictRecord:
    """Commits to the reasons in words (they quote arguments) and returns what the entry says."""
    reasons = draft.commit("/reasons", canonical(list(verdict.reasons))) if verdict.reasons else None
    return VerdictRecord(
        verdict.outcome, verdict.policies, verdict.rules, verdict.broken, verdict.shadow, reasons, verdict.obliged
    )


def open_reviews(
    stream: RunStream,
    call: Call,
    tool: ToolSpec,
    facts: Facts,
    verdict: Verdict,
    policies: PolicySet,
    ambient: Ambient,
) -> tuple[tuple[Draft, Sealed], ...]:
    """Returns a new review for each queue the call escalates to."""
    if verdict.outcome is not Outcome.ESCALATE:
        return ()
    shown = shown_to_reviewer(call, tool, facts.document(), verdict.reasons)
    # A review discloses every escalating rule of its queue; all reasons are shown in each.
    hits = {(hit.policy, hit.rule, hit.digest): hit for hit in (*verdict.rules, *verdict.broken)}
    opened = []
    for queue in verdict.queues:
        disclosed = tuple(hit for hit in hits.values() if hit.effect is Outcome.ESCALATE and hit.queue == queue)
        opened.append(
            _open(
                stream,
                call,
                policies.queues[queue],
                {**shown, "queue": queue, **_title(policies, queue, tool, roots(facts.document(), tool, call.args))},
                ambient,
                disclosed=disclosed,
                priority=_priority(policies, queue, call, tool, facts),
            )
        )
    return tuple(opened)


def _priority(policies: PolicySet, queue: str, call: Call, tool: ToolSpec, facts: Facts) -> int:
    """How urgent it is; 0 where that can't be said: it never keeps a review from opening."""
    expression = policies.priorities.get((queue, tool.name))
    found = expression.evaluate(roots(facts.document(), tool, call.args)) if expression else 0
    return found if type(found) is int and -LARGEST <= found <= LARGEST else 0


def _title(policies: PolicySet, queue: str, tool: ToolSpec, seen: Mapping[str, object]) -> dict[str, str]:
    """The review's title, where its queue says one."""
    template = policies.titles.get((queue, tool.name))
    if template is None:
        return {}
    text = template.render(seen)
    return {"title": text if len(text) <= TITLE_MAX else f"{text[: TITLE_MAX - 1]}…"}


def open_in_doubt(
    stream: RunStream, call: Call, tool: ToolSpec, why: str, policies: PolicySet, ambient: Ambient,
    disclosed: tuple[RuleHit, ...] = (),
) -> tuple[Draft, Sealed]:  # fmt: skip
    """Returns a review that asks a person whether a call that was begun has happened.

    `disclosed` are rules in force now that ask for a review before it is run again.
    """
    reason = (
        f"`{tool.name}` was begun and nobody knows whether it happened: {why}. It may not be repeated by guess:"
        " approve to run it again, deny to give it up."
    )
    seen = {"args": call.args, "tool": tool.seen}  # its facts are long past: what else a title looks at is `[?]`
    shown = {**shown_to_reviewer(call, tool, {}, (reason,)), **_title(policies, IN_DOUBT, tool, seen)}
    queue = policies.people.queue(IN_DOUBT) or Queue(IN_DOUBT, 0)
    return _open(stream, call, queue, {**shown, "queue": IN_DOUBT}, ambient, disclosed=disclosed, in_doubt=True)


def shown_to_reviewer(
    call: Call, tool: ToolSpec, facts: Mapping[str, object], reasons: tuple[str, ...]
) -> dict[str, object]:
    """Returns what a reviewer is shown: the call in full, why it waits, and what the run did so far."""
    return {
        "run": call.run,
        "principal": call.principal,
        "call": call.id,
        "agent": call.record.agent,
        "tool": tool.name,
        "description": tool.description,
        "effect": tool.effect.value,
        "repeat": tool.repeat.value,
        "args": dict(call.args),
        "reasons": list(reasons),
        "digest": call.digest,
        "facts": dict(facts),
    }


def _open(
    stream: RunStream,
    call: Call,
    queue: Queue,
    shown: Mapping[str, object],
    ambient: Ambient,
    *,
    disclosed: tuple[RuleHit, ...] = (),
    in_doubt: bool = False,
    priority: int = 0,
) -> tuple[Draft, Sealed]:
    id = new_id(ambient)
    draft = Draft(f"review/{id}", Head(), ambient)
    started = stream.state.started
    body = ReviewOpened(
        id, call.run, call.id, call.digest, call.record.tool, queue.name, stamp(deadline(ambient.now(), queue)),
        draft.commit("/shown", canonical(shown)),
        disclosed, in_doubt, queue.terms, call.principal, started.starter, call.record.agent, priority,
    )  # fmt: skip
    return draft, draft.seal("gate", body)
