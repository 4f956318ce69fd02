"""How approvals failed elsewhere, where `remit.probes` does not try just that. A name says what must not happen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from worlds import World, one

import remit
from remit import Context, Denied, PolicyError, RunReport
from remit.errors import RemitError
from remit.runtime.ambient import System
from remit.runtime.rulings import Reviewer, Said, rule
from remit.store.journal import Journal

ASK = {"id": "ask", "escalate": "args.what == 'pay'"}
REST = {"id": "rest", "allow": "args.what != 'pay'"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(ASK, REST)


def paying(act: Any, *before: str, then: str = "pay") -> Any:
    async def agent(ctx: Context) -> str:
        for what in before:
            await ctx.call(act, what=what)
        try:
            return await ctx.call(act, what=then)
        except Denied as error:
            return str(error)

    return agent


async def started(world: World, graph: Any) -> RunReport:
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert report.status == "waiting"
    return report


async def resumed(world: World, graph: Any, run: str) -> RunReport:
    async with world.runtime(graph) as runtime:
        return await runtime.resume(run)


async def test_1_a_side_effect_before_the_pause_does_not_run_twice(world: World) -> None:
    act = world.act()
    graph = one(paying(act, "a", "b"), act)
    report = await started(world, graph)
    await world.rule(report.reviews[0])
    await resumed(world, graph, report.run)
    assert world.did == ["a", "b", "pay"]


async def test_1b_a_loop_of_five_approvals_does_not_run_the_tool_twenty_times(world: World) -> None:
    act = world.act()

    async def agent(ctx: Context) -> None:
        for number in range(5):
            await ctx.call(act, what="pay", amount=number)

    graph = one(agent, act)
    report = await started(world, graph)
    while report.status == "waiting":
        await world.rule(report.reviews[0])
        report = await resumed(world, graph, report.run)
    assert [effect.amount for effect in world.done] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("fresh", [False, True])
async def test_2_to_5_a_no_is_not_forgotten_when_the_rule_that_asked_turns_false(world: World, fresh: bool) -> None:
    act = world.act()
    graph = one(paying(act), act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        await world.rule(report.reviews[0], approved=False)
        world.policy({"id": "all", "allow": "true"})
        if not fresh:
            report = await runtime.resume(report.run)
    if fresh:
        report = await resumed(world, graph, report.run)
    assert "said no" in str(report.output)
    assert world.done == []


async def test_9_an_approval_is_not_good_for_a_second_effect_from_an_old_copy(world: World) -> None:
    """The tool's own memory, by the key, is what an old copy of everything else can't undo."""
    seen: set[str] = set()
    effects: list[str] = []

    def body(invocation: Any, what: str, _: int) -> str:
        if invocation.key not in seen:
            seen.add(invocation.key)
            effects.append(what)
        return what

    act = world.act(repeat="keyed", body=body)
    graph = one(paying(act), act)
    report = await started(world, graph)
    await world.rule(report.reviews[0])
    shutil.copytree(world.folder, world.folder.parent / "copy", ignore=shutil.ignore_patterns("*.mark"))
    await resumed(world, graph, report.run)
    copy = World(world.folder.parent / "copy").policy(ASK, REST)
    await resumed(copy, graph, report.run)
    assert effects == ["pay"]


KILLED = """
import asyncio, os, signal, sys
from remit import Context, Graph, Runtime, Task, tool

@tool(effect="commit", repeat=sys.argv[2], labels={})
def pay(what: str) -> str:
    with open(sys.argv[1] + "/effects", "a") as file:
        file.write(what)
    if len(sys.argv) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return "paid"

async def agent(ctx: Context) -> str:
    return await ctx.call(pay, what="x")

async def main():
    graph = Graph("app", [Task("work", agent)], tools=[pay])
    async with Runtime(graph, store=f"sqlite:///{sys.argv[1]}/remit.db", policies=sys.argv[1] + "/policies",
                       keys=sys.argv[1] + "/keys") as runtime:
        runs = await runtime.journal.streams("run/")
        run = runs[0][4:] if runs else await runtime.start(graph, principal="me")
        print((await runtime.resume(run)).status)

asyncio.run(main())
"""


@pytest.mark.parametrize("repeat", ["once", "keyed"])
async def test_10_a_kill_inside_the_tool_after_its_effect_does_not_repeat_it_by_guess(
    world: World, repeat: str
) -> None:
    world.policy({"id": "all", "allow": "true"})
    env = {**os.environ, "PYTHONPATH": str(Path(remit.__file__).parents[1])}

    def live(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(world.folder), repeat, *more]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    assert live("kill").returncode == -signal.SIGKILL
    ended = live()
    if repeat == "keyed":
        assert ended.stdout == "done\n", ended.stderr
        assert (world.folder / "effects").read_text() == "xx"  # with the same key: the tool sees to the rest
        return
    assert ended.stdout == "waiting\n", ended.stderr
    assert (world.folder / "effects").read_text() == "x"
    async with await Journal.open(world.url, keys=world.keys) as journal:
        (name,) = await journal.streams("review/")
        await rule(journal, System(), name[7:], Reviewer("ann"), Said(False, "it is on the statement"))
    assert live().stdout == "failed\n"
    assert (world.folder / "effects").read_text() == "x"
    await world.holds()


@pytest.mark.parametrize("tightened", ["deny", "escalate"])
async def test_11_and_12_a_rule_that_is_tightened_after_the_approval_is_not_passed_over(
    world: World, tightened: str
) -> None:
    act = world.act()
    graph = one(paying(act), act)
    report = await started(world, graph)
    await world.rule(report.reviews[0])
    new: dict[str, object] = {"id": "new", tightened: "true"}
    world.policy(ASK, REST, new)
    report = await resumed(world, graph, report.run)
    assert report.status == ("waiting" if tightened == "escalate" else "done")
    assert world.done == []


async def test_14_an_agent_that_renames_its_call_to_an_ungated_tool_does_not_get_the_approval(world: World) -> None:
    act, other = world.act(), world.act("ungated")
    world.policy(
        {"id": "ask", "tools": ["act"], "escalate": "true"}, {"id": "free", "tools": ["ungated"], "allow": "false"}
    )
    tools = [act]

    async def agent(ctx: Context) -> str:
        return await ctx.call(tools[0], what="pay")

    graph = one(agent, act, other)
    report = await started(world, graph)
    await world.rule(report.reviews[0])
    tools[0] = other
    with pytest.raises(RemitError, match="nothing was executed"):
        await resumed(world, graph, report.run)
    assert world.done == []


async def test_18_a_policy_that_looks_at_what_is_not_there_does_not_proceed_with_a_warning(world: World) -> None:
    act = world.act()
    world.policy({"id": "all", "allow": "true"}, {"id": "leak", "deny": "'pii' in lables"})
    with pytest.raises(PolicyError, match="labels"):
        await started(world, one(paying(act), act))
    assert world.done == []
