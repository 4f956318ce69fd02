"""Whatever a tool, an agent or a fact provider raises is its failure: the worker goes on, and says where it came up."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from worlds import World, one

from remit import Context, FactRequest, Invocation, ToolFailed, fact, tool
from remit.runtime.outside import Escaped, cause, in_task_of_its_own, place_of, traceback_of
from remit.runtime.stalls import watched


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(allow="true")


class Odd(BaseException):
    """What some libraries raise so that `except Exception` doesn't catch it."""


async def leaks() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancels_a_scope_outside() -> None:
    raise asyncio.CancelledError("of a library")


WAYS: dict[str, Any] = {
    "SystemExit": SystemExit(0),
    "SystemExit 3": SystemExit(3),
    "GeneratorExit": GeneratorExit(),
    "StopIteration": StopIteration(),
    "Odd": Odd("odd"),
    "group": BaseExceptionGroup("several", [SystemExit(1), ValueError("x")]),
    "cancelled": asyncio.CancelledError("of a library"),
    "leaked": leaks,
    "ValueError": ValueError("plain"),
}


async def does(way: str) -> None:
    found = WAYS[way]
    if isinstance(found, BaseException):
        raise found
    await found()


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_a_tool_raises_is_its_failure_and_the_worker_goes_on(world: World, way: str) -> None:
    async def body(*_: Any) -> str:
        await does(way)
        return "not reached"

    bad, good = world.act("bad", body=body), world.act("good")

    async def agent(ctx: Context) -> str:
        with pytest.raises(ToolFailed) as caught:
            await ctx.call(bad)
        assert str(caught.value)
        return await ctx.call(good)

    graph = one(agent, bad, good)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        again = await runtime.run(graph, principal="me")
    assert (report.output, again.output) == ("did it", "did it")
    await world.holds()


@pytest.mark.parametrize("way", [way for way in WAYS if way != "leaked"])
async def test_whatever_a_sync_tool_raises_is_its_failure(world: World, way: str) -> None:
    @tool(labels={})
    def bad() -> str:
        raise WAYS[way]

    async def agent(ctx: Context) -> str:
        with pytest.raises(ToolFailed) as caught:
            await ctx.call(bad)
        return caught.value.cause

    graph = one(agent, bad)
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).output


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_an_agent_raises_fails_its_task_and_the_worker_goes_on(world: World, way: str) -> None:
    async def bad(ctx: Context) -> str:
        await does(way)
        return "not reached"

    graph = one(bad, world.act())
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        assert report.status == "failed"
        (failure,) = report.errors
        assert failure.task == "work" and failure.message
        assert failure.place.rpartition(":")[0].endswith("test_escaping.py")
        assert (await runtime.run(graph, principal="me")).status == "failed"
    await world.holds()


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_a_fact_provider_raises_its_fact_is_absent(world: World, way: str) -> None:
    act = world.act()

    @fact(tools=[act])
    async def spoilt(request: FactRequest) -> bool:
        await does(way)
        return True

    async def agent(ctx: Context) -> str:
        return await ctx.call(act)

    graph = one(agent, act, facts=[spoilt])
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).output == "did it"


async def test_a_scope_that_a_library_cancels_and_leaves_as_it_should_is_no_failure(world: World) -> None:
    async def body(*_: Any) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task.uncancel()
        return "left it"

    act = world.act(body=body)

    async def agent(ctx: Context) -> str:
        return await ctx.call(act)

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).output == "left it"


async def test_a_tool_that_does_not_let_itself_be_cancelled_holds_up_nobody_past_its_timeout(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.runtime.outside._GRACE", 0.01)
    never = asyncio.Event()

    @tool(labels={}, timeout=5, repeat="idempotent", effect="read")
    async def stubborn() -> str:
        world.clock.advance(6)
        while not never.is_set():
            try:
                await never.wait()
            except asyncio.CancelledError:
                continue
        return "at last"

    async def agent(ctx: Context) -> str:
        try:
            return await ctx.call(stubborn)
        except ToolFailed as error:
            return error.cause

    graph = one(agent, stubborn)
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, principal="me")).output == "TimeoutError"
        never.set()
        await asyncio.sleep(0)


async def test_the_traceback_is_in_the_log_and_never_in_the_journal(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "remit")
    act = world.act(body=lambda *_: {}["no such key"])

    async def agent(ctx: Context) -> str:
        return await ctx.call(act)

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    tool_failed = next(record for record in caplog.records if "tool failed" in record.getMessage())
    assert "Traceback" in tool_failed.remit_fields["traceback"]  # type: ignore[attr-defined]
    assert "line" in tool_failed.remit_fields["traceback"]  # type: ignore[attr-defined]
    assert tool_failed.remit_fields["at"].rpartition(":")[0].endswith("test_escaping.py")  # type: ignore[attr-defined]
    async with world.runtime(graph) as runtime:
        found = await runtime.journal.payloads(f"run/{report.run}")
    assert not any(b"Traceback" in payload.value or b".py" in payload.value for payload in found.values())
    assert report.errors[0].cause == "ToolFailed" and "KeyError" in report.errors[0].message


async def test_a_secret_is_in_no_traceback(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "remit")

    @tool(labels={}, secrets=["TOKEN"])
    def leaky(invocation: Invocation) -> str:
        raise RuntimeError(f"refused {invocation.secrets['TOKEN']}")

    async def agent(ctx: Context) -> str:
        return await ctx.call(leaky)

    from remit import Runtime

    graph = one(agent, leaky)
    async with Runtime(
        graph, store=world.url, policies=world.policies, keys=world.keys, ambient=world.clock,
        secrets={"TOKEN": "s3cr3t-of-the-bank"},
    ) as runtime:  # fmt: skip
        await runtime.run(graph, principal="me")
    assert "Traceback" in caplog.text and "s3cr3t-of-the-bank" not in caplog.text


async def test_a_tool_that_blocks_the_loop_is_named_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.runtime.app.watched", lambda loop: watched(loop, 0.01))
    told = threading.Event()

    class Tells(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "event loop is blocked" in record.getMessage() and "tool blocks" in record.getMessage():
                told.set()

    logger = logging.getLogger("remit.runtime.stalls")
    handler = Tells()
    logger.addHandler(handler)

    async def blocks() -> str:
        assert told.wait(60)
        return "told"

    act = tool(name="blocks", labels={})(blocks)

    async def agent(ctx: Context) -> str:
        return await ctx.call(act)

    graph = one(agent, act)
    try:
        async with world.runtime(graph) as runtime:
            assert (await runtime.run(graph, principal="me")).output == "told"
    finally:
        logger.removeHandler(handler)


async def test_the_place_is_the_users_own_frame() -> None:
    try:
        json.loads("{")
    except ValueError as error:
        assert place_of(error).rpartition(":")[0].endswith("test_escaping.py")
    try:
        await in_task_of_its_own("x", lambda: does("SystemExit 3"))
    except Escaped as escaped:
        assert (cause(escaped), str(escaped)) == ("SystemExit", "it called sys.exit(3)")
        assert place_of(escaped).rpartition(":")[0].endswith("test_escaping.py")
        assert "SystemExit: 3" in traceback_of(escaped)
    assert place_of(ValueError("never raised")) == ""
