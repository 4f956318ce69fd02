"""What a worker that had the journal key wrote against policy is not acted on by the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worlds import World, crash, crashing, one

from remit import NOT_DONE, Context
from remit.core.entries import Outcome
from remit.core.obliging import Obliged
from remit.errors import Tampered
from remit.runtime import gate as gates
from remit.runtime.rechecking import problems_of
from remit.store.journal import Journal

AS_OBLIGED = gates.as_obliged
RULE = {
    "deny": {"id": "no", "deny": "true"},
    "escalate": {"id": "ask", "escalate": "true"},
    "nothing": {"id": "other", "allow": "args.what == 'something else'"},
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def lying(change: Callable[[Obliged], Obliged]) -> Callable[..., Obliged]:
    """Decides as the gate does, and then says something else: what a worker can do that somebody else has changed."""
    return lambda *given: change(AS_OBLIGED(*given))


def allowed(obliged: Obliged) -> Obliged:
    """Allowed by no rule at all."""
    return replace(obliged, verdict=replace(obliged.verdict, outcome=Outcome.ALLOW, rules=(), reasons=(), queues=()))


def passed(obliged: Obliged) -> Obliged:
    """Allowed, as if the people whom its rules ask had said yes."""
    return replace(obliged, verdict=replace(obliged.verdict, outcome=Outcome.ALLOW, reasons=(), queues=()))


async def resumed(world: World, graph: Any, run: str) -> Any:
    async with world.runtime(graph, worker="honest") as runtime:
        return await runtime.resume(run)


@pytest.mark.parametrize("lie", [allowed, passed])
@pytest.mark.parametrize("rule", list(RULE))
@pytest.mark.parametrize("tool", ["keyed", "idempotent", "probed", "once"])
async def test_a_call_that_began_against_policy_is_not_run_again_whoever_wrote_that(
    world: World, monkeypatch: pytest.MonkeyPatch, lie: Callable[[Obliged], Obliged], rule: str, tool: str
) -> None:
    world.policy(RULE[rule])
    probed: list[str] = []

    def probe(**args: object) -> object:
        probed.append("probed")
        return NOT_DONE

    options: dict[str, Any] = {"probe": probe} if tool == "probed" else {"repeat": tool}
    act = world.act(body=crashing(), **options)

    async def agent(ctx: Context) -> str:
        return await ctx.call(act, what="rent")

    graph = one(agent, act)
    with monkeypatch.context() as patch:
        patch.setattr(gates, "as_obliged", lying(lie))
        run = await crash(world, graph)
    assert world.did == ["rent"]
    # Nor where the policies in force would allow it by now: it began by a decision that nobody could make.
    if tool != "once":
        world.policy(allow="true")
    with pytest.raises(Tampered, match=r"isn't run again, because what let it begin doesn't hold: .*decided"):
        await resumed(world, graph, run)
    assert world.did == ["rent"] and not probed


async def test_the_check_finds_nothing_in_a_run_that_people_ruled_on_and_that_crashed_twice(world: World) -> None:
    world.policy({"id": "ask", "escalate": "true"})
    act = world.act(body=crashing(1))

    async def agent(ctx: Context) -> str:
        return await ctx.call(act, what="rent")

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    await world.rule(report.reviews[0])
    await crash(world, graph, report.run)
    (asked,) = (await resumed(world, graph, report.run)).reviews
    await world.rule(asked)
    async with await Journal.open(world.url, keys=world.keys) as journal:
        assert await problems_of(journal, report.run, {*(await world.state(report.run)).calls}) == []
    assert (await resumed(world, graph, report.run)).status == "done"
    assert world.did == ["rent", "rent"]
    await world.holds()


async def test_a_value_that_the_decision_rests_on_and_that_is_gone_is_told(world: World) -> None:
    world.policy(allow="true")
    act = world.act(repeat="keyed", body=crashing())

    async def agent(ctx: Context) -> str:
        return await ctx.call(act, what="rent")

    graph = one(agent, act)
    run = await crash(world, graph)
    world.sql("DELETE FROM payloads WHERE path = '/facts'")
    with pytest.raises(Tampered, match="can't be made again: values they rest on are not there"):
        await resumed(world, graph, run)
    assert world.did == ["rent"]
