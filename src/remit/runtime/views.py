"""What a person wants to know of a run or a review, read from the journal: plain values, for printing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import orjson

from remit.core.entries import Commitment, ReviewCommented, RuleHit, VerdictRecord, is_committed
from remit.core.lifecycle import (
    CallState,
    CallStatus,
    RunState,
    RunStatus,
    failed_tasks,
    is_quarantined,
    standing,
)
from remit.core.obligations import in_words
from remit.core.reading import codes
from remit.core.reviews import ReviewState, Vote, latest
from remit.errors import Tampered
from remit.runtime.erasures import ERASED, Values, values_of
from remit.runtime.load import load_review, load_reviews, load_run
from remit.store.journal import Journal

_LONGEST = 40
"""Characters of an argument in a title that no queue says."""


async def run_view(journal: Journal, run: str) -> dict[str, Any]:
    """Returns a run with its tasks, calls, verdicts and reasons, and where it waits.

    Raises:
        UnknownId: there is no such run.
        Tampered: what is stored isn't what was recorded.
    """
    state = await load_run(journal, run)
    reviews = await load_reviews(journal, state)
    payloads = await values_of(journal, f"run/{run}")
    started = state.started
    graph = await journal.artifact(started.graph_digest)
    tasks = orjson.loads(graph.data)["tasks"] if graph is not None else []
    order = {task["id"]: index for index, task in enumerate(tasks)}
    output = state.finished.output if state.finished else None
    return {
        "run": state.run,
        "status": status_of(state),
        "graph": started.graph,
        "target": started.target,
        "principal": started.principal,
        "starter": started.starter,
        "purpose": started.purpose,
        "started": state.at,
        "ended": state.ended,
        "worker": state.worker,
        "policies": started.policies,
        "input": _value(payloads, 0, "/input", started.input),
        "output": _value(payloads, state.head.seq, "/output", output) if output else None,
        "failed": list(state.finished.failed) if state.finished else failed_tasks(state),
        "spent": {"calls": state.spent.calls, "cost": str(state.spent.cost)},
        "graph_tasks": [{**task, "status": standing(state, task["id"]).value} for task in tasks],
        "tasks": [_task(state, id, payloads) for id in sorted(state.tasks, key=partial(_place, order))],
        "calls": [
            _call(state.calls[id], payloads, reviews) for id in sorted(state.calls, key=lambda id: state.calls[id].seq)
        ],
    }


async def review_view(journal: Journal, review: str) -> dict[str, Any]:
    """Returns a review with everything a reviewer is shown (None where it was erased), and what was ruled.

    `gone` says why nothing is shown: `[erased]` or `[withheld]`; "" where it is.

    Raises:
        UnknownId: there is no such review.
        Tampered: what is stored isn't what was recorded: what can't be shown can't be ruled on.
    """
    state = await load_review(journal, review)
    payloads = await values_of(journal, f"review/{review}")
    opened = state.opened
    rulings = [_ruling(vote, payloads) for vote in state.votes]
    shown = _value(payloads, 0, "/shown", opened.shown) if (0, "/shown") in payloads else None
    gone = payloads.gone(0, "/shown")
    changed = _ruling(state.proposed, payloads)["edited"] if state.proposed else {}
    args = {**shown["args"], **changed} if shown else None
    comments = [
        {
            "reviewer": entry.body.reviewer,
            "at": entry.at,
            "comment": _value(payloads, entry.seq, "/comment", entry.body.comment),
        }
        for entry in await journal.read(f"review/{review}")
        if isinstance(entry.body, ReviewCommented)
    ]
    return {
        "review": opened.review,
        "status": state.status.value,
        "queue": state.queue,
        "run": opened.run,
        "call": opened.call,
        "tool": opened.tool,
        "opened": state.at,
        "expires": state.expires,
        "in_doubt": opened.in_doubt,
        "digest": opened.digest,
        "rules": [_hit(hit) for hit in opened.disclosed],
        "shown": shown,
        "args": args,
        "title": title_of(shown, args, activation=opened.activation, gone=gone),
        "gone": "" if shown else gone,
        "seen": codes(args or {}, state.version),
        "starter": opened.starter,
        "ruling": rulings[-1] if state.ruled else None,
        "rulings": rulings,
        "comments": comments,
        "version": state.version,
        "approvals": len(state.approving),
        "needed": state.terms.approvals,
        "needed_of": dict(state.terms.groups),
        "denials": sum(not vote.body.approved for vote in latest(state.votes)),
        "denials_needed": state.terms.denials,
        "then_to": state.terms.next,
        "may_edit": list(state.terms.edit),
        "may_respond": state.terms.respond,
        "granted": opened.review if state.granted else "",
        "may_grant": msgspec.to_builtins(state.terms.grant) if state.terms.grant else None,
        "hands_on_to": list(state.terms.hand_on_to),
        "claimed_by": state.claimed.reviewer if state.claimed else "",
        "claimed_until": state.claimed.until if state.claimed else "",
        "priority": opened.priority,
        "activation": opened.activation,
    }


def title_of(
    shown: Mapping[str, Any] | None, args: Mapping[str, Any] | None, *, activation: bool = False, gone: str = ERASED
) -> str:
    """Returns the line by which reviewers know one review from another; what others wrote in it is not escaped.

    It is the title of the queue in which it began to wait, or the tool and its arguments, each cut where it is long.
    `args` are the arguments as they stand: what a reviewer changed is said beside it.
    """
    if shown is None or args is None:
        return gone
    if activation:
        return str(shown["reasons"][0])
    if "title" not in shown:
        return f"{shown['tool']}({_pairs(args)})"
    changed = {name: value for name, value in args.items() if value != shown["args"].get(name)}
    return f"{shown['title']}, with {_pairs(changed)}" if changed else str(shown["title"])


def _pairs(args: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in args.items())


def _short(value: object) -> str:
    text = orjson.dumps(value).decode()  # in quotes: no value passes for another argument
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _ruling(vote: Vote, payloads: Values) -> dict[str, Any]:
    ruled = vote.body
    return {
        "approved": ruled.approved,
        "reviewer": ruled.reviewer,
        "on_behalf": ruled.on_behalf,
        "at": vote.at,
        "reason": _value(payloads, vote.seq, "/reason", ruled.reason) if ruled.reason else "",
        "edited": {name: _value(payloads, vote.seq, f"/edited/{name}", said) for name, said in ruled.edited.items()},
        "answers": ruled.answer is not None,
        "answer": _value(payloads, vote.seq, "/answer", ruled.answer) if ruled.answer else None,
        "grant": _granted(vote, payloads),
        "signed": bool(ruled.signature),
        "single_operator": ruled.single_operator,
    }


def _granted(vote: Vote, payloads: Values) -> dict[str, Any] | None:
    """What a ruling grants beside the call; its condition is None where it was erased."""
    terms = vote.body.grant
    if terms is None:
        return None
    said = _value(payloads, vote.seq, "/grant", terms.condition)
    condition = said["condition"] if isinstance(said, dict) else None
    gone = payloads.gone(vote.seq, "/grant") if condition is None else ""
    return {"condition": condition, "gone": gone, "uses": terms.uses, "until": terms.until}


def status_of(state: RunState) -> str:
    """Returns done, failed, quarantined, waiting (for people) or running."""
    if state.status is not RunStatus.RUNNING:
        return state.status.value
    if is_quarantined(state):
        return "quarantined"
    return "waiting" if state.waiting else "running"


def _task(state: RunState, id: str, payloads: Values) -> dict[str, Any]:
    task = state.tasks[id]
    status = standing(state, id)
    error = _value(payloads, task.seq, "/error", task.commitment) if task.cause and task.seq >= 0 else ""
    return {
        "task": id,
        "status": "waiting" if task.waiting else status.value,
        "agent": task.agent,
        "instances": task.count,
        "labels": list(task.labels),
        "cause": task.cause,
        "error": error,
    }


def _call(call: CallState, payloads: Values, reviews: Mapping[str, ReviewState]) -> dict[str, Any]:
    record, verdict = call.current, call.verdict
    rejected = call.status is CallStatus.REJECTED
    args = {name: _value(payloads, *place) for name, place in call.places.items()}
    ended = _value(payloads, call.settled, call.kept, call.commitment) if call.settled >= 0 else None
    result = ended if call.kept == "/result" else None
    error = "" if ended is None or call.kept == "/result" else ended
    if rejected:
        error = _value(payloads, call.seq, "/error", call.commitment)
    return {
        "call": call.id,
        "task": call.task,
        "tool": call.tool,
        "status": call.status.value,
        "args": _value(payloads, call.seq, "/args", call.said) if rejected else args,
        "changed": sorted(call.edited),
        "digest": record.digest if record else "",
        "outcome": verdict.outcome.value if verdict else "",
        "rules": [_hit(hit) for hit in verdict.rules] if verdict else [],
        "broken": [_hit(hit) for hit in verdict.broken] if verdict else [],
        "shadow": [_hit(hit) for hit in verdict.shadow] if verdict else [],
        "obliged": [in_words(one) for one in call.obliged],
        "reasons": _reasons(call, verdict, payloads),
        "reviews": [_review(reviews[id]) for id in call.reviews if id in reviews],
        "grants": list(call.grants),
        "because": call.because,
        "attempts": call.attempts,
        "ok": call.ok,
        "lost": call.lost,
        "result": result,
        "cause": call.cause,
        "error": error,
    }


def _review(review: ReviewState) -> dict[str, Any]:
    return {
        "review": review.opened.review,
        "queue": review.queue,
        "status": review.status.value,
        "expires": review.expires,
        "reviewer": review.ruled.reviewer if review.ruled else "",
        "open": review.waits,
    }


def _reasons(call: CallState, verdict: VerdictRecord | None, payloads: Values) -> list[str]:
    if verdict is None or verdict.reasons is None:
        return []
    words = _value(payloads, call.decided, "/reasons", verdict.reasons)
    return [str(word) for word in words] if isinstance(words, list) else [str(words)]


def _hit(hit: RuleHit) -> dict[str, Any]:
    return {
        "rule": f"{hit.policy}/{hit.rule}",
        "effect": hit.effect.value,
        "queue": hit.queue,
        "broken": hit.error,
        "digest": hit.digest,
    }


def _value(payloads: Values, seq: int, path: str, expected: Commitment | None) -> Any:
    payload = payloads.get((seq, path))
    if payload is None:
        return payloads.gone(seq, path)
    if not is_committed(payload, expected):
        raise Tampered(f"{payload.stream}#{seq} {path}: the payload is not what the entry committed to")
    return orjson.loads(payload.value)


def _place(order: Mapping[str, int], id: str) -> tuple[int, str, int]:
    """Where a task is told of: as the graph goes, and in a fan-out by number."""
    name, _, rest = id.partition("[")
    return order.get(name, len(order)), name, int(rest[:-1]) if rest else -1
