"""Facts: what is captured, what the journal keeps of it, and what conditions see of that, now and in ten years."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from remit import tool
from remit.core import entries as e
from remit.core import provenance
from remit.core.canonical import canonical, plain
from remit.core.entries import Head, Outcome, seal, unseal
from remit.core.facts import Facts, capture, root_types, roots
from remit.core.lifecycle import History, RunState, Spent, apply
from remit.errors import Tampered

NOW = "2026-01-05T09:00:00.000001Z"
HASH = "ab" * 32
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SPENT = st.builds(Spent, st.integers(0, 10**6), st.decimals(0, 10**6, places=2))


@tool(effect="commit", repeat="keyed", tags=["money"], labels={})
def pay(iban: str, amount: Decimal = Decimal(1)) -> None: ...


FACTS = st.builds(
    Facts,
    now=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
    agent=TEXT, agent_version=TEXT, task=TEXT, run=TEXT, graph=TEXT, principal=TEXT, started=st.just(NOW),
    spent=SPENT, spent_by_tool=st.dictionaries(TEXT, SPENT, max_size=2),
    history=st.builds(History, *[st.integers(0, 99)] * 3),
    last=st.dictionaries(TEXT, st.sampled_from(["allow", "deny"]), max_size=2),
    labels=st.lists(TEXT, max_size=2).map(tuple),
    values=st.dictionaries(TEXT, st.none() | st.integers(-9, 9) | st.lists(TEXT, max_size=2), max_size=2),
    approved=st.booleans(), reviewers=st.lists(TEXT, max_size=2).map(tuple),
)  # fmt: skip


@given(FACTS)
def test_what_conditions_see_is_the_same_from_memory_and_from_the_journal(facts: Facts) -> None:
    args = {"iban": "NL1", "amount": "1.00"}
    document = facts.document()
    data = canonical(document)
    assert roots(document, pay.spec, args) == roots(plain(data), pay.spec, args)
    found: Any = roots(plain(data), pay.spec, args)
    assert found["now"] == datetime.fromisoformat(facts.now)
    assert found["now"].tzinfo is not None
    assert found["spent"]["by_tool"]["never used"] == {"calls": 0, "cost": Decimal(0)}
    assert found["tool"] == {
        "name": "pay", "effect": "commit", "repeat": "keyed", "tags": ["money"],
        "authority": ["amount", "iban"], "content": ["amount", "iban"],
    }  # fmt: skip
    assert found["args"] == {"iban": "NL1", "amount": Decimal("1.00")}


@given(FACTS)
def test_what_conditions_see_is_of_the_types_that_policies_are_checked_against(facts: Facts) -> None:
    types = root_types(pay.spec, {})
    for name in provenance.ROOTS:
        types.pop(name)  # computed where a rule looks at them: tests/core/test_provenance.py
    found: Any = roots(facts.document(), pay.spec, {"iban": "NL1", "amount": "1.00"})
    assert set(types) == set(found)
    for name, schema in types.items():
        if name != "facts":
            value = facts.now if name == "now" else found[name]
            Draft202012Validator(schema).validate(orjson.loads(orjson.dumps(value, default=str)))


def test_capture_takes_the_counters_as_they_stand() -> None:
    state: Any = None
    record = e.CallRecord("work#0", "agent", "1", "work", "pay", HASH, {}, HASH)
    for body in (
        e.RunStarted("r1", "app", HASH, "me", "starter", "", HASH, HASH),
        e.TaskStarted("work", "agent", "1", ("pii",)),
        e.CallDecided(record, e.VerdictRecord(Outcome.ALLOW, HASH), HASH, "k", (), "2.50"),
    ):
        state = apply(state, unseal(seal("run/r1", state.head if state else Head(), NOW, "t", body).bytes))
    assert isinstance(state, RunState)
    facts = capture(
        state,
        now=NOW,
        agent="agent",
        agent_version="1",
        task="work",
        values={"a": 1},
        reviewers=("ann",),
        approved=True,
    )
    assert facts.document() == {
        "now": NOW,
        "agent": {"name": "agent", "version": "1"},
        "task": {"id": "work"},
        "run": {"id": "r1", "graph": "app", "principal": "me", "started": NOW, "purpose": ""},
        "spent": {"calls": 1, "cost": "2.50", "by_tool": {"pay": {"calls": 1, "cost": "2.50"}}},
        "history": {"allowed": 1, "escalated": 0, "denied": 0, "last": {"pay": "allow"}, "settled": {}},
        "labels": ["pii"],
        "facts": {"a": 1},
        "approval": {"given": True, "reviewers": ["ann"]},
    }
    assert capture(state, now=NOW, agent="a", agent_version="1", task="gone", values={}).labels == ()


GOOD = Facts(NOW, "a", "1", "t", "r", "g", "p", NOW, Spent(), {}, History(), {}, (), {}).document()


@pytest.mark.parametrize(
    "change",
    [
        {"now": "today"},
        {"now": 1},
        {"now": None},
        {"spent": None},
        {"spent": {}},
        {"spent": {"by_tool": 1}},
        {"spent": 1},
    ],
)
def test_recorded_facts_that_can_not_be_read_are_tampered_with(change: dict[str, Any]) -> None:
    assert roots(GOOD, pay.spec, {})["now"] == datetime(2026, 1, 5, 9, 0, 0, 1, tzinfo=UTC)
    with pytest.raises(Tampered, match="recorded facts"):
        roots({**GOOD, **change}, pay.spec, {})
    with pytest.raises(Tampered, match="recorded facts"):
        roots({}, pay.spec, {})
