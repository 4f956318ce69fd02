"""A context is the agent's or branch's that was given it: in any other hands it is refused, and nothing runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from worlds import World, one

from remit import Context, FactRequest, Graph, Task, fact, tool
from remit.errors import Misuse


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(allow="true")


def lent(world: World, borrow: Callable[[Context, Any], Awaitable[Any]], *, fails: bool = True) -> Graph:
    """Two tasks: `owner` keeps its context where `thief` finds it, and stays until that is done."""
    kept: list[Context] = []
    got, done = asyncio.Event(), asyncio.Event()
    act = world.act()

    async def owner(ctx: Context) -> str:
        kept.append(ctx)
        got.set()
        await done.wait()
        return await ctx.call(act, what="the owner's")

    async def thief(ctx: Context) -> str:
        await got.wait()
        try:
            await borrow(kept[0], act)
        except Misuse as error:
            return f"refused: {error}"
        finally:
            done.set()
        return "not refused"

    return Graph("app", [Task("owner", owner), Task("thief", thief)], tools=[act])


async def uses(ctx: Context, act: Any) -> None:
    await ctx.call(act, what="stolen")


async def in_a_task(ctx: Context, act: Any) -> None:
    await asyncio.create_task(uses(ctx, act))


async def in_gather(ctx: Context, act: Any) -> None:
    await asyncio.gather(uses(ctx, act))


async def in_a_group(ctx: Context, act: Any) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(uses(ctx, act))
    except* Misuse as errors:
        raise errors.exceptions[0] from None


async def in_branches(ctx: Context, act: Any) -> None:
    async def branch(own: Context) -> None:
        await uses(own, act)

    await ctx.branches(branch)


async def in_a_thread(ctx: Context, act: Any) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(uses(ctx, act), loop).result(30))


async def in_a_loop_of_its_own(ctx: Context, act: Any) -> None:
    await asyncio.to_thread(lambda: asyncio.run(uses(ctx, act)))


async def by_recording(ctx: Context, act: Any) -> None:
    ctx.now()


async def by_recording_in_a_thread(ctx: Context, act: Any) -> None:
    await asyncio.to_thread(ctx.uuid)


@pytest.mark.parametrize(
    "borrow",
    [
        uses, in_a_task, in_gather, in_a_group, in_branches, in_a_thread, in_a_loop_of_its_own, by_recording,
        by_recording_in_a_thread,
    ],
)  # fmt: skip
async def test_a_context_of_another_task_is_refused(world: World, borrow: Any) -> None:
    graph = lent(world, borrow)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert report.output["thief"].startswith("refused: this context is of task `owner`")  # type: ignore[index,call-overload]
    assert world.did == ["the owner's"]
    await world.holds()


async def test_a_context_of_another_run_in_the_same_worker_is_refused(world: World) -> None:
    """Who acts for an intern can't call through the context of the boss's run."""
    kept: list[Context] = []
    act = world.act()

    async def agent(ctx: Context) -> str:
        if ctx.principal == "boss":
            kept.append(ctx)
            await both.wait()
            return "kept"
        try:
            await kept[0].call(act, what="as the boss")
        except Misuse as error:
            return str(error)
        finally:
            both.set()
        return "not refused"

    both = asyncio.Event()
    graph = one(agent, act)
    async with world.runtime(graph) as runtime, asyncio.TaskGroup() as group:
        first = group.create_task(runtime.run(graph, principal="boss"))
        while not kept:
            await asyncio.sleep(0)
        report = await runtime.run(graph, principal="intern")
        await first
    assert "used by other code" in str(report.output)
    assert world.done == []


async def test_a_branch_can_use_neither_its_parents_context_nor_anothers(world: World) -> None:
    act = world.act()
    said: list[str] = []

    async def agent(ctx: Context) -> None:
        given: list[Context] = []

        async def first(own: Context) -> None:
            given.append(own)
            await own.call(act, what="first")

        async def second(own: Context) -> None:
            for other in (ctx, given[0]):
                with pytest.raises(Misuse) as caught:
                    await other.call(act, what="stolen")
                said.append(str(caught.value))
            await own.call(act, what="second")

        await ctx.branches(first, second)

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).status == "done"
    assert len(said) == 2 and sorted(world.did) == ["first", "second"]
    await world.holds()


async def test_after_its_agent_has_ended_a_context_is_of_no_use(world: World) -> None:
    kept: list[Context] = []
    act = world.act()
    said: list[str] = []

    async def first(ctx: Context) -> None:
        kept.append(ctx)

        async def later() -> None:
            await ended.wait()
            with pytest.raises(Misuse) as caught:
                await ctx.call(act, what="late")
            said.append(str(caught.value))
            over.set()

        late.append(asyncio.create_task(later()))

    async def second(ctx: Context, before: None) -> None:
        with pytest.raises(Misuse, match="which has ended"):
            await kept[0].call(act, what="stolen")
        ended.set()
        await over.wait()

    late: list[asyncio.Task[None]] = []
    ended, over = asyncio.Event(), asyncio.Event()
    graph = Graph("app", [Task("first", first), Task("second", second, after="first")], tools=[act])
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert report.status == "done" and world.done == []
    assert "which has ended" in said[0]


@pytest.mark.parametrize("sync", [False, True])
async def test_tools_and_fact_providers_belong_to_nobody(world: World, sync: bool) -> None:
    """They run inside a call of the agent's, and can't make another in its name, then or later."""
    kept: list[Context] = []
    act = world.act()
    said: list[str] = []
    loop = asyncio.get_running_loop()
    threads: list[threading.Thread] = []

    async def tries() -> None:
        try:
            await kept[0].call(act, what="stolen")
        except Misuse as error:
            said.append(str(error))

    def lurk() -> None:
        thread = threading.Thread(target=lambda: asyncio.run_coroutine_threadsafe(tries(), loop).result(30))
        threads.append(thread)

    @tool(labels={}, repeat="once")
    def blocking() -> None:
        lurk()
        asyncio.run_coroutine_threadsafe(tries(), loop).result(30)

    @tool(labels={}, repeat="once")
    async def waiting() -> None:
        lurk()
        await tries()

    asked = blocking if sync else waiting

    @fact(tools=[asked])
    async def curious(request: FactRequest) -> bool:
        await tries()
        return True

    async def agent(ctx: Context) -> None:
        kept.append(ctx)
        await ctx.call(asked)
        threads[0].start()
        while threads[0].is_alive():
            await asyncio.sleep(0)

    graph = one(agent, asked, act, facts=[curious])
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).status == "done"
    assert len(said) == 3 and all("used by other code" in one_ for one_ in said)
    assert world.done == []


async def test_what_an_agent_starts_itself_may_use_its_context(world: World) -> None:
    act = world.act()

    async def agent(ctx: Context) -> list[str]:
        async def inner() -> str:
            return await ctx.call(act, what="in a task of its own")

        return [await asyncio.create_task(inner()), await asyncio.wait_for(ctx.call(act, what="timed"), 60)]

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert report.output == ["did in a task of its own", "did timed"]


@pytest.mark.parametrize("how", ["gather", "tasks", "group"])
async def test_two_calls_of_one_context_at_once_are_always_the_same_clear_misuse(world: World, how: str) -> None:
    """Whatever became of the first call; nothing speaks of a journal that was tampered with."""
    act = world.act(body=lambda *_: asyncio.sleep(0))

    async def agent(ctx: Context) -> None:
        calls = [ctx.call(act, what="a"), ctx.call(act, what="b"), ctx.call(act, what="c")]
        if how == "gather":
            await asyncio.gather(*calls)
        elif how == "tasks":
            for task in [asyncio.ensure_future(call) for call in calls]:
                await task
        else:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(call)

    graph = one(agent, act)
    for _ in range(5):
        async with world.runtime(graph) as runtime:
            report = await runtime.run(graph, principal="me")
        assert report.status == "failed"
        said = "".join(await world.why(report.run))
        assert "use `ctx.branches(...)`" in said or (how == "group" and "TaskGroup" in said)
    await world.holds()
