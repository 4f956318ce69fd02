"""Facts: everything a decision may look at, captured once, frozen, recorded.

`Facts` is what the journal keeps beside a verdict; `roots` turns it, with the call and its tool, into the
names that conditions see, live and when a recorded decision is decided again. `root_types` says the types
of those names, so that a policy with a typo in one doesn't load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from remit.core import provenance
from remit.core.lifecycle import History, RunState, Spent
from remit.core.tools import Effect, JsonSchema, Repeat, ToolSpec
from remit.errors import Tampered

_DECIMAL = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?")
_NUMBER: JsonSchema = {"type": "string", "format": "decimal"}
_COUNT: JsonSchema = {"type": "integer"}
_TEXT: JsonSchema = {"type": "string"}
_TEXTS: JsonSchema = {"type": "array", "items": _TEXT}


def _record(**properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_SPENT = {"calls": _COUNT, "cost": _NUMBER}
_FIXED: Mapping[str, JsonSchema] = {
    "tool": _record(
        name=_TEXT,
        effect={"type": "string", "enum": [effect.value for effect in Effect]},
        repeat={"type": "string", "enum": [repeat.value for repeat in Repeat]},
        tags=_TEXTS,
        authority=_TEXTS,
        content=_TEXTS,
    ),
    "agent": _record(name=_TEXT, version=_TEXT),
    "task": _record(id=_TEXT),
    "run": _record(
        id=_TEXT, graph=_TEXT, principal=_TEXT, started={"type": "string", "format": "date-time"}, purpose=_TEXT
    ),
    "spent": _record(**_SPENT, by_tool={"type": "object", "additionalProperties": _record(**_SPENT)}),
    "labels": _TEXTS,
    "now": {"type": "string", "format": "date-time"},
    "history": _record(
        allowed=_COUNT,
        escalated=_COUNT,
        denied=_COUNT,
        last={"type": "object", "additionalProperties": _TEXT},
        settled={"type": "object", "additionalProperties": _COUNT},
    ),
    "approval": _record(given={"type": "boolean"}, reviewers=_TEXTS),
}


def root_types(
    tool: ToolSpec, facts: Mapping[str, JsonSchema], findings: Mapping[str, JsonSchema] | None = None
) -> dict[str, JsonSchema]:
    """Returns the JSON Schema of every name that a condition on `tool` can see.

    `facts` are those it has, `findings` those of the guardrails that look at its arguments.
    """
    seen = {"findings": _record(**findings)} if findings else {}
    return {**_FIXED, **provenance.root_types(tool), **seen, "args": tool.normal, "facts": _record(**facts)}


class _Counts(dict[str, Any]):
    """By-tool counts: a tool that was not used yet has counts of zero, not a missing key."""

    def __missing__(self, key: str) -> object:
        return {"calls": 0, "cost": Decimal(0)}


class _Zeros(dict[str, Any]):
    """By-tool numbers of calls: of a tool that was not used yet there is none, not a missing key."""

    def __missing__(self, key: str) -> object:
        return 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything beside the call and its tool that one decision looked at.

    Attributes:
        now: RFC 3339, UTC, microseconds.
        values: what fact providers said, by name; one that failed is absent.
        labels: labels of all that the task has read so far.
        reviewers: who approved, when the call is decided again after a review.
    """

    now: str
    agent: str
    agent_version: str
    task: str
    run: str
    graph: str
    principal: str
    started: str
    spent: Spent
    spent_by_tool: Mapping[str, Spent]
    history: History
    last: Mapping[str, str]
    labels: tuple[str, ...]
    values: Mapping[str, object]
    approved: bool = False
    reviewers: tuple[str, ...] = ()
    flow: Mapping[str, object] = field(default_factory=dict)
    """`provenance`, `authority` and `content`, where a rule on the tool looks at them."""
    purpose: str = ""
    """What the run was started for, in the words of purposes.yaml."""
    findings: Mapping[str, object] = field(default_factory=dict)
    """What guardrails say of the arguments, by guardrail; one that failed is absent."""
    guarded: Sequence[Mapping[str, object]] = ()
    """Where guardrails mask the arguments; of one that failed, its name. Conditions don't see it."""
    settled: Mapping[str, int] = field(default_factory=dict)
    """How many calls of each tool came to a good end in this run."""
    counters: Mapping[str, object] = field(default_factory=dict)
    """What the counters that matter stand at, as text; one that failed is absent."""

    def document(self) -> dict[str, object]:
        """Returns the facts as JSON: what the journal commits to."""
        return {
            "now": self.now,
            "agent": {"name": self.agent, "version": self.agent_version},
            "task": {"id": self.task},
            "run": {
                "id": self.run,
                "graph": self.graph,
                "principal": self.principal,
                "started": self.started,
                "purpose": self.purpose,
            },
            "spent": {
                "calls": self.spent.calls,
                "cost": str(self.spent.cost),
                "by_tool": {
                    tool: {"calls": spent.calls, "cost": str(spent.cost)} for tool, spent in self.spent_by_tool.items()
                },
            },
            "history": {
                "allowed": self.history.allowed,
                "escalated": self.history.escalated,
                "denied": self.history.denied,
                "last": dict(self.last),
                "settled": dict(self.settled),
            },
            "labels": list(self.labels),
            "facts": dict(self.values),
            "approval": {"given": self.approved, "reviewers": list(self.reviewers)},
            **self.flow,
            **({"findings": dict(self.findings)} if self.findings else {}),
            **({"guarded": [dict(row) for row in self.guarded]} if self.guarded else {}),
            **({"counters": dict(self.counters)} if self.counters else {}),
        }


def capture(
    state: RunState, *, now: str, agent: str, agent_version: str, task: str, values: Mapping[str, object],
    reviewers: tuple[str, ...] = (), approved: bool = False, flow: Mapping[str, object] | None = None,
    findings: Mapping[str, object] | None = None, guarded: Sequence[Mapping[str, object]] = (),
) -> Facts:  # fmt: skip
    """Returns the facts of this moment: counters as they stand, enqueued entries included."""
    found = state.tasks.get(task)
    return Facts(
        now=now,
        agent=agent,
        agent_version=agent_version,
        task=task,
        run=state.run,
        graph=state.started.graph,
        principal=state.started.principal,
        started=state.at,
        spent=state.spent,
        spent_by_tool=dict(state.spent_by_tool.items()),
        history=state.history,
        last=dict(state.last.items()),
        labels=found.labels if found else (),
        values=values,
        approved=approved,
        reviewers=reviewers,
        flow=flow or {},
        purpose=state.started.purpose,
        findings=findings or {},
        guarded=guarded,
        settled=dict(state.settled.items()),
    )


_BY_NAME = ("facts", "findings", "counters")


def as_it_stood(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, object]:
    """Returns what a call that was begun is decided on once more, from the facts recorded then and those of now.

    All is as recorded but the time: since then the run's account and the counters hold the call itself, and what fact
    providers say may be its own effect (a ledger that has the payment). What wasn't looked at then is as it is now.
    """
    merged = {name: {**now.get(name, {}), **recorded.get(name, {})} for name in _BY_NAME}
    found = {name: value for name, value in merged.items() if value or name in recorded}
    return {**now, **recorded, **found, "now": now["now"]}


def roots(document: Mapping[str, Any], tool: ToolSpec, args: Mapping[str, object]) -> dict[str, object]:
    """Returns the names that conditions see, from recorded facts, the tool and the call's arguments.

    Raises:
        Tampered: `document` isn't what `Facts.document` writes.
    """
    try:
        now = datetime.fromisoformat(document["now"])
        spent, history, run = document["spent"], document["history"], document.get("run", {})
        if "purpose" not in run:  # which older facts don't have
            run = {"purpose": "", **run}
        return {
            **document,
            "now": now,
            "run": run,
            **_without_barred(document),
            "spent": {**spent, "by_tool": _Counts(spent["by_tool"])},
            "history": {**history, "settled": _Zeros(history.get("settled", ()))},  # nor this
            "args": _parsed(args, tool.decimals),
            "tool": tool.seen,
        }
    except (KeyError, TypeError, ValueError) as error:
        raise Tampered(f"recorded facts can't be read: {type(error).__name__}: {error}") from error


def _without_barred(document: Mapping[str, Any]) -> dict[str, object]:
    """What older facts on flow don't say: who of the recipients may not read a value."""
    row = next(iter(document.get("provenance", {}).values()), None)
    if row is None or "barred" in row:
        return {}
    rows = {name: {**one, "barred": []} for name, one in document["provenance"].items()}
    lists = {root: [{**one, "barred": []} for one in document.get(root, ())] for root in ("authority", "content")}
    return {"provenance": rows, **lists}


def this_of(tool: ToolSpec, args: Mapping[str, object]) -> dict[str, object]:
    """Returns what a grant's condition sees as `this`: the call that was reviewed."""
    return {"args": _parsed(args, tool.decimals)}


def this_type(tool: ToolSpec) -> JsonSchema:
    """Returns the type of `this`."""
    return {"$defs": tool.normal.get("$defs", {}), **_record(args=tool.normal)}


def _parsed(args: Mapping[str, object], decimals: tuple[str, ...]) -> Mapping[str, object]:
    """Reads decimals once for all rules; one that isn't a number stays a string, and is an error to a rule."""
    found = {}
    for name in decimals:
        value = args.get(name)
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            found[name] = Decimal(value)
    return {**args, **found} if found else args
