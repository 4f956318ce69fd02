"""cel-expr-python: expressions only, so which rules speak of the tool is found in a dict, as Remit does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel
from scenario import OURS, Decide, measure


def make(size: int) -> Decide:
    env = cel.NewEnv(variables={"args": cel.Type.DYN, "facts": cel.Type.DYN})
    allow = env.compile("args.amount <= 1000 && facts.supplier.known")
    denies = [env.compile(f'args.amount > {2000 + n} && args.iban == "NL{n}"') for n in range(OURS - 1)]
    rules = {
        "pay": (allow, denies),
        "other": (allow, [env.compile(f"args.amount == {n}") for n in range(size - OURS)]),
    }

    def one(args: Mapping[str, Any]) -> bool:
        allow, denies = rules["pay"]
        seen = {"args": args, "facts": {"supplier": {"known": True}}}
        denied = [rule.eval(data=seen).plain_value() for rule in denies]
        return bool(allow.eval(data=seen).plain_value()) and not any(denied)

    return one


if __name__ == "__main__":
    measure(make)
