"""Remit: `decide`, from the facts as they stand; the arguments are in them as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scenario import OURS, Decide, measure

from remit.core.decide import decide
from remit.core.entries import Outcome
from remit.core.facts import root_types, roots
from remit.core.policy import load_policies
from remit.core.typed import tool

FACTS = {"supplier": {"type": "object", "properties": {"known": {"type": "boolean"}}, "required": ["known"]}}
DOCUMENT = {
    "now": "2026-01-05T09:00:00.000000Z", "agent": {"name": "a", "version": "1"}, "task": {"id": "t"},
    "run": {"id": "r", "graph": "g", "principal": "p", "started": "2026-01-05T08:00:00.000000Z"},
    "spent": {"calls": 3, "cost": "0", "by_tool": {}}, "labels": [], "facts": {"supplier": {"known": True}},
    "history": {"allowed": 3, "escalated": 0, "denied": 0, "last": {}}, "approval": {"given": False, "reviewers": []},
}  # fmt: skip


@tool(effect="commit", repeat="keyed")
def pay(amount: int, iban: str, memo: str, rows: list[dict[str, str]]) -> None:
    """Pays."""


@tool(effect="read", repeat="idempotent")
def other(amount: int) -> None:
    """Another tool."""


def make(size: int) -> Decide:
    rules = ["  - {id: a, tools: [pay], allow: args.amount <= 1000 && facts.supplier.known}"]
    rules += [
        f"  - {{id: d{n}, tools: [pay], deny: 'args.amount > {2000 + n} && args.iban == \"NL{n}\"'}}"
        for n in range(OURS - 1)
    ]
    rules += [f"  - {{id: o{n}, tools: [other], deny: args.amount == {n}}}" for n in range(size - OURS)]
    text = "\n".join(["policy: p", "rules:", *rules])
    found = load_policies({"p.yaml": text}, [pay.spec, other.spec], lambda spec: root_types(spec, FACTS))

    def one(args: Mapping[str, Any]) -> bool:
        return decide("pay", roots(DOCUMENT, pay.spec, args), found).outcome is Outcome.ALLOW

    return one


if __name__ == "__main__":
    measure(make)
