"""Measures what a look costs each detector, by the kilobyte and for a short text.

python bench/guardrails.py [--rounds 30]
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from typing import Any

from remit.core.detectors import Detector
from remit.guardrails.paths import paths
from remit.guardrails.pii import pii
from remit.guardrails.quality import Checks, quality
from remit.guardrails.schema import schema
from remit.guardrails.secrets import secrets
from remit.guardrails.shell import shell
from remit.guardrails.sql import sql
from remit.guardrails.text import text
from remit.guardrails.urls import urls

PROSE = "Dear Ann, the invoice 2026-0042 over 1,200.00 EUR is attached; please call if the order of 3 pallets is late. "
QUERY = (
    "select o.id, c.name, sum(o.amount) from orders o join customers c on c.id = o.customer where o.day > '2026-01-01' "
)
LINE = "find . -name '*.py' -print0 | xargs -0 grep -n 'import os' > found.txt; cd /tmp && ls -la | sort -k5 -n\n"
ROW = {"id": 7, "name": "Ann", "price": "12.50", "at": "2026-11-22T10:00:00Z"}
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    rows = [dict(ROW, id=number) for number in range(12)]
    shape = {"type": "array", "items": {"type": "object", "required": ["id"]}}
    checks = Checks(required=("id",), ranges={"price": (0, 100)}, unique=("id",))
    measured: list[tuple[Detector[Any], object, object]] = [
        (sql("postgres"), QUERY, " union all ".join([QUERY] * 9)),
        (shell(), LINE, LINE * 10),
        (paths(["/tmp"]), "docs/report.txt", ["docs/a/b/report.txt"] * 54),
        (urls(), "https://example.com/a/b?page=2", ["https://example.com/a/b?page=2#top"] * 30),
        (urls(embedded=True), PROSE, (PROSE + "https://example.com/a ") * 8),
        (secrets(), PROSE, PROSE * 9),
        (pii(), PROSE, PROSE * 9),
        (text(), PROSE, PROSE * 9),
        (schema(shape), rows[:1], rows),
        (quality(checks, lambda: NOW), rows[:1], rows),
    ]
    print("| detector | a short value, us | 1 KB, us |\n|---|---|---|")
    for detector, short, long in measured:
        print(f"| {detector.name} | {median(detector, short, rounds):.0f} | {median(detector, long, rounds):.0f} |")


def median(detector: Detector[Any], value: object, rounds: int) -> float:
    """Returns the median time of a look, in microseconds."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        detector.look([("/it", value)])
        taken.append(time.perf_counter() - start)
    return sorted(taken)[rounds // 2] * 1e6


if __name__ == "__main__":
    main()
