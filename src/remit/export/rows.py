"""Calls and runs as rows: what the views of an export are made of. Derived from the journal, never evidence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from remit.core.canonical import plain
from remit.core.entries import CallDecided, CallDecidedAgain, Entry, Payload, ReviewOpened, is_committed
from remit.core.lifecycle import CallState, CallStatus, RunState, fold
from remit.core.reviews import ReviewState
from remit.core.tools import ToolSpec
from remit.errors import Tampered
from remit.export.withhold import Kept, Withhold, nothing
from remit.store.journal import Journal

GIVEN_UP: Final = "InDoubt"
"""The cause of a call in doubt that nobody runs again."""


@dataclass(frozen=True, slots=True)
class RulingRow:
    """What a person said."""

    review: str
    queue: str
    reviewer: str
    approved: bool
    at: str
    reason: str
    single_operator: bool


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A review of a call: where it waits or waited, and what came of it. Times are RFC 3339."""

    review: str
    call: str
    tool: str
    queue: str
    status: str
    opened: str
    expires: str
    in_doubt: bool
    rulings: tuple[RulingRow, ...] = ()


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call. Times are RFC 3339 or ""; values that were erased are None; `labels` are those of all it had read."""

    call: str
    task: str
    agent: str
    tool: str
    effect: str
    digest: str
    requested: str
    decided: str
    settled: str
    outcome: str
    rules: tuple[str, ...]
    reasons: tuple[str, ...]
    status: str
    args: Mapping[str, Any]
    result: Any
    error: str
    cause: str
    attempts: int
    cost: str
    labels: tuple[str, ...]
    entry: str
    produced_by: str = ""
    """Who produced the result or the error: `tool`, `person NAME` who answered in its place, `remit` that rejected it,
    or "" where there is none."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """What the agent asked for, of each argument that obligations or a reviewer changed before it ran."""
    changed_by: str = ""
    """Who changed those: `policy`, or `person NAME`."""
    rulings: tuple[RulingRow, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    """The call whose result an argument came from, by its name, where a policy looked at that."""
    policies: str = ""
    """Digest of the policy set that decided it last."""
    reviews: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task, or one instance of a fan-out."""

    task: str
    agent: str
    status: str
    started: str
    ended: str


@dataclass(frozen=True, slots=True)
class RunRows:
    """A run with its tasks and calls, in the order in which they began."""

    run: str
    graph: str
    principal: str
    starter: str
    status: str
    started: str
    ended: str
    policies: str
    tasks: tuple[TaskRow, ...] = ()
    calls: tuple[CallRow, ...] = field(default=())
    reviews: tuple[ReviewRow, ...] = ()


async def run_rows(
    journal: Journal,
    runs: Sequence[str] | None = None,
    withhold: Withhold = nothing,
    until: Mapping[str, tuple[int, int]] | None = None,
) -> AsyncIterator[RunRows]:
    """Yields runs (all for None); one at a time is in memory. What is withheld is as if it were erased.

    Args:
        until: of each stream, its last entry's number (and place): what comes after it, is left out.

    Raises:
        Tampered: what is stored isn't what was recorded.
    """
    reviews = await _reviews(journal)
    wanted = list(runs) if runs is not None else [name.partition("/")[2] for name in await journal.streams("run/")]
    for run in wanted:
        entries = await journal.read(f"run/{run}")
        if until is not None:
            end = until.get(f"run/{run}", (-1, 0))[0]
            entries = [entry for entry in entries if entry.seq <= end]
        state = fold(entries)
        if isinstance(state, RunState):
            asked = {stream: call for stream, call in reviews.get(run, {}).items() if until is None or stream in until}
            yield await _run(journal, entries, state, asked, withhold)


async def _reviews(journal: Journal) -> dict[str, dict[str, str]]:
    """Returns, by run, its reviews' streams and the calls they are of."""
    found: dict[str, dict[str, str]] = {}
    for stream in await journal.streams("review/"):
        opened = (await journal.read(stream))[0].body
        if isinstance(opened, ReviewOpened):
            found.setdefault(opened.run, {})[stream] = opened.call
    return found


async def _run(
    journal: Journal, entries: Sequence[Entry], state: RunState, reviews: Mapping[str, str], withhold: Withhold
) -> RunRows:
    times = {entry.seq: entry.at for entry in entries}
    payloads = _disclosed(await journal.payloads(f"run/{state.run}"), withhold(entries))
    asked = [row for stream in reviews if (row := await review_row(journal, stream, withhold)) is not None]
    rulings: dict[str, list[RulingRow]] = {}
    for row in asked:
        rulings.setdefault(row.call, []).extend(row.rulings)
    begun: dict[str, str] = {}
    for entry in entries:
        if entry.kind == "task.started":
            begun[getattr(entry.body, "task", "")] = entry.at
    specs = await _specs(journal, state)
    facts = {
        entry.seq: entry.body.facts for entry in entries if isinstance(entry.body, (CallDecided, CallDecidedAgain))
    }
    return RunRows(
        run=state.run,
        graph=state.started.graph,
        principal=state.started.principal,
        starter=state.started.starter,
        status="waiting" if state.status.value == "running" and state.waiting else state.status.value,
        started=state.at,
        ended=state.ended,
        policies=state.started.policies,
        tasks=tuple(
            TaskRow(task.id, task.agent, task.status.value, begun.get(task.id, ""), times.get(task.seq, ""))
            for task in sorted(state.tasks.values(), key=lambda task: begun.get(task.id, ""))
            if task.id in begun
        ),
        calls=tuple(
            _call(call, state, times, payloads, facts, specs, tuple(rulings.get(call.id, ())))
            for call in sorted(state.calls.values(), key=lambda call: call.seq)
        ),
        reviews=tuple(sorted(asked, key=lambda row: (row.opened, row.review))),
    )


async def review_row(journal: Journal, stream: str, withhold: Withhold = nothing) -> ReviewRow | None:
    """Returns a review, with what was said in the queue that it was last in; None where the stream holds none."""
    entries = await journal.read(stream)
    state = fold(entries)
    if not isinstance(state, ReviewState):
        return None
    payloads = _disclosed(await journal.payloads(stream), withhold(entries))
    found = []
    for vote in state.votes:
        body, reason = vote.body, ""
        payload = payloads.get((vote.seq, "/reason"))
        if body.reason is not None and payload is not None:
            reason = str(_open(payload, body.reason, stream, vote.seq, "/reason"))
        who = f"{body.reviewer} for {body.on_behalf}" if body.on_behalf else body.reviewer
        found.append(RulingRow(body.review, state.queue, who, body.approved, vote.at, reason, body.single_operator))
    opened = state.opened
    return ReviewRow(
        opened.review, opened.call, opened.tool, state.queue, state.status.value, state.at, state.expires,
        opened.in_doubt, tuple(found),
    )  # fmt: skip


def _disclosed(payloads: Mapping[tuple[int, str], Payload], kept: Kept) -> dict[tuple[int, str], Payload]:
    return {place: payload for place, payload in payloads.items() if not kept(*place)}


async def _specs(journal: Journal, state: RunState) -> dict[str, ToolSpec]:
    found = {}
    for digest in {call.record.tool_digest for call in state.calls.values() if call.record}:
        artifact = await journal.artifact(digest)
        if artifact is not None:
            found[digest] = ToolSpec.from_document(plain(artifact.data))
    return found


def _call(
    call: CallState,
    state: RunState,
    times: Mapping[int, str],
    payloads: Mapping[tuple[int, str], Payload],
    facts: Mapping[int, str],
    specs: Mapping[str, ToolSpec],
    rulings: tuple[RulingRow, ...],
) -> CallRow:
    record, verdict = call.current, call.verdict
    stream = f"run/{state.run}"

    def value(seq: int, path: str, expected: str | None) -> Any:
        payload = payloads.get((seq, path))
        return None if payload is None or expected is None else _open(payload, expected, stream, seq, path)

    asked = {name: call.record.args[name] for name in call.edited} if call.record else {}
    settled = call.settled >= 0
    rejected = record is None
    where = call.settled if settled else call.seq
    spec = specs.get(record.tool_digest) if record else None
    reasons = value(call.decided, "/reasons", verdict.reasons) if verdict else None
    seen = value(call.decided, "/facts", facts.get(call.decided)) or {}
    return CallRow(
        call=call.id,
        task=call.task,
        agent=record.agent if record else "",
        tool=call.tool,
        effect=spec.effect.value if spec else "",
        digest=record.digest if record else "",
        requested=times.get(call.seq, ""),
        decided=times.get(call.decided, ""),
        settled=times.get(call.settled, ""),
        outcome=verdict.outcome.value if verdict else "",
        rules=tuple(f"{hit.policy}/{hit.rule}" for hit in verdict.rules) if verdict else (),
        reasons=tuple(str(reason) for reason in reasons or ()),
        status=call.status.value,
        args={name: value(*place) for name, place in call.places.items()},
        result=value(call.settled, "/result", call.commitment) if settled and call.kept == "/result" else None,
        error=str(value(where, "/error", call.commitment) or "")
        if rejected or (settled and call.kept == "/error")
        else "",
        cause=call.cause,
        attempts=call.attempts,
        cost=call.cost,
        labels=tuple(seen.get("labels", ())),
        entry=f"{stream}#{where}",
        produced_by=produced_by(call),
        asked={name: value(call.seq, f"/args/{name}", said) for name, said in asked.items()},
        changed_by=f"person {call.editor}" if call.editor else "policy" if call.edited else "",
        rulings=rulings,
        sources={name: row["call"] for name, row in seen.get("provenance", {}).items() if row["call"]},
        policies=verdict.policies if verdict else "",
        reviews=call.reviews,
        grants=call.grants,
    )


def produced_by(call: CallState) -> str:
    """Says who produced a call's result or error: `tool`, `person NAME`, `remit`, or "" where there is none.

    Of a call in doubt that was given up nobody knows what its tool did: that error is `remit`'s.
    """
    if call.answered:
        return f"person {call.answered}"
    if call.status is CallStatus.REJECTED or (call.settled >= 0 and not call.ok and call.cause == GIVEN_UP):
        return "remit"
    return "tool" if call.settled >= 0 else ""


def _open(payload: Payload, expected: str, stream: str, seq: int, path: str) -> Any:
    if not is_committed(payload, expected):
        raise Tampered(f"{stream}#{seq} {path}: the payload is not what the entry committed to")
    return plain(payload.value)
