"""Measures `decide`: 20 and 1,000 rules, and arguments of 1 MB and of 10,000 rows.

    python bench/decide.py [--rounds 15]

The budget: 20 matching rules under 10 microseconds, and no slower with 1,000 rules or on large arguments.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal

from remit.core.decide import decide
from remit.core.entries import Outcome
from remit.core.facts import root_types, roots
from remit.core.policy import PolicySet, load_policies
from remit.core.tools import ToolSpec
from remit.core.typed import tool

FACTS = {"supplier": {"type": "object", "properties": {"known": {"type": "boolean"}}, "required": ["known"]}}
DOCUMENT: Mapping[str, object] = {
    "now": "2026-01-05T09:00:00.000000Z",
    "agent": {"name": "payables", "version": "1"},
    "task": {"id": "settle[3]"},
    "run": {"id": "r", "graph": "payables", "principal": "ann", "started": "2026-01-05T08:00:00.000000Z"},
    "spent": {"calls": 3, "cost": "0", "by_tool": {}},
    "history": {"allowed": 3, "escalated": 0, "denied": 0, "last": {}},
    "labels": ["untrusted"],
    "facts": {"supplier": {"known": True}},
    "approval": {"given": False, "reviewers": []},
}


@tool(effect="commit", repeat="keyed")
def pay(amount: Decimal, iban: str, memo: str, rows: list[dict[str, str]]) -> None:
    """Pays."""


@tool(effect="read", repeat="idempotent")
def other(amount: int) -> None:
    """What the rules that don't match speak of."""


def policies(matching: int, others: int) -> PolicySet:
    """Returns a policy set of which `matching` rules speak of `pay`, each with two comparisons."""
    lines = ["policy: bench", "rules:", "  - id: allow", "    tools: [pay]"]
    lines += ["    allow: args.amount <= 1000 && facts.supplier.known"]
    for number in range(matching - 1):
        lines += [f"  - id: deny-{number}", "    tools: [pay]"]
        lines += [f'    deny: args.amount > {2000 + number} && args.iban == "NL{number}"']
    for number in range(others):
        lines += [f"  - id: other-{number}", "    tools: [other]", f"    deny: args.amount == {number}"]
    return load_policies({"bench.yaml": "\n".join(lines)}, [pay.spec, other.spec], types)


def types(spec: ToolSpec) -> dict[str, Mapping[str, object]]:
    return root_types(spec, FACTS)


def measure(set_: PolicySet, args: Mapping[str, object], rounds: int) -> float:
    """Returns microseconds a decision, the best of some rounds."""
    seen = roots(DOCUMENT, pay.spec, args)
    assert decide("pay", seen, set_).outcome is Outcome.ALLOW
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(2_000):
            decide("pay", seen, set_)
        best = min(best, (time.perf_counter() - begun) / 2_000)
    return best * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args(arguments).rounds
    small: dict[str, object] = {"amount": "120.50", "iban": "DE02120300000000202051", "memo": "x", "rows": []}
    few, many = policies(20, 0), policies(20, 980)
    base = measure(few, small, rounds)
    print("| decision, 20 rules of two comparisons that speak of the tool | µs | ratio |")
    print("|---|---|---|")
    print(f"| 20 rules in all | {base:.1f} | 1 |")
    for name, set_, args in (
        ("1,000 rules in all", many, small),
        ("an argument of 1 MB", few, {**small, "memo": "x" * 1_000_000}),
        ("an argument of 10,000 rows", few, {**small, "rows": [{"a": "b"}] * 10_000}),
    ):
        found = measure(set_, args, rounds)
        print(f"| {name} | {found:.1f} | {found / base:.2f} |")


if __name__ == "__main__":
    main()
