"""Policy files: they load whole or not at all, and every problem is told with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from remit.core.canonical import digest, digest_bytes
from remit.core.entries import Outcome
from remit.core.peoplefiles import (
    DelegateText,
    GrantText,
    HoursText,
    KeyText,
    QueuesText,
    QueueText,
    ReviewersText,
    ReviewerText,
)
from remit.core.policy import PolicySet, Queue, load_policies
from remit.core.policyfiles import PolicyText, RuleText, json_schema, schema_text
from remit.errors import PolicyError, Problem

DOCS = Path(__file__).parent.parent.parent / "docs" / "reference"


@dataclass(frozen=True)
class Tool:
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def arguments(*required: str, **types: str) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in types.items()}
    return {"type": "object", "properties": properties, "required": list(required)}


PAY = Tool("pay", arguments("amount", "currency", amount="number", currency="string", iban="string"))
PAY_MANY = Tool("pay_many", arguments("amount", amount="number"))
REFUND = Tool("refund", arguments("order", order="string"))
TOOLS = (PAY, PAY_MANY, REFUND)


def roots(tool: Tool) -> dict[str, Mapping[str, Any]]:
    return {"args": tool.arguments, "facts": arguments("known", known="boolean")}


PAYMENTS = dedent(
    """\
    policy: payments
    description: What the payables agent may pay on its own.
    rules:
      - id: known-suppliers
        tools: [pay]
        allow: args.amount <= 1000 && facts.known
      - id: large
        tools: [pay]
        escalate: args.amount > 1000
        to: finance
        because: "{{args.amount}} {{args.currency}} is above the limit."
      - id: only-known
        tools: ["pay*"]
        require: facts.known
        mode: shadow
    """
)
QUEUES = "queues:\n  finance: {description: The payables team., ttl: 2h}\n  legal: {}\nsingle_operator: true\n"


def load(policy: str = PAYMENTS, queues: str = QUEUES, **more: str) -> PolicySet:
    files = {"payments.yaml": policy, "queues.yaml": queues}
    return load_policies(files | {name + ".yaml": text for name, text in more.items()}, TOOLS, roots)


def problems(policy: str = PAYMENTS, queues: str = QUEUES, **more: str) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as raised:
        load(policy, queues, **more)
    assert str(raised.value) == "\n".join(str(problem) for problem in raised.value.problems)
    return raised.value.problems


def rule(*lines: str, head: str = "  - id: a\n    tools: [pay]\n") -> str:
    return "policy: p\nrules:\n" + head + "".join(f"    {line}\n" for line in lines)


def only(*found: Problem) -> tuple[str, int, int]:
    (problem,) = found
    return problem.message, problem.line, problem.column


# --- what loads ----------------------------------------------------------------------------------------


def test_rules_are_found_by_tool_and_sorted_by_policy_and_id() -> None:
    more = "policy: a-first\nrules:\n  - {id: z, tools: ['*'], deny: 'false'}\n"
    more += "  - {id: b, tools: [pay], allow: 'true'}\n"
    policies = load(more=more)
    names = [rule.name for rule in policies.rules_for("pay")]
    assert names == ["a-first/b", "a-first/z", "payments/known-suppliers", "payments/large"]
    assert [rule.name for rule in policies.rules_for("refund")] == ["a-first/z"]
    assert policies.rules_for("no-such-tool") == ()


def test_shadow_rules_are_apart_from_the_enforced_ones() -> None:
    policies = load()
    (shadow,) = policies.shadow_for("pay_many")
    assert (shadow.name, shadow.effect, shadow.negated) == ("payments/only-known", Outcome.DENY, True)
    assert policies.rules_for("pay_many") == ()
    assert policies.shadow_for("refund") == ()


def test_queues_have_their_time_to_live_in_seconds() -> None:
    policies = load()
    assert policies.queues == {
        "finance": Queue("finance", 7200, "The payables team."),
        "legal": Queue("legal", 72 * 3600),
    }
    assert policies.single_operator
    assert not load(rule("allow: true"), QUEUES.replace("true", "false")).single_operator


@pytest.mark.parametrize(("ttl", "seconds"), [("90s", 90), ("30m", 1800), ("72h", 259_200), ("7d", 604_800)])
def test_a_duration_is_a_number_and_a_unit(ttl: str, seconds: int) -> None:
    assert load(queues=f"queues:\n  finance: {{ttl: {ttl}}}\nsingle_operator: true\n").queues["finance"].ttl == seconds


@pytest.mark.parametrize("written", ["true", "True", "'true'", "|\n      true"])
def test_a_condition_may_be_a_truth_value(written: str) -> None:
    (found,) = load(rule(f"allow: {written}")).rules_for("pay")
    assert found.condition.evaluate({}) is True


def test_cases_beside_a_policy_are_left_alone() -> None:
    files = {"payments.yaml": PAYMENTS, "queues.yaml": QUEUES, "payments.cases.yaml": "anything: [at all"}
    policies = load_policies(files, TOOLS, roots)
    assert set(policies.files) == set(policies.texts) == {"payments.yaml", "queues.yaml"}
    assert policies.digest == load().digest


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem() -> None:
    policies = load("\ufeff" + PAYMENTS.replace("\n", "\r\n"))
    assert [rule.name for rule in policies.rules_for("pay")] == ["payments/known-suppliers", "payments/large"]


def test_only_a_star_is_a_glob() -> None:
    tools = [Tool("a.b"), Tool("a-b"), Tool("axb")]
    text = "policy: p\nrules:\n  - {id: a, tools: ['a?b', 'a[x]b', 'a.b'], allow: true}\n"
    with pytest.raises(PolicyError) as raised:
        load_policies({"p.yaml": text}, tools, lambda tool: {})
    assert [problem.message for problem in raised.value.problems] == [
        "there is no tool `a?b`",
        "there is no tool `a[x]b`",
    ]


def test_a_name_without_a_star_means_exactly_that_tool() -> None:
    text = "policy: p\nrules:\n  - {id: a, tools: [pay], allow: true}\n"
    assert load(text).rules_for("pay_many") == ()


# --- digests -------------------------------------------------------------------------------------------


def test_the_digest_is_over_names_and_exact_texts() -> None:
    policies = load()
    files = {"payments.yaml": digest_bytes(PAYMENTS.encode()), "queues.yaml": digest_bytes(QUEUES.encode())}
    assert dict(policies.files) == files
    assert policies.digest == digest(files)
    assert dict(policies.texts) == {"payments.yaml": PAYMENTS, "queues.yaml": QUEUES}


@pytest.mark.parametrize(
    "changed",
    [
        load(PAYMENTS + "\n"),
        load(PAYMENTS + "# \u00e4\n"),
        load(PAYMENTS.replace("\n", "\r\n")),
        load("\ufeff" + PAYMENTS),
        load(queues=QUEUES + " "),
        load_policies({"other.yaml": PAYMENTS, "queues.yaml": QUEUES}, TOOLS, roots),
    ],
)
def test_any_byte_changes_the_digest(changed: PolicySet) -> None:
    assert changed.digest != load().digest


def test_the_order_of_files_does_not_change_the_digest() -> None:
    backwards = load_policies({"queues.yaml": QUEUES, "payments.yaml": PAYMENTS}, TOOLS, roots)
    assert backwards.digest == load().digest


BASE = "    tools: [pay, pay_many]\n    escalate: args.amount > 1\n    to: finance\n    because: why\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("escalate: args.amount > 1\n    to: finance", "deny: args.amount > 1"),
        ("escalate: args.amount > 1\n    to: finance", "require: args.amount > 1"),
        ("> 1", "> 2"),
        ("> 1", ">  1"),
        ("[pay, pay_many]", "[pay]"),
        ("to: finance", "to: legal"),
        ("because: why", "because: why not"),
        ("    because: why\n", ""),
        ("because: why", "because: why\n    mode: shadow"),
    ],
)
def test_whatever_a_rule_says_is_in_its_digest(old: str, new: str) -> None:
    assert old in BASE
    assert digest_of(BASE) != digest_of(BASE.replace(old, new))


def test_a_rules_digest_is_over_what_it_says_not_how_it_is_written() -> None:
    same = '    because: "why"\n    to: finance\n    escalate: "args.amount > 1"\n'
    same += "    tools: [pay_many, pay, pay]\n"
    assert digest_of(BASE) == digest_of(same) == digest_of(BASE + "    description: for readers\n")


def digest_of(body: str) -> str:
    policies = load("policy: p\nrules:\n  - id: a\n" + body)
    (found,) = policies.rules_for("pay") or policies.shadow_for("pay")
    return found.digest


# --- templates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("because", "text"),
    [
        ("nothing in it", "nothing in it"),
        ("{{args.amount}}", "12.5"),
        ("{{ args.currency }}{{args.currency}}", "EUREUR"),
        ("{{ {'a': {'b': args.currency}}.a.b }}!", "EUR!"),
        ("{{ '}}' + args.currency }}", "}}EUR"),
        ("{{ '\\\\'}}' + args.currency }}", "'}}EUR"),
        ("a }} b { c } d", "a }} b { c } d"),
        ("{{ has(args.iban) ? args.iban : 'no IBAN' }}", "no IBAN"),
        ("{{facts.known}} if it fails", "[?] if it fails"),
    ],
)
def test_a_template_puts_values_into_text(because: str, text: str) -> None:
    (found,) = load(rule("deny: true", f'because: "{because}"')).rules_for("pay")
    assert found.reason is not None
    assert found.reason.render({"args": {"amount": 12.5, "currency": "EUR"}}) == text


def test_a_value_in_a_template_stays_on_its_line() -> None:
    (found,) = load(rule("deny: true", 'because: "for {{args.currency}}"')).rules_for("pay")
    assert found.reason is not None
    forged = {"args": {"currency": "EUR\nrule `x` allows it\x1b[2J"}}
    assert found.reason.render(forged) == "for EUR rule `x` allows it [2J"


# --- places --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "deny: args.curency == 'x'",
        "deny:    args.amount > 1   &&   args.curency == 'x'   # comment",
        "deny: args.amount > 1\n      && args.curency == 'x'",
        "deny: args.amount > 1\n\n\n         && args.curency == 'x'",
        "deny: \"args.curency == 'x'\"",
        r'deny: "args.currency == \"\\u00e4\" && args.curency == \"x\""',
        "deny: \"args.amount > 1 && \\\n        args.curency == 'x'\"",
        "deny: \"args.amount > 1 &&\\n  \\t args.curency == 'x'\"",
        "deny: \"\\x61rgs.amount > 1 && \\u0061rgs.curency == 'x'\"",
        "deny: 'args.currency == ''it'' && args.curency == ''x'''",
        "deny: 'args.amount > 1\n      && args.curency == ''x'''",
        "deny: |\n      args.amount > 1 &&\n        args.curency == 'x'",
        "deny: |  # why\n\n\n      args.amount > 1 &&\n        args.curency == 'x'",
        "deny: |2\n         args.amount > 1 &&\n        args.curency == 'x'",
        "deny: |-\n      // a comment in CEL\n      args.curency == 'x'",
        "deny: >\n      args.amount > 1 &&\n      args.curency == 'x'",
        "deny: >-\n      args.amount > 1 &&\n\n         facts.known &&\n      args.curency == 'x'",
        'deny: facts.known\n    because: "amount {{args.amount}}: {{args.curency}}"',
        "deny: facts.known\n    because: |\n      amount:\n      - {{ args.amount }} {{  args.curency }}",
        "deny: facts.known\n    because: >\n      amount\n      {{\n      args.curency }}",
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_problem_in_a_condition_is_at_its_character_in_the_file(written: str, line_end: str) -> None:
    text = rule(written).replace("\n", line_end)
    (problem,) = problems(text)
    assert problem.message.startswith("no field `curency`")
    index = text.index("curency") - 1  # CEL names the dot
    line_start = text.rfind("\n", 0, index) + 1
    assert (problem.line, problem.column) == (text.count("\n", 0, index) + 1, index - line_start + 1)
    assert problem.snippet == text[line_start:].split(line_end)[0]


def test_a_condition_that_ends_too_early_is_told_at_what_nothing_comes_after() -> None:
    (problem,) = problems(rule("deny: |", "  facts.known &&", "deny2: x").replace("    deny2: x\n", ""))
    assert (problem.line, problem.column) == (6, 19)


def test_a_problem_names_the_tools_it_is_one_for() -> None:
    (problem,) = problems(rule("allow: args.currency == 'EUR'", head="  - id: a\n    tools: ['*']\n"))
    assert problem.message == "no field `currency` in `args` (for `pay_many`, `refund`)"


def test_a_problem_of_many_tools_does_not_list_them_all() -> None:
    tools = [Tool(f"t{n}", arguments("amount", amount="number")) for n in range(9)]
    text = "policy: p\nrules:\n  - {id: a, tools: ['t*'], allow: args.amuont > 1}\n"
    with pytest.raises(PolicyError, match=r"no field `amuont` in `args` \(for each of its tools\)"):
        load_policies({"p.yaml": text}, tools, roots)
    with pytest.raises(PolicyError, match=r"\(for `t0`, `t1`, `t2` and 6 more\)"):
        load_policies({"p.yaml": text}, [*tools, Tool("tx", arguments("amuont", amuont="number"))], roots)


def test_a_snippet_keeps_columns_and_can_be_printed() -> None:
    (problem,) = problems(rule("allow: args.amuont > 1 # \U0001f600\u202e\ttab"))
    assert problem.snippet == "    allow: args.amuont > 1 # \U0001f600\ufffd tab"
    (problem,) = problems(rule("allow: args.amuont > 1 #" + "x" * 10_000))
    assert len(problem.snippet) < 200
    (problem,) = problems(rule("allow: facts.known &&" + " " * 300 + "args.amuont > 1"))
    assert (problem.snippet, problem.column) == ("", 330)


# --- what doesn't load ---------------------------------------------------------------------------------


def test_without_any_policy_nothing_loads() -> None:
    for files in ({}, {"queues.yaml": QUEUES}, {"payments.cases.yaml": "cases: []"}):
        with pytest.raises(PolicyError, match="there is no policy"):
            load_policies(files, TOOLS, roots)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ("the file is empty", 1, 1)),
        ("# only a comment\n", ("the file is empty", 1, 1)),
        ("---\n", ("this has no value", 1, 1)),
        ("policy: p\n", ("`rules` is missing", 1, 1)),
        ("policy: p\nrules:\n", ("`rules` has no value", 2, 1)),
        ("policy: p\nrules: []\n", ("`rules` is empty", 2, 8)),
        ("policy: p\nrules: {}\n", ("`rules` must be a list, not keys with values", 2, 8)),
        ("- a\n", ("the file must be keys with values, not a list", 1, 1)),
        ("just text\n", ("the file must be keys with values, not `just text`", 1, 1)),
        ("42\n", ("the file must be keys with values, not the number `42`", 1, 1)),
        ("policy: p\nrules: [a]\n", ("item 1 of `rules` must be keys with values, not `a`", 2, 9)),
        ("rules:\n  - {id: a, tools: [pay], allow: true}\n", ("`policy` is missing", 1, 1)),
        (rule("allow: true").replace("policy: p", "policy: a b"), ("`policy` can't be `a b`", 1, 9)),
        (rule("allow: true").replace("policy: p", "policy: 7"), ("`policy` must be text, not the number `7`", 1, 9)),
        (rule("allow: true", "mod: shadow"), ("unknown key `mod`", 6, 5)),
        (rule("allow: true", "mode: shadw"), ("`mode` can't be `shadw`", 6, 11)),
        (rule("allow: true", "description: [x]"), ("`description` must be text, not a list", 6, 18)),
        (rule("allow: 1"), ("`allow` must be text, not the number `1`", 5, 12)),
        (rule("allow: {a: 1}"), ("`allow` must be text, not keys with values", 5, 12)),
        (rule("allow:"), ("`allow` has no value", 5, 5)),
        (rule("allow: ~"), ("`allow` has no value", 5, 5)),
        (rule("allow: ''"), ("`allow` is empty", 5, 12)),
        (rule("allow: true", "because: ''"), ("`because` is empty", 6, 14)),
        (rule(), ("rule `a` has no effect", 3, 5)),
        (rule("allow: true", "deny: false"), ("rule `a` has `allow` and `deny`", 6, 5)),
        (rule("escalate: true"), ("rule `a` escalates to no queue", 5, 5)),
        (rule("escalate: true", "to: finnance"), ("there is no queue `finnance`", 6, 9)),
        (rule("deny: true", "to: finance"), ("rule `a` has `to`, and does not escalate", 6, 5)),
        (rule("allow: true", "allow: false"), ("`allow` is here twice", 6, 5)),
        (rule("allow: true", "because: 'a {{args.amount'"), ("`{{` without its `}}`", 6, 17)),
        (rule("allow: true", "because: &x text"), ("anchors (`&x`) have no place in a policy file", 6, 14)),
        (rule("allow: true", "because: *x"), None),
        (rule("allow: !facts.known"), ("tags (`!facts.known`) have no place in a policy file", 5, 12)),
        (rule("allow: !!str true"), ("tags (`!!str`) have no place in a policy file", 5, 12)),
        (rule("allow: true", "because: {{args.x}} y"), ("a key must be a word", 6, 15)),
        (rule("allow: true", head="  - tools: [pay]\n"), ("`id` is missing", 3, 5)),
        (rule("allow: true", head="  - id: a\n"), ("`tools` is missing", 3, 5)),
        (rule("allow: true", head="  - id: a\n    tools: pay\n"), ("`tools` must be a list, not `pay`", 4, 12)),
        (rule("allow: true", head="  - id: a\n    tools: []\n"), ("`tools` is empty", 4, 12)),
        (rule("allow: true", head="  - id: a\n    tools: [1]\n"), ("item 1 of `tools` must be text, not the number `1`", 4, 13)),
        (rule("allow: true", head="  - id: a\n    tools: [pay, refnd]\n"), ("there is no tool `refnd`", 4, 18)),
        (rule("allow: true", head="  - id: a\n    tools: ['x*']\n"), ("no tool is named like `x*`", 4, 13)),
        ("policy: p\n---\npolicy: q\n", ("a second document", 2, 1)),
        ("%YAML 1.1\n---\n" + rule("allow: true"), ("directives (`%`) have no place in a policy file", 1, 1)),
        ("policy: p\nrules:\n\t- id: a\n", ("not YAML: while scanning for the next token: found character '\\t' that cannot start any token", 3, 1)),
        (rule("allow: a ? b : c"), ("not YAML: mapping values are not allowed here", 5, 18)),
        ("policy: \x1b[2J", ("the character U+001B can't stand in a policy file", 1, 9)),
        ("policy: p\ndescription: caf\udce9\n", ("not UTF-8 text", 2, 17)),
        ("[" * 100_000, ("more than 32 lists and mappings inside each other", 1, 33)),
        ("- " * 1_000, ("more than 32 lists and mappings inside each other", 1, 65)),
        ("#" * 1_000_001, ("1,000,001 characters are more than a policy file may have (1,000,000)", 1, 1)),
    ],
)  # fmt: skip
def test_a_bad_policy_file_is_refused_with_its_place(text: str, found: tuple[str, int, int] | None) -> None:
    told = problems(text, more=rule("allow: true").replace("policy: p", "policy: other"))
    assert all(problem.file == "payments.yaml" for problem in told)
    if found is not None:
        assert found in [(problem.message, problem.line, problem.column) for problem in told]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ("the file is empty", 1, 1)),
        ("queues:\n  finance:\n", ("`finance` has no value", 2, 3)),
        ("queues: [finance]\n", ("`queues` must be keys with values, not a list", 1, 9)),
        ("queues:\n  finance: 3h\n", ("`finance` must be keys with values, not `3h`", 2, 12)),
        ("queues:\n  finance: {ttl: 3}\n", ("`ttl` must be text, not the number `3`", 2, 18)),
        ("queues:\n  finance: {ttl: 3y}\n", ("`ttl` can't be `3y`", 2, 18)),
        ("queues:\n  finance: {ttl: 0h}\n", ("`ttl` can't be `0h`", 2, 18)),
        ("queues:\n  finance: {ttl: 100000d}\n", ("`ttl` can't be `100000d`", 2, 18)),
        ("queues:\n  finance: {on_expiry: allow}\n", ("`on_expiry` can't be `allow`", 2, 24)),
        ("queues:\n  finance: {tll: 3h}\n", ("unknown key `tll`", 2, 13)),
        ("queues:\n  in doubt: {}\n", ("`in doubt` can't be `in doubt`", 2, 3)),
        ("queue:\n  finance: {}\n", ("unknown key `queue`", 1, 1)),
        ("single_operator: yes\nqueues: {finance: {}}", ("`single_operator` must be `true` or `false`, not `yes`", 1, 18)),
        ("queues:\n  finance: {}\n  finance: {}\n", ("`finance` is here twice", 3, 3)),
    ],
)  # fmt: skip
def test_a_bad_queues_file_is_refused_with_its_place(text: str, found: tuple[str, int, int]) -> None:
    told = [problem for problem in problems(queues=text) if problem.file == "queues.yaml"]
    assert (told[0].message, told[0].line, told[0].column) == found


def test_an_alias_bomb_is_refused_and_does_not_grow() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)}, ' * 9}]\n" for n in range(20))
    assert any("aliases (`*a`)" in problem.message for problem in problems(bomb))


def test_all_problems_of_all_files_are_told_at_once_causes_first() -> None:
    told = problems(
        rule("allow: args.amuont > 1", "mod: shadow")
        + "  - {id: b, tools: [pay, nope], deny: args.curency == 'x'}\n"
        + "  - {id: b, tools: [pay], deny: true}\n",
        "queues:\n  finance: {ttl: 3}\n",
        another="policy: p\nrules: []\n",
        broken="policy: [",
        reviewers="",
    )
    assert [(problem.file, problem.line, problem.message.split(" (")[0]) for problem in told] == [
        ("reviewers.yaml", 1, "the file is empty"),
        ("queues.yaml", 2, "`ttl` must be text, not the number `3`"),
        ("another.yaml", 2, "`rules` is empty"),
        ("broken.yaml", 1, "not YAML: while parsing a flow node: expected the node content, but found '<stream end>'"),
        ("payments.yaml", 1, "policy `p` is in another.yaml already"),
        ("payments.yaml", 6, "unknown key `mod`"),
        ("payments.yaml", 7, "there is no tool `nope`"),
        ("payments.yaml", 7, "no field `curency` in `args`"),
        ("payments.yaml", 8, "rule `b` is here twice"),
    ]  # fmt: skip


def test_a_policy_is_in_one_file() -> None:
    again = problems(more=rule("allow: true").replace("policy: p", "policy: payments"))
    assert only(*again) == ("policy `payments` is in more.yaml already", 1, 9)


def test_the_same_rule_name_may_be_in_two_policies() -> None:
    other = PAYMENTS.replace("policy: payments", "policy: other")
    assert len(load(other=other).rules_for("pay")) == 4


def test_the_queues_are_in_one_file() -> None:
    with pytest.raises(PolicyError, match=r"queues\.yaml has the queues already"):
        load_policies({"payments.yaml": PAYMENTS, "queues.yaml": QUEUES, "queues.yml": QUEUES}, TOOLS, roots)


@pytest.mark.parametrize("name", ["README.md", "payments.yaml.bak", "payments.json", "payments"])
def test_a_file_that_is_no_policy_is_refused_not_skipped(name: str) -> None:
    with pytest.raises(PolicyError, match="not a policy file"):
        load_policies({"payments.yaml": PAYMENTS, "queues.yaml": QUEUES, name: ""}, TOOLS, roots)


@pytest.mark.parametrize("effect", ["allow", "deny", "require"])
def test_a_condition_that_does_not_fit_a_tool_is_refused(effect: str) -> None:
    for condition in (
        'args.amount > "100"',
        "args.amount",
        "args.iban == 'x'",
        "args.amount >",
        "nobody.known",
    ):
        (problem, *_) = problems(rule(f"{effect}: {condition}"))
        assert (problem.line, problem.file) == (5, "payments.yaml")
        assert problem.message.endswith("(for `pay`)")


# --- words, as they are read ---------------------------------------------------------------------------


GOLDEN = {
    rule("alow: args.amount > 1"): """
        payments.yaml:5:5: unknown key `alow`
                alow: args.amount > 1
                ^
            did you mean `allow`?
        """,
    rule("allow: args.amuont <= 1000"): """
        payments.yaml:5:16: no field `amuont` in `args` (for `pay`)
                allow: args.amuont <= 1000
                           ^
            did you mean `amount`?
        """,
    rule("escalate: true", "to: finnance"): """
        payments.yaml:6:9: there is no queue `finnance`
                to: finnance
                    ^
            did you mean `finance`?
        """,
    rule("deny: !facts.known"): """
        payments.yaml:5:11: tags (`!facts.known`) have no place in a policy file
                deny: !facts.known
                      ^
            text that starts with `!` goes in quotes
        """,
    rule("allow: true", head="  - id: a\n    tools: [pya]\n"): """
        payments.yaml:4:13: there is no tool `pya`
                tools: [pya]
                        ^
            did you mean `pay`?
        """,
    rule("deny: true", "mode: off"): """
        payments.yaml:6:11: `mode` can't be `off`
                mode: off
                      ^
            say `enforce` or `shadow`
        """,
    rule('deny: "EUR" == args.currency'): """
        payments.yaml:5:17: not YAML: while parsing a block mapping: expected <block end>, but found '<scalar>'
                deny: "EUR" == args.currency
                            ^
            put the whole value in quotes, or on lines of its own below `|`
        """,
}


@pytest.mark.parametrize(("text", "words"), GOLDEN.items())
def test_the_words_of_a_problem_say_where_what_and_what_to_do(text: str, words: str) -> None:
    (problem,) = problems(text)
    assert str(problem) == dedent(words).strip()


# --- anything at all -----------------------------------------------------------------------------------


def told_or_loaded(text: str) -> None:
    try:
        load_policies({"p.yaml": text, "queues.yaml": QUEUES}, TOOLS, roots)
    except PolicyError as error:
        lines = len(re.findall(r"\r\n|\n|\r", text)) + 1
        assert error.problems
        for problem in error.problems:
            assert problem.file == "p.yaml"
            assert 1 <= problem.line <= lines
            assert problem.column >= 1


@given(st.text(max_size=60))
def test_any_text_at_all_loads_or_is_refused_with_a_place(text: str) -> None:
    told_or_loaded(text)


PIECES = st.sampled_from(
    ["\n", "  ", "- ", ": ", "'", '"', "{", "}", "{{", "}}", "[", "]", "|", ">", "#", "&a ", "*a", "!", "\t", "\\", "%",
     "?", "~", "\u2028", "\x85", "\ud800", "\x00", "args.", "1", "true", "---\n", "...", "<<: ", "\\U99999999", ","]
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, len(PAYMENTS)), st.integers(0, 12), PIECES), min_size=1, max_size=4))
def test_any_slip_in_a_good_file_loads_or_is_refused_with_a_place(slips: list[tuple[int, int, str]]) -> None:
    text = PAYMENTS
    for start, removed, added in slips:
        text = text[:start] + added + text[start + removed :]
    told_or_loaded(text)


# --- reference -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["policy", "queues", "reviewers"])
def test_the_json_schemas_in_the_reference_are_current(kind: Any) -> None:
    assert (DOCS / f"{kind}.schema.json").read_text() == schema_text(kind), "run `make docs`"


def test_the_json_schemas_say_what_the_reader_says() -> None:
    policy, queues = (jsonschema.Draft202012Validator(json_schema(kind)) for kind in ("policy", "queues"))
    read = YAML(typ="safe", pure=True).load
    assert policy.is_valid(read(PAYMENTS))
    assert queues.is_valid(read(QUEUES))
    for bad in (
        rule(),
        rule("escalate: true"),
        rule("deny: true", "to: finance"),
        rule("allow: true", "deny: true"),
        rule("allow: 1"),
        rule("allow: true", "mod: shadow"),
        "policy: p\nrules: []",
    ):
        assert not policy.is_valid(read(bad)), bad
    for bad in (
        "queues: {finance: {ttl: 3}}",
        "queues: {a b: {}}",
        "queue: {}",
        "queues: {a: {on_expiry: allow}}",
    ):
        assert not queues.is_valid(read(bad)), bad


def test_the_reference_tells_of_every_key() -> None:
    text = (DOCS / "policy-files.md").read_text()
    models = (
        PolicyText,
        RuleText,
        QueuesText,
        QueueText,
        HoursText,
        ReviewersText,
        ReviewerText,
        KeyText,
        DelegateText,
        GrantText,
    )
    for model in models:
        for name in (about.alias or name for name, about in model.model_fields.items()):
            assert f"`{name}`" in text, name


def test_the_examples_of_the_reference_load() -> None:
    text = (DOCS / "policy-files.md").read_text()
    blocks = re.findall(r"```yaml\n# policies/(\S+)\n(.*?)```", text, flags=re.DOTALL)
    assert {name for name, _ in blocks} == {
        "payments.yaml",
        "queues.yaml",
        "reviewers.yaml",
        "calendars.yaml",
        "counters.yaml",
        "folders.yaml",
    }
    types = {
        "facts": arguments("supplier_known", supplier_known="boolean"),
        "now": {"type": "string", "format": "date-time"},
        "provenance": {"type": "object"},
    }
    policies = load_policies(dict(blocks), TOOLS, lambda tool: {"args": tool.arguments, **types})
    assert len(policies.rules_for("pay")) >= 3
    assert json.dumps(dict(policies.files))
