"""The tests' clock moves when a test says so, or with `jump` by itself, and never past work that takes real time."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from worlds import World, one

from remit import Context, Transient
from remit.testing import _WITHIN, VirtualClock


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path).policy(allow="true")
    world.clock = VirtualClock(jump=True)
    return world


@pytest.mark.parametrize("sync", [False, True])
async def test_the_clock_does_not_jump_past_a_tool_that_takes_real_time(world: World, sync: bool) -> None:
    """Others sleep meanwhile: leases, checkpoints, watchers. The tool's timeout is 60 virtual seconds."""
    release = threading.Event()
    loop = asyncio.get_running_loop()

    def blocks() -> str:
        # It ends once the loop has gone round many times, in which everybody else wanted to sleep.
        for _ in range(50):
            done = threading.Event()
            loop.call_soon_threadsafe(done.set)
            assert done.wait(30)
        release.set()
        return "done"

    async def body(*_: Any) -> str:
        return await loop.run_in_executor(None, blocks)

    from remit import tool

    @tool(labels={}, timeout=60)
    def blocking() -> str:
        return blocks()

    act = blocking if sync else world.act(body=body, timeout=60)

    async def agent(ctx: Context) -> str:
        return str(await ctx.call(act))

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        before = world.clock.monotonic()
        report = await runtime.run(graph, principal="me")
    assert report.output == "done" and release.is_set(), report
    assert before is not None


async def test_a_backoff_moves_the_clock_and_waits_for_nobody(world: World) -> None:
    left = [3]

    def body(*_: Any) -> str:
        left[0] -= 1
        if left[0]:
            raise Transient("again")
        return "at last"

    act = world.act(repeat="keyed", attempts=3, body=body)

    async def agent(ctx: Context) -> str:
        return await ctx.call(act)

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).output == "at last"
    assert world.clock.monotonic() > 0.2


async def test_a_tool_that_sleeps_on_the_clock_moves_it_and_runs_out_of_virtual_time(world: World) -> None:
    act = world.act(repeat="keyed", timeout=10, body=lambda *_: world.clock.sleep(5))
    late = world.act("late", repeat="keyed", timeout=10, body=lambda *_: world.clock.sleep(11))

    async def agent(ctx: Context) -> list[str]:
        said = []
        for tool in (act, late):
            try:
                await ctx.call(tool)
                said.append("in time")
            except Exception as error:  # noqa: BLE001 - what it is, is what is looked at
                said.append(getattr(error, "cause", ""))
        return said

    graph = one(agent, act, late)
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).output == ["in time", "TimeoutError"]


async def test_the_clock_does_not_move_on_while_somebody_it_woke_has_not_had_a_turn() -> None:
    clock = VirtualClock(jump=True)
    slept: list[float] = []

    async def works() -> None:
        async with clock.timeout(10):
            began = clock.monotonic()
            await clock.sleep(5)
            slept.append(clock.monotonic() - began)

    async def watches() -> None:
        for _ in range(10):
            await clock.sleep(4)

    # Whoever is first in the loop's queue after the clock has moved: the other one must not move it again.
    for order in ((works, watches), (watches, works)):
        slept.clear()
        await asyncio.gather(*(asyncio.ensure_future(each()) for each in (*order, watches, watches)))
        assert slept == [5], order


async def test_a_sleep_that_is_cancelled_no_longer_counts_as_asleep() -> None:
    clock = VirtualClock(jump=True)

    async def works() -> None:
        async with clock.timeout(100):
            busy = asyncio.Event()
            asleep = asyncio.ensure_future(clock.sleep(50))
            asyncio.get_running_loop().call_soon(asleep.cancel)
            await asyncio.gather(asleep, return_exceptions=True)
            asyncio.get_running_loop().call_later(0.01, busy.set)
            began = clock.monotonic()
            other = asyncio.ensure_future(outside())
            await busy.wait()  # real work: the one outside waits for it
            assert clock.monotonic() == began
            other.cancel()

    async def outside() -> None:
        token = _WITHIN.set(())
        try:
            await clock.sleep(1)
        finally:
            _WITHIN.reset(token)

    await works()


async def test_without_jump_only_the_test_moves_the_clock() -> None:
    clock = VirtualClock()
    slept = asyncio.ensure_future(clock.sleep(10))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not slept.done()
    clock.advance(9)
    await asyncio.sleep(0)
    assert not slept.done()
    clock.advance(1)
    await slept
    assert clock.monotonic() == 10
