"""Rego, through regopy (rego-cpp), with the policy compiled to a bundle once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regopy import Interpreter
from scenario import OURS, Decide, measure


def make(size: int) -> Decide:
    rules = ['allow if { input.tool == "pay"; input.args.amount <= 1000; input.facts.supplier.known }']
    rules += [
        f'deny if {{ input.tool == "pay"; input.args.amount > {2000 + n}; input.args.iban == "NL{n}" }}'
        for n in range(OURS - 1)
    ]
    rules += [f'deny if {{ input.tool == "other"; input.args.amount == {n} }}' for n in range(size - OURS)]
    heads = ["package p", "import rego.v1", "default allow := false", "default deny := false", "default ok := false"]
    rego = Interpreter()
    rego.add_module("p", "\n".join([*heads, *rules, "ok if { allow; not deny }"]))
    bundle = rego.build("data.p.ok")

    def one(args: Mapping[str, Any]) -> bool:
        rego.set_input({"tool": "pay", "args": args, "facts": {"supplier": {"known": True}}})
        return str(rego.query_bundle(bundle)) == '{"expressions":[true]}'

    return one


if __name__ == "__main__":
    measure(make)
