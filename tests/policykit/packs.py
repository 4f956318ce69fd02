"""A small pack without Python: tools, a policy, and helpers to load them."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

from remit.core.policy import PolicySet
from remit.errors import PolicyError, Problem
from remit.policykit.casefiles import Case, read_cases
from remit.policykit.toolset import Toolset, read_tools

TOOLS = dedent(
    """\
    tools:
      refund:
        description: Pays a customer back.
        effect: commit
        repeat: keyed
        arguments:
          order: {type: string}
          amount: {type: string, format: decimal}
          kind: {enum: [goods, shipping]}
          memo: {type: string}
          note: {anyOf: [{type: string}, {type: "null"}]}
          either: {anyOf: [{type: string}, {type: integer}]}
          when: {type: string, format: date-time}
          customer:
            type: object
            properties: {country: {type: string, enum: [DE, NL]}, age: {type: integer}, vip: {type: boolean}}
            required: [country, age]
          lines:
            type: array
            items: {type: object, properties: {kind: {enum: [a, b]}, count: {type: integer}}, required: [kind, count]}
          tags: {type: array, items: {enum: [new, used]}}
        optional: [memo, note, either, when, customer, lines, tags]
        facts:
          known: {type: object, properties: {customer: {type: boolean}}, required: [customer]}
      look:
        effect: read
        labels: {}
        arguments:
          order: {type: string}
    """
)

POLICY = dedent(
    """\
    policy: refunds
    rules:
      - id: look
        tools: [look]
        allow: tool.effect == "read"
      - id: small
        tools: [refund]
        allow: args.amount <= 50 && facts.known.customer
      - id: large
        tools: [refund]
        escalate: args.amount > 50
        to: support
        because: "{{args.amount}} is more than 50"
      - id: shipping
        tools: [refund]
        deny: 'args.kind == "shipping" && !(spent.calls < 3)'
    """
)

QUEUES = "single_operator: true\nqueues:\n  support: {}\n"

CASES = dedent(
    """\
    given:
      tool: refund
      args: {order: A1, amount: 12.50, kind: goods}
      facts: {known: {customer: true}}
    cases:
      - name: a small refund is paid
        expect: {outcome: allow, rules: small}
      - name: looking is allowed
        given: {tool: look, args: {order: A1}}
        expect: {outcome: allow, rules: [look]}
      - name: a large refund is asked about
        given: {args: {amount: 50.01}}
        expect: {outcome: escalate, rules: [refunds/large], queue: support, reason: 50.01 is more}
      - name: and paid when approved
        given: {args: {amount: 50.01}, approval: true}
        expect: {outcome: allow, rules: [large]}
    """
)


def tools(text: str = TOOLS) -> Toolset:
    return read_tools("tools.yaml", text)


def load(policy: str = POLICY, queues: str = QUEUES, **more: str) -> PolicySet:
    return tools().load({"refunds.yaml": policy, "queues.yaml": queues, **more})


def cases(text: str = CASES) -> list[Case]:
    return read_cases({"refunds.cases.yaml": text})


def problems(action: Any) -> list[Problem]:
    """Returns what an action is refused for."""
    try:
        action()
    except PolicyError as error:
        return list(error.problems)
    return []


def rule(effect: str, condition: str) -> str:
    """Returns a policy of one rule for `refund`."""
    return f"policy: p\nrules:\n  - id: a\n    tools: [refund]\n    {effect}: |\n      {condition}\n"
