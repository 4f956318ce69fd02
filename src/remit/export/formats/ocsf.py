"""OCSF 1.5.0 API Activity (class 6003), profile security_control: an event for each call, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from remit.export.formats.times import milliseconds
from remit.export.rows import CallRow, RunRows

VERSION = "1.5.0"
_ACTIVITY = {"read": 2, "fetch": 2, "write": 3, "send": 1, "commit": 1, "destroy": 4}
"""Create 1, Read 2, Update 3, Delete 4; anything else is Other 99."""
_NAMES = {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"}
_ALLOWED, _BLOCKED, _PENDING = (1, "Allowed", 1), (2, "Denied", 2), (0, "Unknown", 0)
"""Action id and name, and disposition id."""


def write(runs: Iterable[RunRows]) -> Iterator[bytes]:
    """Yields an event for each call."""
    for run in runs:
        for call in run.calls:
            yield orjson.dumps(event(run, call)) + b"\n"


def event(run: RunRows, call: CallRow) -> dict[str, Any]:
    """Returns the event of a call."""
    activity = _ACTIVITY.get(call.effect, 99)
    ran = call.status == "settled" and call.produced_by == "tool"
    waiting = call.status in ("waiting", "intended", "in_doubt")
    action, action_name, disposition = _ALLOWED if ran else _PENDING if waiting else _BLOCKED
    response: dict[str, Any] = {"code": 0 if call.error == "" else 1}
    if call.error:
        response |= {"error": call.cause or "rejected", "error_message": call.error}
    return {
        "activity_id": activity,
        "activity_name": _NAMES[activity],
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6003,
        "class_name": "API Activity",
        "type_uid": 600300 + activity,
        "severity_id": 1 if call.outcome == "allow" else 3,
        "status_id": 1 if call.status == "settled" and not call.error else 0 if waiting else 2,
        "time": milliseconds(call.requested),
        "start_time": milliseconds(call.requested),
        **({"end_time": milliseconds(call.settled)} if call.settled else {}),
        "message": "; ".join(call.reasons) or f"{call.tool}: {call.outcome or 'rejected'}",
        "metadata": {
            "version": VERSION,
            "profiles": ["security_control"],
            "product": {"name": "Remit", "vendor_name": "Remit"},
            "uid": call.digest or call.entry,
            "correlation_uid": run.run,
            "labels": list(call.labels),
        },
        "actor": {
            "user": {"name": run.principal},
            "app_name": call.agent or run.graph,
            "invoked_by": run.starter,
        },
        "src_endpoint": {"name": run.starter, "svc_name": run.graph},
        "api": {
            "operation": call.tool,
            "service": {"name": run.graph},
            "request": {"uid": call.call, "data": dict(call.args)},
            "response": response,
        },
        "action_id": action,
        "action": action_name,
        "disposition_id": disposition,
        **({"policy": {"name": call.rules[0], "uid": run.policies, "is_applied": True}} if call.rules else {}),
        "unmapped": {
            "outcome": call.outcome,
            "rules": list(call.rules),
            "rulings": [{"reviewer": row.reviewer, "approved": row.approved, "at": row.at} for row in call.rulings],
            "entry": call.entry,
            "produced_by": call.produced_by,
            "asked": dict(call.asked),
            "changed_by": call.changed_by,
        },
    }
