"""CSV (RFC 4180) and Parquet: a row for each call."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from remit.errors import BadInput
from remit.export.rows import CallRow, RunRows

COLUMNS = (
    "run", "graph", "principal", "task", "agent", "call", "tool", "effect", "outcome", "rules", "reasons", "reviewers",
    "status", "requested", "settled", "args", "result", "cause", "error", "attempts", "cost", "labels", "digest",
    "entry", "produced_by", "asked", "changed_by",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(runs: Iterable[RunRows]) -> Iterator[bytes]:
    """Yields CSV with a head line. What a spreadsheet would take for a formula gets a quote before it."""
    yield _line(COLUMNS)
    for run in runs:
        for call in run.calls:
            yield _line([_harmless(str(value)) for value in _row(run, call).values()])


def write_parquet(runs: Iterable[RunRows]) -> Iterator[bytes]:
    """Yields one Parquet file: text, but for `attempts`.

    Raises:
        BadInput: the extra `parquet` is not installed.
    """
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise BadInput("Parquet needs pyarrow: install `remit[parquet]`") from error
    rows = [_row(run, call) for run in runs for call in run.calls]
    fields = [(name, arrow.int64() if name == "attempts" else arrow.string()) for name in COLUMNS]
    out = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows, schema=arrow.schema(fields)), out)
    yield out.getvalue()


def _row(run: RunRows, call: CallRow) -> dict[str, Any]:
    reviewers = [f"{row.reviewer} {'approved' if row.approved else 'denied'} {row.review}" for row in call.rulings]
    values = {
        "run": run.run,
        "graph": run.graph,
        "principal": run.principal,
        "task": call.task,
        "agent": call.agent,
        "call": call.call,
        "tool": call.tool,
        "effect": call.effect,
        "outcome": call.outcome,
        "rules": " ".join(call.rules),
        "reasons": "; ".join(call.reasons),
        "reviewers": "; ".join(reviewers),
        "status": call.status,
        "requested": call.requested,
        "settled": call.settled,
        "args": orjson.dumps(dict(call.args)).decode(),
        "result": "" if call.result is None else orjson.dumps(call.result).decode(),
        "cause": call.cause,
        "error": call.error,
        "attempts": call.attempts,
        "cost": call.cost,
        "labels": " ".join(call.labels),
        "digest": call.digest,
        "entry": call.entry,
        "produced_by": call.produced_by,
        "asked": orjson.dumps(dict(call.asked)).decode() if call.asked else "",
        "changed_by": call.changed_by,
    }
    return {name: values[name] for name in COLUMNS}


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(values: Iterable[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(list(values))
    return out.getvalue().encode()
