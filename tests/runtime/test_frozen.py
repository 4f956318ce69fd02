"""What runs is what was decided and recorded; what happened is told as happened, whatever became of its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest
from pydantic import BaseModel
from worlds import World, one

from remit import Context, Denied, FactRequest, Graph, InvalidArguments, Limits, ResultLost, Runtime, Task, fact, tool
from remit.core.detectors import Places, Report
from remit.errors import BadInput


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(allow="true")


class Deep(BaseModel):
    rows: list[dict[str, int]]


@pytest.mark.parametrize("late", [False, True])
async def test_a_fact_provider_that_writes_to_its_request_changes_nothing(world: World, late: bool) -> None:
    """Not even where it keeps it, and writes to it from another task once the call has been decided."""
    done: list[Any] = []
    kept: list[dict[str, Any]] = []

    @tool(effect="commit", repeat="once", labels={})
    def pay(amount: int, deep: Deep) -> str:
        for args in kept:
            spoil(args)
        done.append((amount, deep.rows))
        return "paid"

    def spoil(args: dict[str, Any]) -> None:
        args["amount"] = 1_000_000
        args["deep"]["rows"].append({"x": 1})
        args["deep"]["rows"][0]["x"] = 9

    @fact(tools=[pay])
    def curious(request: FactRequest) -> bool:
        assert isinstance(request.args, dict)
        if late:
            kept.append(request.args)
        else:
            spoil(request.args)
        return True

    @fact(tools=[pay])
    def second(request: FactRequest) -> int:
        return int(request.args["amount"])

    async def agent(ctx: Context) -> str:
        return await ctx.call(pay, amount=5, deep=Deep(rows=[{"x": 0}]))

    world.policy(allow="args.amount == 5 && facts.second == 5")
    graph = one(agent, pay, facts=[curious, second])
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert report.output == "paid" and done == [(5, [{"x": 0}])]
    await world.holds()


async def test_an_attempt_does_not_see_what_the_one_before_did_to_its_arguments(world: World) -> None:
    seen: list[list[int]] = []

    @tool(effect="write", repeat="idempotent", attempts=2, labels={})
    async def act(items: list[int]) -> str:
        seen.append(list(items))
        items.clear()
        if len(seen) == 1:
            raise TimeoutError
        return "done"

    async def agent(ctx: Context) -> str:
        return await ctx.call(act, items=[1, 2])

    world.clock = type(world.clock)(jump=True)
    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).output == "done"
    assert seen == [[1, 2], [1, 2]]


class Moody(BaseModel):
    """Validators that change their mind: they take a value a number of times."""

    n: int
    left: pydantic.JsonValue = None

    @pydantic.field_validator("n")
    @classmethod
    def counted(cls, value: int) -> int:
        TIMES[0] -= 1
        if TIMES[0] < 0:
            raise ValueError("not any more")
        return value


TIMES = [0]


@pytest.mark.parametrize("times", range(5))
async def test_arguments_that_can_not_be_bound_run_nothing_and_are_never_in_doubt(world: World, times: int) -> None:
    ran: list[int] = []

    @tool(effect="commit", repeat="once", labels={})
    def act(v: Moody) -> str:
        ran.append(v.n)
        return "ran"

    async def agent(ctx: Context) -> str:
        TIMES[0] = times
        try:
            return await ctx.call(act, v={"n": 3})  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - which one depends on when
            return f"{type(error).__name__}: {error}"

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert report.status == "done"
    assert ran == ([3] if report.output == "ran" else [])
    assert "call.in_doubt" not in await world.kinds(report.run)
    state = await world.state(report.run)
    assert (state.settled.get("act") or 0) == len(ran)
    await world.holds()


class Receipt(BaseModel):
    number: int


BAD: dict[str, Any] = {
    "too large an integer": lambda: Receipt.model_construct(number=2**60),
    "another type": lambda: "no receipt",
    "a surrogate": lambda: Receipt.model_construct(number="\ud800"),
    "nothing": lambda: None,
}


@pytest.mark.parametrize("bad", BAD)
async def test_who_tries_again_where_a_result_was_lost_does_not_pay_twice(world: World, bad: str) -> None:
    world.policy(allow="history.settled['pay'] == 0")
    paid: list[int] = []

    @tool(effect="commit", repeat="once", labels={})
    def pay(amount: int) -> Receipt:
        paid.append(amount)
        return BAD[bad]()  # type: ignore[no-any-return]

    async def agent(ctx: Context) -> list[str]:
        said = []
        for _ in range(3):
            try:
                await ctx.call(pay, amount=10)
            except (ResultLost, Denied) as error:
                said.append(type(error).__name__)
        return said

    graph = one(agent, pay)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        assert report.output == ["ResultLost", "Denied", "Denied"]
    assert paid == [10]
    (settled,) = await world.bodies(report.run, "call.settled")
    assert (settled.ok, settled.cause, settled.result) == (True, "ResultLost", None)
    await world.holds()


async def test_a_lost_result_is_told_the_same_when_the_agent_runs_again(world: World) -> None:
    ran: list[int] = []
    world.policy(
        {"id": "all", "allow": "true", "tools": ["lossy"]}, {"id": "ask", "escalate": "true", "tools": ["asks"]}
    )

    @tool(labels={}, repeat="once")
    def lossy() -> int:
        ran.append(1)
        return 2**60

    asks = world.act("asks")

    async def agent(ctx: Context) -> list[str]:
        with pytest.raises(ResultLost) as caught:
            await ctx.call(lossy)
        return [str(caught.value), caught.value.cause, await ctx.call(asks)]

    graph = one(agent, lossy, asks)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    await world.rule(report.reviews[0])
    async with world.runtime(graph) as runtime:
        report = await runtime.resume(report.run)
    assert ran == [1]
    assert report.output[1:] == ["ResultLost", "did it"]  # type: ignore[index]
    assert "`lossy` ran, and what it did is done, but its result can't be had" in report.output[0]  # type: ignore[index]
    await world.holds()


async def test_arguments_and_results_have_a_size_and_a_result_beyond_it_is_lost(world: World) -> None:
    ran: list[int] = []

    @tool(labels={}, repeat="once")
    def echo(text: str, times: int) -> str:
        ran.append(len(text))
        return text * times

    async def agent(ctx: Context) -> list[str]:
        said = [str(len(await ctx.call(echo, text="x" * 90, times=1)))]
        with pytest.raises(InvalidArguments, match="may have 120: hand over a reference, or raise"):
            await ctx.call(echo, text="x" * 200, times=1)
        with pytest.raises(ResultLost, match="has 902 bytes as JSON, and at most 500 are kept"):
            await ctx.call(echo, text="x" * 90, times=10)
        return said

    graph = one(agent, echo)
    async with Runtime(
        graph, store=world.url, policies=world.policies, keys=world.keys, ambient=world.clock,
        limits=Limits(arguments=120, result=500),
    ) as runtime:  # fmt: skip
        report = await runtime.run(graph, principal="me")
    assert report.output == ["90"] and ran == [90, 90]
    assert (Limits().arguments, Limits().result) == (1_048_576, 16_777_216)
    await world.holds()


async def test_inputs_and_outputs_have_a_size_too(world: World) -> None:
    async def agent(ctx: Context, text: str) -> str:
        return text * 10

    graph = Graph("app", [Task("work", agent)], tools=[world.act()])
    limits = Limits(input=100, output=500)
    async with Runtime(
        graph, store=world.url, policies=world.policies, keys=world.keys, ambient=world.clock, limits=limits
    ) as runtime:
        with pytest.raises(BadInput, match="input has 102 bytes as JSON, and may have 100: hand over a reference"):
            await runtime.run(graph, "x" * 100, principal="me")
        assert await runtime.journal.streams("run/") == []
        report = await runtime.run(graph, "x" * 60, principal="me")
        assert (await runtime.run(graph, "x" * 40, principal="me")).output == "x" * 400
    assert report.failed == ("work",)
    assert "returned has 602 bytes as JSON, and may have 500: return a reference" in str(report.errors[0])
    await world.holds()


async def test_a_detector_that_writes_to_what_it_sees_changes_neither_call_nor_result(world: World) -> None:
    import json

    import msgspec

    from remit import Detector

    class Facts(msgspec.Struct, frozen=True):
        seen: bool = True

    def spoils(places: Places) -> Report[Facts]:
        for _, value in places:
            if isinstance(value, list):
                value.append("spoilt")
        return Report(Facts())

    done: list[Any] = []

    @tool(labels={}, repeat="once")
    def act(items: list[str]) -> list[str]:
        done.append(items)
        return items

    async def agent(ctx: Context) -> list[str]:
        return await ctx.call(act, items=["a"])

    before = {"detector": "spoils", "name": "before", "tools": ["act"], "arguments": ["/items"]}
    after = {
        "detector": "spoils",
        "name": "after",
        "tools": ["act"],
        "results": [""],
        "when": "!seen",
        "then": "refuse",
    }
    (world.policies / "guardrails.yaml").write_text(json.dumps({"guardrails": [before, after]}))
    graph = Graph("app", [Task("work", agent)], tools=[act], detectors=[Detector("spoils", Facts, spoils)])
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).output == ["a"]
    assert done == [["a"]]
    await world.holds()
