"""Microsoft's agent-governance-toolkit-core: its PolicyEvaluator. A rule has one comparison of one field, so half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_os.policies import PolicyEvaluator
from agent_os.policies.schema import PolicyAction, PolicyCondition, PolicyDocument, PolicyOperator, PolicyRule
from scenario import OURS, Decide, measure


def _rule(name: str, field: str, operator: PolicyOperator, value: object, action: PolicyAction, order: int) -> Any:
    condition = PolicyCondition(field=field, operator=operator, value=value)
    return PolicyRule(name=name, condition=condition, action=action, priority=order)


def make(size: int) -> Decide:
    deny, allow = PolicyAction.DENY, PolicyAction.ALLOW
    rules = [_rule(f"d{n}", "iban", PolicyOperator.EQ, f"NL{n}", deny, 2) for n in range(OURS - 1)]
    rules += [_rule(f"o{n}", "other_amount", PolicyOperator.EQ, n, deny, 2) for n in range(size - OURS)]
    rules += [_rule("a", "amount", PolicyOperator.LTE, 1000, allow, 1)]
    evaluator = PolicyEvaluator([PolicyDocument(name="p", version="1.0", rules=rules)])

    def one(args: Mapping[str, Any]) -> bool:
        return bool(evaluator.evaluate({"tool_name": "pay", **args}).allowed)

    return one


if __name__ == "__main__":
    measure(make)
