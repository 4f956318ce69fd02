"""Runs: budgets, retries, recovery of what was in doubt, replay, fan-outs, labels, workers."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from worlds import Crash, Faults, World, crash, crashing, one

from remit import (
    NOT_DONE,
    Context,
    Denied,
    FactRequest,
    Graph,
    Invocation,
    Outcome,
    ResultLost,
    Task,
    ToolFailed,
    Transient,
    fact,
    tool,
)
from remit.core import kernel
from remit.core.entries import Owned, seal
from remit.core.lifecycle import FRUITLESS
from remit.errors import (
    BadInput,
    GraphError,
    JournalError,
    Misuse,
    OwnershipLost,
    ReplayMismatch,
    RunError,
    Tampered,
    UnknownId,
)
from remit.runtime.erasing import Selection, erase
from remit.store.journal import Append, Journal


def calls(act: Any, *whats: str, **arguments: Any) -> Any:
    """An agent that makes calls one after the other, and returns the last result."""

    async def agent(ctx: Context) -> str:
        result = ""
        for what in whats:
            result = await ctx.call(act, what=what, **arguments)
        return result

    return agent


# --- budgets ---------------------------------------------------------------------------------------------


async def test_a_fan_out_of_a_hundred_calls_at_once_can_not_overspend_a_budget(world: World) -> None:
    world.policy(allow="spent.calls < 10")
    act = world.act(body=lambda *_: asyncio.sleep(0))

    async def spread(ctx: Context) -> list[int]:
        return list(range(100))

    async def work(ctx: Context, item: int) -> bool:
        try:
            await ctx.call(act, what=str(item))
        except Denied:
            return False
        return True

    graph = Graph("app", [Task("spread", spread), Task("work", work, over="spread")], tools=[act], limit=100)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert sum(report.output) == len(world.done) == 10  # type: ignore[call-overload]
    assert (await world.state(report.run)).spent.calls == 10
    assert (await world.holds()).decisions == 100


async def test_branches_of_one_agent_can_not_overspend_a_budget(world: World) -> None:
    world.policy({"id": "some", "allow": "spent.cost < 10.0 && spent.by_tool['act'].calls < 10"})
    act = world.act(body=lambda *_: asyncio.sleep(0), cost=1)

    async def agent(ctx: Context) -> int:
        async def branch(ctx: Context) -> int:
            try:
                await ctx.call(act)
            except Denied:
                return 0
            return 1

        return sum(await ctx.branches(*[branch] * 100))

    async with world.runtime(one(agent, act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.output == len(world.done) == 10
    await world.holds()


async def test_a_budget_counts_what_an_earlier_owner_spent(world: World) -> None:
    world.policy(allow="spent.calls < 3")
    act = world.act(body=crashing(1), repeat="keyed")

    async def agent(ctx: Context) -> int:
        for count in range(10):
            try:
                await ctx.call(act, what=str(count))
            except Denied:
                return count
        return 10

    graph = one(agent, act)
    run = await crash(world, graph)
    async with world.runtime(graph) as runtime:
        assert (await runtime.resume(run)).output == 3
    assert (await world.state(run)).spent.calls == 3
    await world.holds()


# --- trying again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeat", ["idempotent", "keyed"])
async def test_a_passing_failure_is_tried_again_with_the_same_key(world: World, repeat: str) -> None:
    world.clock = type(world.clock)(jump=True)
    failures: list[Exception] = [Transient("busy"), ConnectionError(), TimeoutError()]

    def body(*_: Any) -> str:
        if failures:
            raise failures.pop()
        return "at last"

    act = world.act(repeat=repeat, attempts=4, body=body)
    async with world.runtime(one(calls(act, "a"), act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.output == "at last"
    assert [effect.attempt for effect in world.done] == [1, 2, 3, 4]
    assert len({effect.key for effect in world.done}) == 1
    (settled,) = await world.bodies(report.run, "call.settled")
    assert settled.attempts == 4
    await world.holds()


@pytest.mark.parametrize(
    ("repeat", "attempts", "error", "tried"),
    [
        ("once", 1, Transient("busy"), 1),
        ("keyed", 1, Transient("busy"), 1),
        ("keyed", 3, Transient("busy"), 3),
        ("keyed", 3, ValueError("no"), 1),  # it won't help
        ("idempotent", 2, ConnectionError(), 2),
    ],
)
async def test_nothing_is_tried_more_often_than_its_spec_permits(
    world: World, repeat: str, attempts: int, error: Exception, tried: int
) -> None:
    world.clock = type(world.clock)(jump=True)

    def body(*_: Any) -> str:
        raise error

    act = world.act(repeat=repeat, attempts=attempts, body=body)
    async with world.runtime(one(calls(act, "a"), act)) as runtime:
        assert (await runtime.run("app", principal="me")).status == "failed"
    assert len(world.done) == tried
    await world.holds()


# --- in doubt ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeat", ["idempotent", "keyed"])
async def test_what_may_be_repeated_runs_again_after_a_crash_with_the_same_key(world: World, repeat: str) -> None:
    act = world.act(body=crashing(2), repeat=repeat)
    graph = one(calls(act, "a"), act)
    run = await crash(world, graph)
    await crash(world, graph, run)
    async with world.runtime(graph) as runtime:
        assert (await runtime.resume(run)).output == "did a"
    assert len(world.done) == 3
    assert len({effect.key for effect in world.done}) == 1
    assert [effect.attempt for effect in world.done] == [1, 2, 2]
    assert (await world.state(run)).spent.calls == 1
    await world.holds()


@pytest.mark.parametrize("ruling", ["approve", "deny", "expire"])
async def test_a_once_tool_that_was_begun_and_not_settled_is_never_run_again_by_guess(
    world: World, ruling: str
) -> None:
    act = world.act(body=crashing(1))
    graph = one(calls(act, "a"), act)
    run = await crash(world, graph)
    async with world.runtime(graph) as runtime:
        for _ in range(2):
            report = await runtime.resume(run)
            assert report.status == "waiting"
            assert len(report.reviews) == 1
            assert len(world.done) == 1
        opened = (await world.entries(f"review/{report.reviews[0]}"))[0].body
        assert (opened.queue, opened.in_doubt) == ("in-doubt", True)  # type: ignore[attr-defined]
        if ruling == "expire":
            world.clock.advance(31 * 86_400)
            again = await runtime.resume(run)
            assert again.status == "waiting"
            assert again.reviews != report.reviews
            assert len(world.done) == 1
            report = again
        await world.rule(report.reviews[0], approved=ruling != "deny", reason="I looked")
        end = await runtime.resume(run)
    if ruling == "deny":
        assert end.status == "failed"
        assert "given up: nobody knows whether it happened" in (await world.why(run))[0]
        assert len(world.done) == 1
    else:
        assert end.output == "did a"
        assert len(world.done) == 2
        assert len({effect.key for effect in world.done}) == 1
    await world.holds()


async def test_an_approval_to_run_again_is_used_once_too(world: World) -> None:
    act = world.act(body=crashing(2))
    graph = one(calls(act, "a"), act)
    run = await crash(world, graph)
    async with world.runtime(graph) as runtime:
        report = await runtime.resume(run)
        await world.rule(report.reviews[0])
    await crash(world, graph, run)
    async with world.runtime(graph) as runtime:
        again = await runtime.resume(run)
        assert again.status == "waiting"
        assert again.reviews != report.reviews
    assert len(world.done) == 2
    await world.holds()


@pytest.mark.parametrize("answer", ["happened", "has not", "fails", "unfit"])
async def test_a_once_tool_with_a_probe_is_asked_whether_it_happened(world: World, answer: str) -> None:
    asked: list[str] = []

    async def probe(invocation: Invocation, what: str, amount: int) -> object:
        asked.append(invocation.key)
        if answer == "fails":
            raise OSError("down")
        return {"happened": "it did", "has not": NOT_DONE, "unfit": 7}[answer]

    act = world.act(body=crashing(1), probe=probe)
    graph = one(calls(act, "a"), act)
    run = await crash(world, graph)
    async with world.runtime(graph) as runtime:
        report = await runtime.resume(run)
    assert asked == [world.done[0].key]
    if answer in ("fails", "unfit"):
        assert report.status == "waiting"
        assert len(world.done) == 1
    else:
        assert report.output == ("it did" if answer == "happened" else "did a")
        assert len(world.done) == (1 if answer == "happened" else 2)
    await world.holds()


@pytest.mark.parametrize("sync", [False, True])
async def test_a_once_tool_that_times_out_is_in_doubt_and_never_run_again(world: World, sync: bool) -> None:
    loop = asyncio.get_running_loop()
    let_go = threading.Event()

    @tool(effect="commit", repeat="once", labels={}, timeout=5)
    def blocks(what: str) -> str:
        loop.call_soon_threadsafe(world.clock.advance, 6)
        let_go.wait(20)
        world.done.append(what)  # type: ignore[arg-type]
        return "late"

    async def forever(*_: Any) -> str:
        loop.call_soon(world.clock.advance, 6)
        await asyncio.Event().wait()
        return "never"

    act: Any = blocks if sync else world.act(body=forever, timeout=5)
    async with world.runtime(one(calls(act, "a"), act)) as runtime:
        report = await runtime.run("app", principal="me")
        assert report.status == "waiting"
        let_go.set()
        assert (await runtime.resume(report.run)).reviews == report.reviews
    assert len(world.done) == 1
    await world.holds()


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("repeat", ["keyed", "once"])
async def test_an_effect_whose_settlement_could_not_be_written_is_in_doubt_or_done_and_never_guessed(
    world: World, faults: Faults, persisted: bool, repeat: str
) -> None:
    act = world.act(repeat=repeat)
    graph = one(calls(act, "a"), act)
    async with world.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
        faults.arm("call.settled", persisted=persisted)
        with pytest.raises(JournalError):
            await runtime.resume(run)
        report = await runtime.resume(run)
    if persisted:
        assert (report.output, len(world.done)) == ("did a", 1)
    elif repeat == "keyed":
        assert (report.output, len(world.done)) == ("did a", 2)
        assert len({effect.key for effect in world.done}) == 1
    else:
        assert (report.status, len(world.done)) == ("waiting", 1)
    await world.holds()


KINDS = ["run.owned", "task.started", "call.decided", "call.rejected", "call.recorded", "call.settled",
         "task.finished", "task.skipped", "task.expanded", "run.finished"]  # fmt: skip


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_each_write_may_fail_persisted_or_not_and_the_run_goes_on_from_what_the_journal_holds(
    world: World, faults: Faults, kind: str, persisted: bool
) -> None:
    act = world.act(repeat="keyed")

    async def many(ctx: Context) -> list[str]:
        ctx.uuid()
        try:
            await ctx.call(act, amuont=1)  # type: ignore[call-arg]
        except Exception:  # noqa: BLE001
            return ["a", "b"]
        return []

    async def work(ctx: Context, what: str) -> str:
        return await ctx.call(act, what=what)

    async def fails(ctx: Context) -> None:
        raise ValueError

    async def never(ctx: Context, input: None) -> None:
        return None

    graph = Graph(
        "app",
        [Task("many", many), Task("work", work, over="many"), Task("fails", fails), Task("never", never, "fails")],
        tools=[act],
    )
    async with world.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
        faults.arm(kind, persisted=persisted)
        try:
            report = await runtime.resume(run)
        except JournalError:
            report = await runtime.resume(run)
    assert faults.fired == 1
    assert (report.status, report.failed) == ("failed", ("fails", "never"))
    assert sorted({effect.what for effect in world.done}) == ["a", "b"]
    assert len({effect.key for effect in world.done}) == 2
    assert (await world.state(run)).spent.calls == 2
    await world.holds()


# --- what others' code may do -----------------------------------------------------------------------------


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Surrogate(Exception):
    def __str__(self) -> str:
        return "a\ud800z"


WEIRD: dict[str, Callable[[], BaseException]] = {
    "cancelled": asyncio.CancelledError,
    "unprintable": Unprintable,
    "surrogate": Surrogate,
    "huge": lambda: ValueError("x" * 1_000_000),
    "silent": ValueError,
    "stop": StopIteration,
    "stop async": StopAsyncIteration,
    "generator exit": lambda: ValueError("a\x00b"),
    "long name": type("N" * 100_000, (Exception,), {}),
    "ours": lambda: Denied("I deny it"),
    "journal": lambda: JournalError("not yours to raise"),
    "mismatch": lambda: RunError("not yours to raise"),
    "group": lambda: ExceptionGroup("both", [ValueError("a"), KeyError("b")]),
    "recursion": RecursionError,
}


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("make", WEIRD.values(), ids=WEIRD)
async def test_a_tool_may_raise_what_it_likes_and_it_is_settled_and_told(
    world: World, make: Callable[[], BaseException], sync: bool
) -> None:
    async def raises(*_: Any) -> str:
        raise make()

    @tool(name="act", effect="commit", repeat="once", labels={})
    def blocking(what: str) -> str:
        raise make()

    act: Any = blocking if sync else world.act(body=raises)
    caught: list[ToolFailed] = []

    async def agent(ctx: Context) -> str:
        for _ in range(2):
            try:
                await ctx.call(act, what="a")
            except ToolFailed as error:
                caught.append(error)
        return "went on"

    async with world.runtime(one(agent, act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert (report.output, len(caught)) == ("went on", 2)
    assert len(str(caught[0])) < 3_000
    assert caught[0].cause
    await world.holds()


@pytest.mark.parametrize("make", WEIRD.values(), ids=WEIRD)
async def test_an_agent_may_raise_what_it_likes_and_its_task_has_failed(
    world: World, make: Callable[[], BaseException]
) -> None:
    act = world.act()

    async def agent(ctx: Context) -> str:
        raise make()

    async with world.runtime(one(agent, act)) as runtime:
        if isinstance(make(), (JournalError, RunError)):
            with pytest.raises(type(make())):  # whoever raises these stops the run, and it can be resumed
                await runtime.run("app", principal="me")
            return
        report = await runtime.run("app", principal="me")
    assert report.failed == ("work",)
    assert len((await world.why(report.run))[0]) <= 2_000
    await world.holds()


UNFIT: list[tuple[Any, Any]] = [
    (int, "7"), (str, 7), (str, "\ud800"), (float, float("nan")), (list[int], [1, "2"]), (int, 2**60),
    (dict[str, int], {1: 2}), (str, object()), (None, 1),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value"), UNFIT, ids=[f"{a}-{type(v).__name__}" for a, v in UNFIT])
async def test_a_result_that_does_not_fit_is_lost_and_the_agent_is_told_that_it_happened(
    world: World, annotation: Any, value: Any
) -> None:
    async def gives(what: str):  # type: ignore[no-untyped-def]
        return value

    gives.__annotations__["return"] = annotation
    act = tool(effect="read", repeat="idempotent", labels={})(gives)

    async def agent(ctx: Context) -> str:
        with pytest.raises(ResultLost, match="ran, and what it did is done, but its result can't be had") as caught:
            await ctx.call(act, what="a")
        return caught.value.cause

    async with world.runtime(one(agent, act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert (report.output, await world.why(report.run)) == ("ResultLost", [])
    assert (await world.state(report.run)).settled.get(act.name) == 1
    await world.holds()


async def test_what_an_agent_gets_is_the_same_live_and_replayed(world: World) -> None:
    @tool(effect="read", repeat="idempotent", labels={})
    def gives(what: str) -> tuple[float, list[int], datetime, dict[int, float]]:
        return 1.0, [3, 1, 2], datetime(2026, 1, 1), {1: 1e16}

    world.policy({"id": "read", "allow": "tool.name == 'gives'"}, {"id": "ask", "escalate": "tool.name == 'act'"})
    act = world.act()
    seen: list[Any] = []

    async def agent(ctx: Context) -> float:
        seen.append(await ctx.call(gives, what="a"))
        await ctx.call(act)
        return 1e16

    async def then(ctx: Context, input: float) -> list[float]:
        return [input, 2e20]

    graph = Graph("app", [Task("work", agent), Task("then", then, "work")], tools=[gives, act])
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        await world.rule(report.reviews[0])
        report = await runtime.resume(report.run)
    assert report.output == [1e16, 2e20]
    assert repr(seen[0]) == repr(seen[1])
    assert type(seen[0][0]) is float
    await world.holds()


async def test_a_sync_tool_does_not_block_the_loop(world: World) -> None:
    entered, leave = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @tool(effect="read", repeat="idempotent", labels={})
    def slow(what: str) -> str:
        loop.call_soon_threadsafe(entered.set)
        assert leave.wait(30)  # only a loop that runs can set it
        return threading.current_thread().name

    async with world.runtime(one(calls(slow, "a"), slow)) as runtime:
        driving = asyncio.ensure_future(runtime.run("app", principal="me"))
        await entered.wait()
        leave.set()
        assert (await driving).output != threading.current_thread().name


# --- replay -----------------------------------------------------------------------------------------------


async def test_time_uuids_and_random_numbers_are_the_same_when_an_agent_runs_again(world: World) -> None:
    world.policy(escalate="true")
    act = world.act()
    seen: list[Any] = []

    async def agent(ctx: Context) -> None:
        seen.append((ctx.now(), ctx.uuid(), ctx.random(), ctx.run, ctx.task, ctx.principal))
        await ctx.call(act)

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    world.clock.advance(100)
    await world.rule(report.reviews[0])
    async with world.runtime(graph) as runtime:
        await runtime.resume(report.run)
    first, second = seen
    assert first == second
    assert isinstance(first[0], datetime)
    assert isinstance(first[1], uuid.UUID)
    assert 0 <= first[2] < 1
    await world.holds()


AFTERWARDS: dict[str, tuple[Callable[[Context, Any], Awaitable[Any]], str]] = {}


def afterwards(words: str) -> Callable[[Any], Any]:
    def keep(function: Any) -> Any:
        AFTERWARDS[function.__name__.replace("_", " ")] = function, words
        return function

    return keep


@afterwards('-args.what: "a"')
async def other_arguments(ctx: Context, act: Any) -> None:
    await ctx.call(act, what="x")
    ctx.now()
    await ctx.call(act, what="b", amount=1)


@afterwards("-tool: act")
async def another_tool(ctx: Context, act: Any) -> None:
    await ctx.call(ctx_other(ctx), what="a")


@afterwards("-tool: act")
async def something_recorded_instead(ctx: Context, act: Any) -> None:
    ctx.now()


@afterwards("-recorded: now")
async def a_call_instead_of_something_recorded(ctx: Context, act: Any) -> None:
    await ctx.call(act, what="a")
    await ctx.call(act, what="b", amount=1)


@afterwards("-recorded: now")
async def other_recorded(ctx: Context, act: Any) -> None:
    await ctx.call(act, what="a")
    ctx.uuid()


@afterwards("work#0")
async def nothing_at_all(ctx: Context, act: Any) -> None:
    return None


@afterwards("work#2")
async def a_call_dropped_at_the_end(ctx: Context, act: Any) -> None:
    await ctx.call(act, what="a")
    ctx.now()


@afterwards("+error")
async def arguments_that_do_not_fit(ctx: Context, act: Any) -> None:
    await ctx.call(act, what=7)


@afterwards("work#0")
async def fewer_calls_and_an_error(ctx: Context, act: Any) -> None:
    raise ValueError


_OTHER: list[Any] = []


def ctx_other(_: Context) -> Any:
    return _OTHER[-1]


@pytest.mark.parametrize("name", list(AFTERWARDS))
async def test_an_agent_that_no_longer_does_what_the_journal_says_is_stopped_with_a_diff_and_executes_nothing(
    world: World, name: str
) -> None:
    world.policy({"id": "ask", "escalate": "args.amount == 1"}, {"id": "rest", "allow": "args.amount != 1"})
    act, other = world.act(), world.act("other")
    _OTHER.append(other)

    async def before(ctx: Context) -> None:
        await ctx.call(act, what="a")
        ctx.now()
        await ctx.call(act, what="b", amount=1)

    now, words = AFTERWARDS[name]

    async def after(ctx: Context) -> None:
        try:
            await now(ctx, act)
        except ValueError:
            raise
        except Exception:  # an agent that swallows everything changes nothing  # noqa: BLE001
            return

    agent: list[Any] = [before]

    async def agents(ctx: Context) -> None:
        await agent[0](ctx)

    graph = one(agents, act, other)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        await world.rule(report.reviews[0])
        agent[0] = after
        with pytest.raises(ReplayMismatch) as caught:
            await runtime.resume(report.run)
        assert words in str(caught.value)
        assert "nothing was executed" in str(caught.value)
        assert world.did == ["a"]
        agent[0] = before  # with the old code it goes on
        assert (await runtime.resume(report.run)).status == "done"
    assert world.did == ["a", "b"]
    await world.holds()


async def test_calls_beyond_those_of_the_journal_are_the_frontier(world: World) -> None:
    world.policy({"id": "ask", "escalate": "args.amount == 1"}, {"id": "rest", "allow": "args.amount != 1"})
    act = world.act()
    whats = ["a"]

    async def agent(ctx: Context) -> None:
        await ctx.call(act, amount=1)
        for what in whats:
            await ctx.call(act, what=what)

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        await world.rule(report.reviews[0])
        whats.append("b")
        assert (await runtime.resume(report.run)).status == "done"
    assert world.did == ["it", "a", "b"]


async def test_a_finished_task_is_never_run_again(world: World) -> None:
    world.policy({"id": "ask", "escalate": "args.amount == 1"}, {"id": "rest", "allow": "args.amount != 1"})
    act = world.act()
    ran: list[str] = []

    async def first(ctx: Context) -> str:
        ran.append("first")
        return await ctx.call(act, what="a")

    async def second(ctx: Context, input: str) -> str:
        ran.append("second")
        return input + await ctx.call(act, what="b", amount=1)

    graph = Graph("app", [Task("first", first), Task("second", second, after="first")], tools=[act])
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        await world.rule(report.reviews[0])
    async with world.runtime(graph) as runtime:
        report = await runtime.resume(report.run)
        assert (await runtime.resume(report.run)) == report
    assert report.output == "did adid b"
    assert ran == ["first", "second", "second"]


async def test_a_run_is_only_resumed_on_the_graph_it_was_started_on(world: World) -> None:
    world.policy(escalate="true")
    act = world.act()
    async with world.runtime(one(calls(act, "a"), act)) as runtime:
        report = await runtime.run("app", principal="me")
    graph = Graph("app", [Task("work", calls(act, "a")), Task("more", calls(act, "b"))], tools=[act])
    async with world.runtime(graph) as runtime:
        with pytest.raises(RunError, match="another version of graph"):
            await runtime.resume(report.run)
        with pytest.raises(UnknownId):
            await runtime.resume("nosuchrun")
        with pytest.raises(UnknownId, match="no graph `nope`"):
            await runtime.start("nope", principal="me")


# --- the context ------------------------------------------------------------------------------------------


async def test_two_calls_of_one_context_at_once_are_a_misuse_and_neither_is_lost(world: World) -> None:
    act = world.act(body=lambda *_: asyncio.sleep(0))

    async def agent(ctx: Context) -> list[str]:
        outcomes = await asyncio.gather(*(ctx.call(act, what=what) for what in "abc"), return_exceptions=True)
        return [type(outcome).__name__ for outcome in outcomes]

    async with world.runtime(one(agent, act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.output == ["str", "Misuse", "Misuse"]
    assert world.did == ["a"]


async def test_a_context_that_waits_records_nothing_either(world: World) -> None:
    act = world.act(body=lambda *_: asyncio.sleep(0))

    async def agent(ctx: Context) -> bool:
        call = asyncio.ensure_future(ctx.call(act))
        await asyncio.sleep(0)
        for use in (ctx.now, ctx.uuid, ctx.random):
            with pytest.raises(Misuse):
                use()
        with pytest.raises(Misuse):
            await ctx.branches()
        await call
        return True

    async with world.runtime(one(agent, act)) as runtime:
        assert (await runtime.run("app", principal="me")).output is True


async def test_what_is_not_a_tool_is_a_misuse(world: World) -> None:
    act = world.act()

    async def agent(ctx: Context) -> str:
        with pytest.raises(Misuse, match="make one with `@tool`"):
            await ctx.call(act.function, what="a")
        return "refused"

    async with world.runtime(one(agent, act)) as runtime:
        assert (await runtime.run("app", principal="me")).output == "refused"
    assert world.done == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_branches_are_numbered_by_their_place_and_never_by_their_timing(
    world: World, order: tuple[int, ...]
) -> None:
    act = world.act()
    turns = [asyncio.Event() for _ in range(4)]
    turns[order[0]].set()

    async def agent(ctx: Context) -> list[str]:
        async def branch(ctx: Context, index: int) -> str:
            await turns[index].wait()
            result = await ctx.call(act, what=f"{index}")
            result += (await ctx.branches(lambda ctx: ctx.call(act, what=f"{index}.0")))[0]
            after = order.index(index) + 1
            if after < 3:
                turns[order[after]].set()
            return result

        await ctx.call(act, what="before")
        found = await ctx.branches(*(lambda ctx, index=index: branch(ctx, index) for index in range(3)))
        await ctx.call(act, what="after")
        return found

    async with world.runtime(one(agent, act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.output == ["did 0did 0.0", "did 1did 1.0", "did 2did 2.0"]
    assert [effect.what for effect in world.done if effect.what.isdigit()] == [str(index) for index in order]
    async with await Journal.open(world.url, keys=world.keys) as journal:
        payloads = await journal.payloads(f"run/{report.run}")
    state = await world.state(report.run)
    names = {id: json.loads(payloads[state.calls[id].seq, "/args/what"].value) for id in state.calls}
    assert names == {
        "work#0": "before",
        "work#1.0.0": "0", "work#1.0.1.0.0": "0.0",
        "work#1.1.0": "1", "work#1.1.1.0.0": "1.0",
        "work#1.2.0": "2", "work#1.2.1.0.0": "2.0",
        "work#2": "after",
    }  # fmt: skip
    await world.holds()


async def test_branches_go_on_to_their_end_before_the_first_error_is_raised(world: World) -> None:
    act = world.act(body=lambda *_: asyncio.sleep(0))

    async def agent(ctx: Context) -> str:
        async def fails(ctx: Context) -> str:
            raise ValueError("first")

        async def cancels(ctx: Context) -> str:
            raise asyncio.CancelledError

        with pytest.raises(ValueError, match="first"):
            await ctx.branches(lambda ctx: ctx.call(act), fails, lambda ctx: ctx.call(act))
        with pytest.raises(RuntimeError, match="cancelled itself"):
            await ctx.branches(cancels, lambda ctx: ctx.call(act))
        assert await ctx.branches() == []
        return "ok"

    async with world.runtime(one(agent, act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert (report.output, await world.why(report.run)) == ("ok", [])
    assert len(world.done) == 3


async def test_branches_that_wait_wait_together_and_are_answered_each_for_itself(world: World) -> None:
    world.policy({"id": "ask", "escalate": "args.amount > 0"}, {"id": "rest", "allow": "args.amount == 0"})
    act = world.act()

    async def agent(ctx: Context) -> list[str]:
        async def branch(ctx: Context, amount: int) -> str:
            try:
                return await ctx.call(act, what=str(amount), amount=amount)
            except Denied:
                return "denied"

        return await ctx.branches(*(lambda ctx, n=n: branch(ctx, n) for n in range(3)))

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        assert len(report.reviews) == 2
        assert world.did == ["0"]
        state = await world.state(report.run)
        first = next(id for id in report.reviews if id in state.calls["work#0.1.0"].reviews)
        await world.rule(first, approved=False)
        report = await runtime.resume(report.run)
        assert report.status == "waiting"
        await world.rule(report.reviews[0])
        report = await runtime.resume(report.run)
    assert report.output == ["did 0", "denied", "did 2"]
    assert world.did == ["0", "2"]
    await world.holds()


@pytest.mark.parametrize("how", ["swallows", "finally", "returns", "raises", "loops"])
async def test_a_parked_agent_that_does_not_let_go_has_no_effect(world: World, how: str) -> None:
    world.policy({"id": "ask", "escalate": "args.amount == 1"}, {"id": "rest", "allow": "args.amount != 1"})
    act = world.act()

    async def agent(ctx: Context) -> str:
        try:
            return await ctx.call(act, what="asked", amount=1)
        except asyncio.CancelledError:
            if how == "returns":
                return "early"
            if how == "raises":
                raise ValueError("early") from None
            for _ in range(5 if how == "loops" else 1):
                with suppress(asyncio.CancelledError):
                    await ctx.call(act, what="sneaked")
            if how == "loops":
                try:
                    ctx.now()
                except asyncio.CancelledError:
                    await ctx.branches(lambda ctx: ctx.call(act, what="sneaked"))
            return "early"
        finally:
            if how == "finally":
                await ctx.call(act, what="cleaned up")

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        assert report.status == "waiting"
        assert world.done == []
        assert (await runtime.resume(report.run)).status == "waiting"
        await world.rule(report.reviews[0])
        report = await runtime.resume(report.run)
    assert report.output == "did asked"
    assert world.did == ["asked", "cleaned up"] if how == "finally" else ["asked"]
    await world.holds()


@pytest.mark.parametrize("how", ["wait_for", "background"])
async def test_a_call_that_its_agent_walks_away_from_is_not_forgotten(world: World, how: str) -> None:
    """The agent gives up on a call under way: nothing may finish as if it had not been begun."""
    begun, never = asyncio.Event(), asyncio.Event()

    async def hangs(*_: Any) -> str:
        begun.set()
        await never.wait()
        return "never"

    act = world.act(body=hangs)
    tasks: list[Any] = []

    async def agent(ctx: Context) -> str:
        call = asyncio.ensure_future(ctx.call(act))
        await asyncio.wait({call, asyncio.ensure_future(begun.wait())}, return_when=asyncio.FIRST_COMPLETED)
        begun.clear()
        if how == "wait_for":
            call.cancel()
            await asyncio.wait([call])
        else:
            tasks.append(call)
        return "walked away"

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
        with pytest.raises(RunError, match="work#0"):
            await runtime.resume(run)
        for task in tasks:
            task.cancel()
        assert "task.finished" not in await world.kinds(run)
        report = await runtime.resume(run)  # from the top: the call is in doubt now
        assert report.status == "waiting"
    assert len(world.done) == 1
    await world.holds()


# --- graphs -----------------------------------------------------------------------------------------------


async def double(ctx: Context, item: int) -> int:
    if item < 0:
        raise ValueError(f"{item} is below zero")
    return 2 * item


def spread(items: Any) -> Any:
    async def agent(ctx: Context) -> Any:
        return items

    agent.__annotations__["return"] = Any
    return agent


async def total(ctx: Context, items: list[int]) -> int:
    return sum(items)


async def after_total(ctx: Context, item: int) -> int:
    return item


def mapped(items: Any, **options: Any) -> Graph:
    return Graph(
        "app",
        [
            Task("spread", spread(items)),
            Task("double", double, over="spread", **options),
            Task("total", total, after="double"),
            Task("end", after_total, after=["total"]),
        ],
    )


@pytest.mark.parametrize(("items", "output"), [([], 0), ([1], 2), (list(range(20)), 380)])
async def test_a_fan_out_gives_the_list_of_its_outputs_in_order(world: World, items: list[int], output: int) -> None:
    act = world.act()
    graph = Graph("app", mapped(items).tasks.values(), tools=[act])
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert (report.status, report.output) == ("done", output)
    await world.holds()


@pytest.mark.parametrize("items", [{"a": 1}, "abc", 7, None])
async def test_a_fan_out_over_what_is_no_list_fails_and_skips_what_needs_it(world: World, items: object) -> None:
    act = world.act()
    graph = Graph("app", mapped(items).tasks.values(), tools=[act])
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert (report.status, report.failed) == ("failed", ("double", "total", "end"))
    assert "no list" in (await world.why(report.run))[0]
    await world.holds()


async def test_one_failing_instance_fails_the_fan_out_after_all_others_ended(world: World) -> None:
    act = world.act()
    graph = Graph("app", mapped([1, -1, 3]).tasks.values(), tools=[act])
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert (report.status, report.failed) == ("failed", ("double", "total", "end"))
    state = await world.state(report.run)
    assert [state.tasks[f"double[{index}]"].status for index in range(3)] == ["done", "failed", "done"]
    assert [state.tasks[name].cause for name in ("total", "end")] == ["double failed", "total skipped"]
    await world.holds()


@pytest.mark.parametrize(("limit", "of_graph", "most"), [(1, 16, 1), (3, 16, 3), (None, 4, 4), (9, 2, 2)])
async def test_no_more_instances_run_at_once_than_the_limits_permit(
    world: World, limit: int | None, of_graph: int, most: int
) -> None:
    now, highest = 0, 0
    act = world.act()

    async def work(ctx: Context, item: int) -> int:
        nonlocal now, highest
        now += 1
        highest = max(highest, now)
        for _ in range(3):
            await asyncio.sleep(0)
        now -= 1
        return item

    tasks = [Task("spread", spread(list(range(20)))), Task("work", work, over="spread", limit=limit)]
    graph = Graph("app", tasks, tools=[act], limit=of_graph)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert report.output == list(range(20))
    assert highest == most


async def test_a_task_gets_what_it_depends_on(world: World) -> None:
    act = world.act()
    got: dict[str, object] = {}

    async def start(ctx: Context, input: dict[str, int]) -> int:
        got["start"] = input
        return 1

    async def idle(ctx: Context) -> None:
        return None

    async def both(ctx: Context, input: dict[str, Any]) -> object:
        got["both"] = input
        return input

    graph = Graph(
        "app",
        [Task("start", start), Task("idle", idle, after="start"), Task("both", both, ["start", "idle"])],
        tools=[act],
    )
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, {"a": 1}, principal="me")
    assert got == {"start": {"a": 1}, "both": {"start": 1, "idle": None}}
    assert report.output == got["both"]


@pytest.mark.parametrize("input", [float("nan"), {1: 2}, object(), "\ud800", 2**60, {"a": {1, object()}}])
async def test_an_input_without_a_json_form_starts_nothing(world: World, input: object) -> None:
    act = world.act()
    async with world.runtime(one(calls(act), act)) as runtime:
        if input == {1: 2}:
            return  # becomes {"1": 2}, as JSON has it
        with pytest.raises(BadInput):
            await runtime.start("app", input, principal="me")
        assert await runtime.journal.streams("run/") == []


async def test_five_hundred_instances_ask_the_kernel_a_few_times_each_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    real = kernel.next_commands

    def counting(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return real(*args)

    monkeypatch.setattr(kernel, "next_commands", counting)
    act = world.act()
    graph = Graph("app", [Task("spread", spread(list(range(500)))), Task("double", double, over="spread")], tools=[act])
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert report.status == "done"
    assert asked < 4 * 500
    assert len(await world.kinds(report.run)) == 3 + 1 + 2 * 500 + 1


# --- labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [2, 0])
async def test_labels_follow_what_was_read_into_every_later_decision_and_task(world: World, items: int) -> None:
    @tool(effect="read", repeat="idempotent", labels={"": ["untrusted"], "/x": ["pii"]})
    async def look(what: str) -> list[int]:
        return list(range(items))

    act = world.act()
    world.policy({"id": "all", "allow": "true"}, {"id": "leaks", "deny": "tool.name == 'act' && 'pii' in labels"})

    async def read(ctx: Context) -> list[int]:
        await ctx.call(act, what="before")
        return await ctx.call(look, what="a")

    async def pass_on(ctx: Context, item: int) -> int:
        return item

    async def write(ctx: Context, items: list[int]) -> str:
        with pytest.raises(Denied):
            await ctx.call(act, what="after")
        return "denied"

    graph = Graph(
        "app",
        [Task("read", read), Task("pass", pass_on, over="read"), Task("write", write, after="pass")],
        tools=[look, act],
    )
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert (report.output, await world.why(report.run)) == ("denied", [])
    assert world.did == ["before"]
    assert (await world.state(report.run)).tasks["write"].labels == ("pii", "untrusted")
    await world.holds()


async def test_labels_survive_a_resume(world: World) -> None:
    @tool(effect="read", repeat="idempotent")  # unstated: private, untrusted
    async def look(what: str) -> str:
        return "x"

    act = world.act()
    world.policy(
        {"id": "look", "allow": "tool.name == 'look'"},
        {"id": "ask", "escalate": "tool.name == 'act'"},
        {"id": "leaks", "tools": ["act"], "deny": "args.amount == 1 && 'private' in labels"},
    )

    async def agent(ctx: Context) -> str:
        await ctx.call(look, what="a")
        await ctx.call(act)
        with pytest.raises(Denied):
            await ctx.call(act, amount=1)
        return "ok"

    graph = one(agent, look, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        await world.rule(report.reviews[0])
    async with world.runtime(graph) as runtime:
        report = await runtime.resume(report.run)
    assert (report.output, await world.why(report.run)) == ("ok", [])
    await world.holds()


# --- owners and workers -----------------------------------------------------------------------------------


async def test_an_owner_that_was_superseded_stops_without_another_effect(world: World) -> None:
    act = world.act()

    async def agent(ctx: Context) -> None:
        await ctx.call(act, what="a")
        async with await Journal.open(world.url, keys=world.keys) as journal:  # somebody takes the run over
            entries = await journal.read(f"run/{ctx.run}")
            owned = seal(f"run/{ctx.run}", entries[-1].head, entries[-1].at, "b", Owned(2, "b"))
            await journal.append(Append((owned,)))
        try:
            await ctx.call(act, what="b")
        except Exception:  # noqa: BLE001
            await ctx.call(act, what="c")

    async with world.runtime(one(agent, act), worker="a") as runtime:
        with pytest.raises(OwnershipLost, match="taken over by b"):
            await runtime.run("app", principal="me")
    assert world.did == ["a"]


async def test_a_lease_keeps_others_away_until_it_lapses(world: World) -> None:
    act = world.act()
    graph = one(calls(act, "a"), act)
    async with world.runtime(graph, worker="a") as first, world.runtime(graph, worker="b") as second:
        run = await first.start(graph, principal="me")
        assert await first._leases.take(run, "a", world.clock.now().timestamp(), 15)
        with pytest.raises(OwnershipLost, match="another worker"):
            await second.resume(run)
        assert [report async for report in second.work(once=True)] == []
        world.clock.advance(15)
        assert [report.status async for report in second.work(once=True)] == ["done"]
    assert world.did == ["a"]


async def test_a_worker_picks_up_rulings_from_another_process(world: World) -> None:
    world.policy(escalate="true")
    act = world.act()
    graph = one(calls(act, "a"), act)
    async with world.runtime(graph) as runtime:
        await runtime.start(graph, principal="me")
        reports = runtime.work()
        first = await anext(reports)
        assert first.status == "waiting"
        following = asyncio.ensure_future(anext(reports))
        await asyncio.sleep(0)
        await world.rule(first.reviews[0])
        assert (await following).status == "done"
        await reports.aclose()
    assert world.did == ["a"]


async def test_a_worker_expires_what_nobody_ruled_on(world: World) -> None:
    world.policy(escalate="true")
    act = world.act()
    graph = one(calls(act, "a"), act)
    async with world.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
        assert [report.status async for report in runtime.work(once=True)] == ["waiting"]
        assert [report.status async for report in runtime.work(once=True)] == []
        world.clock.advance(3600)
        assert [report.status async for report in runtime.work(once=True)] == ["failed"]
    assert (await world.state(run)).calls["work#0"].because == "expired"
    assert world.done == []


@pytest.mark.parametrize("where", ["agent", "keyed tool"])
async def test_a_run_that_ends_its_owners_again_and_again_is_left_alone(world: World, where: str) -> None:
    act = world.act(repeat="keyed", body=crashing(1_000))

    async def agent(ctx: Context) -> None:
        if where == "agent":
            raise Crash
        await ctx.call(act)

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
    crashes = 0
    for _ in range(2 * FRUITLESS):
        async with world.runtime(graph) as runtime:
            try:
                assert [report async for report in runtime.work(once=True)] == []
            except Crash:
                crashes += 1
    # The first owner made some progress: the task started, the call was intended.
    assert crashes == FRUITLESS + 1
    assert len({effect.key for effect in world.done}) <= 1
    assert (await world.state(run)).status == "running"
    async with world.runtime(graph) as runtime:
        assert [row.status for row in await runtime.projections.runs()] == ["quarantined"]


async def test_one_run_that_can_not_go_on_does_not_keep_a_worker_from_the_others(world: World) -> None:
    world.policy(escalate="true")
    act = world.act()
    graph = one(calls(act, "a"), act)
    async with world.runtime(graph) as runtime:
        reports = [await runtime.run(graph, principal="me") for _ in range(3)]
        for report in reports:
            await world.rule(report.reviews[0])
        broken, rewritten, _ = reports
        world.sql(
            "UPDATE payloads SET value = CAST('\"b\"' AS BLOB) WHERE path = '/args/what' AND stream_id = "
            f"(SELECT id FROM streams WHERE name = 'run/{broken.run}')",
            "UPDATE entries SET hash = zeroblob(32) WHERE seq = 1 AND stream_id = "
            f"(SELECT id FROM streams WHERE name = 'run/{rewritten.run}')",
        )
        assert [report.status async for report in runtime.work(once=True)] == ["done"]
        for report in (broken, rewritten):
            with pytest.raises(Tampered):
                await runtime.resume(report.run)
    assert world.did == ["a"]


async def test_two_runtimes_of_other_apps_share_a_store_and_the_export_holds(world: World) -> None:
    first, second = world.act("first"), world.act("second")
    world.policy(allow="args.amount < 5")
    one_, two = one(calls(first, "a"), first, name="one"), one(calls(second, "b"), second, name="two")
    async with world.runtime(one_) as a, world.runtime(two) as b:
        await a.run("one", principal="me")
        await b.run("two", principal="me")
        await a.run("one", principal="me")
        assert [report async for report in b.work(once=True)] == []
    assert world.did == ["a", "b", "a"]
    assert (await world.holds()).decisions == 3


def test_a_name_means_one_thing(world: World) -> None:
    act, other = world.act(), world.act(timeout=3)
    with pytest.raises(GraphError, match="two different tools are called `act`"):
        world.runtime(one(calls(act), act), one(calls(other), other, name="b"))
    with pytest.raises(GraphError, match="two different graphs are called `app`"):
        world.runtime(one(calls(act), act), one(calls(act), act))


async def test_facts_are_what_a_provider_said_and_are_recorded(world: World) -> None:
    act = world.act()
    asked: list[FactRequest] = []

    @fact(tools=[act])
    async def limit(request: FactRequest) -> float:
        asked.append(request)
        return 1e16

    world.policy(allow="args.amount < facts.limit")
    async with world.runtime(one(calls(act, "a", amount=3), act, facts=[limit])) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.status == "done"
    assert (asked[0].tool, asked[0].args, asked[0].principal) == ("act", {"what": "a", "amount": 3}, "me")
    found = await world.bodies(report.run, "call.decided")
    assert found[0].verdict.outcome is Outcome.ALLOW
    assert (await world.holds()).decisions == 1


async def test_a_run_whose_output_was_erased_is_done_all_the_same(world: World) -> None:
    act = world.policy(allow="true").act()

    async def agent(ctx: Context) -> str:
        return await ctx.call(act)

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        await erase(runtime.journal, world.clock, Selection(run=report.run), by="ann", reason="asked for")
        again = await runtime.resume(report.run)
    assert (report.output, again.status, again.output) == ("did it", "done", None)
    assert len(world.done) == 1
