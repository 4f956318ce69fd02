"""A run for a purpose uses the tools, data and columns of it, whatever the policies beside it allow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from worlds import World, one

from remit import Context, Detector, Graph, Task, tool
from remit.core.detectors import Finding, Places, Report
from remit.errors import BadInput, Denied, ResultLost, RunError
from remit.runtime.tracing import trace
from remit.store.journal import Journal

PRIVATE = "diagnosis: gout"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(allow="true")


def purposes(world: World, required: bool = False, **more: object) -> None:
    billing = {"description": "Bills.", "principals": ["ann*"], "tools": ["patient", "act"], **more}
    text = json.dumps({"required": required, "purposes": {"november bills": billing}})
    (world.policies / "purposes.yaml").write_text(text, encoding="utf-8")


@tool(effect="read", repeat="idempotent", labels={"": ["private"]})
def patient(id: str) -> dict[str, Any]:
    return {"name": "Bo", "notes": PRIVATE, "visits": [{"day": "2026-11-02", "why": PRIVATE}]}


async def reads(ctx: Context) -> dict[str, Any]:
    return await ctx.call(patient, id="7")


def acting(world: World) -> Graph:
    act = world.act()

    async def acts(ctx: Context) -> str:
        try:
            return await ctx.call(act, what="it")
        except Denied as error:
            return f"denied: {error}"

    return Graph("app", [Task("work", acts)], tools=[act, patient])


async def test_a_tool_outside_of_the_purpose_is_denied_and_the_denial_verifies(world: World) -> None:
    purposes(world, tools=["patient"])
    async with world.runtime(acting(world)) as runtime:
        report = await runtime.run("app", principal="ann", purpose="november bills")
        assert "purpose `november bills` does not extend to `act`" in str(report.output)
        assert world.did == []
        assert (await runtime.run("app", principal="ann")).output == "did it", "without one, it is for anything"
    (started,) = await world.bodies(report.run, "run.started")
    assert started.purpose == "november bills"
    (decided,) = await world.bodies(report.run, "call.decided")
    assert [f"{hit.policy}/{hit.rule}" for hit in decided.verdict.rules] == ["purpose/november-bills"]
    async with await Journal.open(world.url, keys=world.keys) as journal:
        (row,) = await trace(journal, report.run)
        assert row["facts"]["run"]["purpose"] == "november bills"
        assert any(rule["rule"] == "purpose/november-bills" for rule in row["rules_considered"])
    await world.holds()


async def test_a_run_for_an_unknown_purpose_or_of_another_principal_is_refused_at_start(world: World) -> None:
    graph = acting(world)
    async with world.runtime(graph) as runtime:
        with pytest.raises(BadInput, match=r"there is no purpose `x`: there is no purposes.yaml"):
            await runtime.start("app", principal="ann", purpose="x")
    purposes(world, tools=["act"], required=True)
    async with world.runtime(graph) as runtime:
        with pytest.raises(BadInput, match="there is no purpose `november bill`; did you mean `november bills`"):
            await runtime.start("app", principal="ann", purpose="november bill")
        with pytest.raises(BadInput, match="is not for runs of `bob`"):
            await runtime.start("app", principal="bob", purpose="november bills")
        with pytest.raises(BadInput, match="every run needs a purpose"):
            await runtime.start("app", principal="ann")
    assert world.look("SELECT count(*) FROM streams WHERE name LIKE 'run/%'") == [(0,)]


async def test_what_is_not_to_be_seen_reaches_neither_the_agent_nor_the_journal(world: World) -> None:
    purposes(world, tools=["patient"], columns=[{"tools": ["patient"], "only": ["/name", "/visits/*/day"]}])
    async with world.runtime(one(reads, patient)) as runtime:
        report = await runtime.run("app", principal="ann", purpose="november bills")
    assert report.output == {"name": "Bo", "visits": [{"day": "2026-11-02"}]}
    (settled,) = await world.bodies(report.run, "call.settled")
    assert settled.guarded == ("purpose:minimise",)
    for path in world.folder.rglob("*"):
        assert not path.is_file() or PRIVATE.encode() not in path.read_bytes()
    found = world.look("SELECT value FROM payloads WHERE path = '/findings'")
    assert json.loads(found[0][0]) == [
        {"guardrail": "purpose", "kind": "withheld", "pointer": "/notes"},
        {"guardrail": "purpose", "kind": "withheld", "pointer": "/visits/0/why"},
    ]
    await world.holds()


async def test_where_the_type_needs_a_field_what_it_says_is_withheld(world: World) -> None:
    @dataclass
    class Person:
        name: str
        notes: str
        age: int | None

    def person(id: str) -> Person:
        return Person("Bo", PRIVATE, 44)

    person.__annotations__["return"] = Person
    reading = tool(effect="read", repeat="idempotent", labels={"": ["private"]})(person)

    async def asks(ctx: Context) -> list[Any]:
        found = await ctx.call(reading, id="7")
        return [found.name, found.notes, found.age]

    purposes(world, tools=["person"], columns=[{"tools": ["person"], "only": ["/name"]}])
    async with world.runtime(one(asks, reading)) as runtime:
        report = await runtime.run("app", principal="ann", purpose="november bills")
    assert report.output == ["Bo", "[withheld]", None]


async def test_a_result_that_can_not_do_without_is_refused(world: World) -> None:
    def age(id: str) -> int:
        return 44

    reading = tool(effect="read", repeat="idempotent", labels={"": ["private"]})(age)

    async def asks(ctx: Context) -> str:
        try:
            return str(await ctx.call(reading, id="7"))
        except ResultLost as error:
            return str(error)

    purposes(world, tools=["age"], columns=[{"tools": ["age"], "only": ["/years"]}])
    async with world.runtime(one(asks, reading)) as runtime:
        report = await runtime.run("app", principal="ann", purpose="november bills")
    assert "its result was refused" in str(report.output)


async def test_a_result_that_a_guardrail_labels_beyond_the_purpose_is_refused(world: World) -> None:
    class Facts(msgspec.Struct, frozen=True):
        ill: bool = True

    def looks(places: Places) -> Report[Facts]:
        return Report(Facts(), (Finding("ill", ""),))

    guardrail = {"detector": "mine", "tools": ["*"], "results": [""], "when": "ill", "then": "label", "labels": ["ill"]}
    (world.policies / "guardrails.yaml").write_text(json.dumps({"guardrails": [guardrail]}), encoding="utf-8")
    purposes(world, tools=["patient"], labels=["private"])
    graph = Graph("app", [Task("work", reads)], tools=[patient], detectors=[Detector("mine", Facts, looks)])
    async with world.runtime(graph) as runtime:
        report = await runtime.run("app", principal="ann", purpose="november bills")
        assert report.status == "failed"
        assert (await runtime.run("app", principal="ann")).status == "done"
    assert "it is labelled `ill`" in " ".join(await world.why(report.run))


async def test_a_run_whose_purpose_is_gone_does_not_go_on(world: World) -> None:
    purposes(world, tools=["act"])
    world.policy(escalate="true")
    graph = acting(world)
    async with world.runtime(graph) as runtime:
        report = await runtime.run("app", principal="ann", purpose="november bills")
        await world.rule(report.reviews[0])
        (world.policies / "purposes.yaml").unlink()
        with pytest.raises(RunError, match="there is no purpose `november bills`"):
            await runtime.resume(report.run)
        purposes(world, tools=["act"])
        assert (await runtime.resume(report.run)).output == "did it"


async def test_a_purpose_is_a_fact_for_conditions(world: World) -> None:
    purposes(world, tools=["act"])
    world.policy(allow='run.purpose == "november bills"')
    async with world.runtime(acting(world)) as runtime:
        assert (await runtime.run("app", principal="ann", purpose="november bills")).output == "did it"
        assert str((await runtime.run("app", principal="ann")).output).startswith("denied")
    await world.holds()
