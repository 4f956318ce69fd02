"""Cedar, through cedarpy, with the policies and entities parsed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cedarpy import Entities, PolicySet, is_authorized
from scenario import OURS, Decide, measure


def make(size: int) -> Decide:
    texts = ['permit(principal, action == Action::"pay", resource) when {context.amount <= 1000 && context.known};']
    texts += [
        f'forbid(principal, action == Action::"pay", resource) when {{context.amount > {2000 + n} && '
        f'context.iban == "NL{n}"}};'
        for n in range(OURS - 1)
    ]
    texts += [
        f'forbid(principal, action == Action::"other", resource) when {{context.amount == {n}}};'
        for n in range(size - OURS)
    ]
    policies, entities = PolicySet.from_str("\n".join(texts)), Entities.from_json_str("[]")
    request = {"principal": 'User::"ann"', "action": 'Action::"pay"', "resource": 'Tool::"pay"'}

    def one(args: Mapping[str, Any]) -> bool:
        asked = {**request, "context": {**args, "known": True}}
        return bool(is_authorized(asked, policies, entities).allowed)

    return one


if __name__ == "__main__":
    measure(make)
