"""OTLP/JSON traces, as an OpenTelemetry collector takes them: a span for each run, task and call.

Source: opentelemetry-proto, `ExportTraceServiceRequest` in its JSON mapping (ids in hex, 64-bit numbers as strings).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from remit.export.formats.times import nanoseconds
from remit.export.rows import CallRow, RunRows, TaskRow

_INTERNAL, _OK, _ERROR = 1, 1, 2


def write(runs: Iterable[RunRows]) -> Iterator[bytes]:
    """Yields a request for each run, one a line."""
    for run in runs:
        yield orjson.dumps(request(run)) + b"\n"


def request(run: RunRows) -> dict[str, Any]:
    """Returns the trace of a run."""
    spans = [_run(run), *(_task(run, task) for task in run.tasks), *(_call(run, call) for call in run.calls)]
    resource = {"attributes": _attributes({"service.name": "remit", "remit.graph": run.graph})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "remit"}, "spans": spans}]}]}


def _run(run: RunRows) -> dict[str, Any]:
    attributes = {"remit.run": run.run, "remit.principal": run.principal, "remit.policies": run.policies}
    failed = run.status == "failed"
    return _span(run, run.run, "", f"run {run.graph}", run.started, run.ended, attributes, failed=failed)


def _task(run: RunRows, task: TaskRow) -> dict[str, Any]:
    attributes = {"remit.task": task.task, "gen_ai.agent.name": task.agent}
    failed = task.status == "failed"
    name = f"task {task.task}"
    return _span(run, task.task, run.run, name, task.started, task.ended, attributes, failed=failed)


def _call(run: RunRows, call: CallRow) -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.tool,
        "gen_ai.tool.call.id": call.call,
        "remit.outcome": call.outcome,
        "remit.rules": " ".join(call.rules),
        "remit.status": call.status,
        "remit.produced_by": call.produced_by,
        "remit.changed_by": call.changed_by,
        "remit.digest": call.digest,
        "remit.reviewers": " ".join(row.reviewer for row in call.rulings),
        "error.type": call.cause,
    }
    name = f"execute_tool {call.tool}"
    failed = bool(call.error) or call.outcome == "deny"
    return _span(run, call.call, call.task, name, call.requested, call.settled, attributes, failed=failed)


def _span(
    run: RunRows, id: str, parent: str, name: str, begun: str, ended: str, attributes: dict[str, str], *, failed: bool
) -> dict[str, Any]:
    return {
        "traceId": hashlib.sha256(run.run.encode()).hexdigest()[:32],
        "spanId": _span_id(run, id),
        **({"parentSpanId": _span_id(run, parent)} if parent else {}),
        "name": name,
        "kind": _INTERNAL,
        "startTimeUnixNano": str(nanoseconds(begun)),
        "endTimeUnixNano": str(nanoseconds(ended or begun)),
        "attributes": _attributes(attributes),
        "status": {"code": _ERROR if failed else _OK},
    }


def _span_id(run: RunRows, id: str) -> str:
    return hashlib.sha256(f"{run.run}/{id}".encode()).hexdigest()[:16]


def _attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items() if value]
