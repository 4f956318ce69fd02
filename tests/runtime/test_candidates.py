"""A worker looks at what something happened to, and in turn at the rest: none is lost, and parked runs cost nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from worlds import World, one

from remit import Context, Runtime
from remit.runtime import candidates
from remit.runtime.ambient import stamp
from remit.runtime.candidates import Candidates
from remit.store.leases import Leases
from remit.store.projections import Projections


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(escalate="true")


async def parked(world: World, runtime: Runtime, count: int) -> list[tuple[str, str]]:
    """Starts runs that wait for a review each; returns both ids."""
    reports = [await runtime.run("app", principal="me") for _ in range(count)]
    return [(report.run, report.reviews[0]) for report in reports]


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(candidates, "_IN_TURN", 3)
    return 3


async def test_only_what_something_happened_to_is_looked_at_and_the_others_in_turn(world: World, in_turn: int) -> None:
    act = world.act()

    async def agent(ctx: Context) -> str:
        return await ctx.call(act, what="a")

    async with world.runtime(one(agent, act)) as runtime:
        runs = await parked(world, runtime, 10)
        ids = sorted(run for run, _ in runs)
        looking = Candidates(Projections(runtime.journal), Leases(runtime.journal))
        turns = [await looking.next(world.clock.now()) for _ in range(4)]
        assert turns == [ids[:3], ids[3:6], ids[6:9], ids[9:]] and looking.all_seen
        ruled = next((run, review) for run, review in runs if run == ids[7])
        await world.rule(ruled[1])
        assert await looking.next(world.clock.now()) == [ruled[0], *ids[:3]]
        looking.look_later(ruled[0])
        assert (await looking.next(world.clock.now()))[0] == ruled[0]
        assert await looking.next(world.clock.now()) == ids[6:9]
        world.clock.advance(3600)
        due = await Projections(runtime.journal).due(stamp(world.clock.now()), 20)
        assert sorted(due) == [run for run in ids if run != ruled[0]]
        assert len(await looking.next(world.clock.now())) > 1


async def test_a_worker_takes_up_every_ruling_however_many_runs_are_parked(world: World, in_turn: int) -> None:
    act = world.act()

    async def agent(ctx: Context) -> str:
        return await ctx.call(act, what="a")

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        runs = await parked(world, runtime, 11)
        for _, review in runs[::2]:
            await world.rule(review)
    async with world.runtime(graph, worker="later") as runtime:
        assert [report.status async for report in runtime.work(once=True)] == ["done"] * 6
        for _, review in runs[1::2]:
            await world.rule(review)
        assert [report.status async for report in runtime.work(once=True)] == ["done"] * 5
    assert len(world.done) == 11


async def test_a_run_of_another_app_or_one_that_is_over_is_never_driven(world: World, in_turn: int) -> None:
    world.policy(allow="true")
    act = world.act()

    async def agent(ctx: Context) -> str:
        return await ctx.call(act, what="a")

    async with world.runtime(one(agent, act, name="other")) as other:
        await other.start("other", principal="me")
        async with world.runtime(one(agent, act)) as runtime:
            await runtime.run("app", principal="me")
            assert [report async for report in runtime.work(once=True)] == []
    assert world.did == ["a"]
