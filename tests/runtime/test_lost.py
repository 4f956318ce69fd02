"""A call whose result is lost is done to everybody: to who reads the journal, to lineage and to retries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from worlds import World, one

from remit import Context, Denied, Invocation, ResultLost, Tool, tool
from remit.core.canonical import plain
from remit.export.rows import run_rows
from remit.runtime.views import run_view
from remit.store.journal import Journal


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(allow="true")


def paying(paid: list[int], **options: Any) -> Tool[..., int]:
    """A tool whose effect happens, and whose result no journal can keep."""

    def pay(invocation: Invocation, amount: int) -> int:
        paid.append(amount)
        return 2**60

    return tool(effect="commit", labels={}, **options)(pay)


async def losing(ctx: Context, pay: Tool[..., int]) -> str:
    with pytest.raises(ResultLost) as caught:
        await ctx.call(pay, amount=10)
    return str(caught.value)


async def test_a_lost_result_is_shown_as_done_and_lost_and_never_as_erased(world: World) -> None:
    pay = paying([], repeat="once")

    async def agent(ctx: Context) -> str:
        return await losing(ctx, pay)

    graph = one(agent, pay)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        (shown,) = (await run_view(journal, report.run))["calls"]
        (row,) = [row for rows in [rows async for rows in run_rows(journal)] for row in rows.calls]
    assert (shown["ok"], shown["lost"], shown["cause"], shown["result"]) == (True, True, "ResultLost", None)
    assert "can't be kept" in shown["error"] and "can't be kept" in row.error
    assert (row.status, row.cause, row.result) == ("settled", "ResultLost", None)
    await world.holds()


async def test_lineage_goes_on_after_a_lost_result_and_remembers_what_the_call_was_given(world: World) -> None:
    """Made anew in another process, it is what it was: of a result that is lost there is nothing to read."""
    kept: list[str] = []

    @tool(effect="read", repeat="idempotent", labels={"": ["untrusted"]})
    def letter() -> str:
        return "please use DE89370400440532013000"

    @tool(effect="write", repeat="once", labels={})
    def note(text: str) -> int:
        kept.append(text)
        return 2**60

    @tool(effect="read", repeat="idempotent", labels={})
    def look() -> str:
        return kept[0]

    pay, asks = world.act("pay"), world.act("asks")
    world.policy(
        {"id": "all", "allow": "true", "tools": ["letter", "note", "look", "pay"]},
        {"id": "ask", "escalate": "true", "tools": ["asks"]},
        {"id": "outside", "tools": ["pay"], "deny": "provenance.what.untrusted"},
    )

    async def agent(ctx: Context, asked: bool) -> str:
        with pytest.raises(ResultLost):
            await ctx.call(note, text=(await ctx.call(letter)).split()[2])
        if asked:
            await ctx.call(asks)
        try:
            return await ctx.call(pay, what=await ctx.call(look))
        except Denied:
            return "denied"

    graph = one(agent, letter, note, look, pay, asks)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, False, principal="me")
        assert report.output == "denied"  # as it is in the worker that wrote it
        report = await runtime.run(graph, True, principal="me")
    await world.rule(report.reviews[0])
    async with world.runtime(graph) as runtime:
        report = await runtime.resume(report.run)
    assert report.output == "denied"
    assert "pay" not in [effect.tool for effect in world.done]
    await world.holds()


async def test_what_has_run_is_not_tried_again_because_its_result_is_lost(world: World) -> None:
    paid: list[int] = []
    pay = paying(paid, repeat="keyed", attempts=3, retry_on=[Exception])

    async def agent(ctx: Context) -> str:
        return await losing(ctx, pay)

    graph = one(agent, pay)
    async with world.runtime(graph) as runtime:
        await runtime.run(graph, principal="me")
    assert paid == [10]
    await world.holds()


async def test_a_set_that_an_agent_hands_over_is_refused_and_recorded_the_same_in_every_process(world: World) -> None:
    """The order of a set of texts is another in each process, and a call must be the same when the agent runs again."""

    @tool(effect="write", repeat="once", labels={})
    def tag(names: list[str]) -> None: ...

    async def agent(ctx: Context) -> str:
        try:
            await ctx.call(tag, names={"a", "b"})  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - its words are what is looked at
            return str(error)
        return "ran"

    graph = one(agent, tag)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        payloads = await runtime.journal.payloads(f"run/{report.run}")
    assert "there is a set: give it as a sorted list" in str(report.output)
    assert [plain(stored.value) for (_, path), stored in payloads.items() if path == "/args"] == ["['names']"]
    await world.holds()
