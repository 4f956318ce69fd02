"""What every engine decides: a payment that is allowed, under 20 rules about payments and others about another tool.

One rule allows payments up to 1000 to known suppliers, 19 deny a large payment to one account each, and the rest are
about tool `other`. Standard library only: each engine runs in an environment of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

SIZES = (20, 1_000, 10_000)
OURS = 20
"""How many of the rules speak of the tool that is called."""
PAY: dict[str, Any] = {"amount": 120, "iban": "DE02120300000000202051", "memo": "x", "rows": []}
ROWS = {**PAY, "rows": [{"a": "b"}] * 10_000}
TEXT = {**PAY, "memo": "x" * 1_000_000}

Decide = Callable[[Mapping[str, Any]], bool]


def measure(make: Callable[[int], Decide]) -> None:
    """Prints, as JSON, microseconds a decision: for each number of rules, and at 20 for large arguments."""
    found: dict[str, float] = {}
    for size in SIZES:
        decide = make(size)
        assert decide(PAY) is True and decide({**PAY, "amount": 2_000_000, "iban": "NL3"}) is False
        found[f"{size:,} rules"] = _best(decide, PAY)
        if size == OURS:
            found["10,000 rows"] = _best(decide, ROWS)
            found["1 MB"] = _best(decide, TEXT)
    print(json.dumps(found))


def _best(decide: Decide, args: Mapping[str, Any]) -> float:
    """The best of five rounds of at least 50 ms."""
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < 0.05 or count < 3:
        decide(args)
        count += 1
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(count):
            decide(args)
        best = min(best, (time.perf_counter() - begun) / count)
    return best * 1e6
