"""A purpose only takes away, says so with places, and lets be seen what it names and nothing else."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit import tool
from remit.core.facts import root_types
from remit.core.labels import leaves
from remit.core.minimising import WITHHELD, minimised
from remit.core.policy import PolicySet, load_policies
from remit.core.purposes import json_schema
from remit.core.yamltext import read_yaml
from remit.errors import PolicyError

MAIN = "policy: main\nrules:\n  - {id: all, tools: ['*'], allow: 'true'}\n"
PURPOSES = """\
purposes:
  settle invoices:
    description: Pay what is due.
    principals: ["*@acme.example"]
    tools: [invoice, pay]
    labels: ["in:finance"]
    columns:
      - {tools: [invoice], only: [/number]}
"""


@tool(effect="read", repeat="idempotent", labels={"": ["private"], "/number": ["in:finance", "untrusted"]})
def invoice(id: str) -> dict[str, str]:
    return {}


@tool(effect="read", repeat="idempotent", labels={"": ["private"]})
def diary(day: str) -> str:
    return ""


@tool(effect="commit", labels={})
def pay(amount: int) -> None: ...


TOOLS = [invoice.spec, diary.spec, pay.spec]


def load(purposes: str) -> PolicySet:
    return load_policies(
        {"main.yaml": MAIN, "purposes.yaml": purposes}, TOOLS, lambda spec: root_types(spec, {})
    )  # fmt: skip


def problems(purposes: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load(purposes)
    return [f"{one.line}:{one.column} {one.message}" for one in caught.value.problems]


def purposes_of(policies: PolicySet, name: str) -> list[str]:
    return [rule.id for rule in policies.rules_for(name) if rule.policy == "purpose"]


def test_a_purpose_is_rules_on_what_it_does_not_extend_to() -> None:
    policies = load(PURPOSES)
    assert purposes_of(policies, "diary") == ["any.unknown", "settle-invoices"]
    assert purposes_of(policies, "pay") == purposes_of(policies, "invoice") == ["any.unknown"]
    assert "purposes.yaml" in policies.texts


def test_data_beyond_the_purpose_is_denied_unless_its_columns_leave_it_out() -> None:
    wider = PURPOSES.replace("[invoice, pay]", "['*']")
    assert purposes_of(load(wider), "diary") == ["any.unknown", "settle-invoices.data"]
    assert purposes_of(load(wider), "invoice") == ["any.unknown"], "of an invoice, only the number is seen"
    assert "settle-invoices.data" in purposes_of(load(wider.replace("/number", "/lines")), "invoice")
    assert "settle-invoices.data" in purposes_of(load(wider.replace("/number", "/*")), "invoice")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[invoice, pay]", "[invoise, pay]", "5:13 there is no tool `invoise`"),
        ("tools: [invoice],", "tools: ['x*'],", "8:18 there is no tool `x*`"),
        ("    labels", "    lables", "6:5 unknown key `lables`"),
        ("    description: Pay what is due.\n", "", "3:5 `description` is missing"),
        ("settle invoices:", "settle/invoices:", "2:3 `settle/invoices` can't be a purpose"),
        ("[/number]", "[number]", "8:35 "),
        ("purposes:\n", "required: maybe\npurposes:\n", "1:11 `required` must be `true` or `false`, not `maybe`"),
    ],
)
def test_a_mistake_is_told_with_its_place(old: str, new: str, told: str) -> None:
    found = problems(PURPOSES.replace(old, new))
    assert any(one.startswith(told) for one in found), found


def test_two_purposes_that_one_rule_would_mean_are_refused() -> None:
    twice = PURPOSES + PURPOSES.replace("purposes:\n", "").replace("settle invoices", "settle-invoices")
    assert any("are one to a rule" in one for one in problems(twice))


def test_a_policy_of_the_name_that_purposes_have_is_refused() -> None:
    files = {"main.yaml": MAIN.replace("policy: main", "policy: purpose"), "purposes.yaml": PURPOSES}
    with pytest.raises(PolicyError, match=r"policy `purpose` is in main.yaml already"):
        load_policies(files, TOOLS, lambda spec: root_types(spec, {}))


def test_purposes_alone_are_no_policy() -> None:
    with pytest.raises(PolicyError, match="there is no policy"):
        load_policies({"purposes.yaml": PURPOSES}, TOOLS, lambda spec: root_types(spec, {}))


def test_the_schema_takes_what_loads() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    _, value = read_yaml("purposes.yaml", PURPOSES)
    jsonschema.validate(value, json_schema())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
POINTERS = st.lists(
    st.lists(st.sampled_from(["a", "b", "0", "1", "*"]), min_size=1, max_size=3).map(lambda way: "/" + "/".join(way)),
    min_size=1, max_size=3,
)  # fmt: skip


@given(JSON, POINTERS)
def test_nothing_is_seen_but_what_a_pointer_leads_to(value: Any, pointers: list[str]) -> None:
    left, blanked, taken = minimised(value, pointers)

    def seen(steps: tuple[str, ...]) -> bool:
        ways = [pointer.split("/")[1:] for pointer in pointers]
        return any(
            len(way) <= len(steps) and all(a in ("*", b) for a, b in zip(way, steps, strict=False)) for way in ways
        )

    kept = [leaf for steps, leaf in leaves(value, 1000) if seen(steps)]
    shown = [leaf for steps, leaf in leaves(blanked, 1000) if seen(steps)]
    assert shown == kept
    for steps, leaf in leaves(blanked, 1000):
        assert seen(steps) or leaf in (WITHHELD, None, [], {})
    assert not [leaf for _, leaf in leaves(left, 1000) if leaf not in (None, [], {}) and leaf not in kept]
    assert bool(taken) or left == blanked == value
