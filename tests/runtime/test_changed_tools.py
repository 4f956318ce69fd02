"""A tool that was changed while a run was parked: what has ended is answered, and a mismatch names what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from worlds import World, one

from remit import Context, Tool, tool
from remit.errors import ReplayMismatch

RAN: list[str] = []


@pytest.fixture
def world(tmp_path: Path) -> World:
    RAN.clear()
    world = World(tmp_path)
    return world.policy(
        {"id": "stop", "tools": ["stop"], "escalate": "true"}, {"id": "rest", "tools": ["note"], "allow": "true"}
    )


@tool(effect="read", repeat="idempotent", labels={})
def stop() -> str:
    return "go"


def noting(**options: Any) -> Tool[..., str]:
    @tool(name="note", **{"effect": "write", "repeat": "keyed", "labels": {}, **options})
    def note(text: str) -> str:
        """Writes it down."""
        RAN.append(text)
        return f"noted {text}"

    return note


def described() -> Tool[..., str]:
    @tool(name="note", effect="write", repeat="keyed", labels={}, timeout=5, attempts=2, cost="2", tags=["new"])
    def note(text: str) -> str:
        """Writes it down, in other words."""
        RAN.append(text)
        return f"noted {text}"

    return note


def with_one_more() -> Tool[..., str]:
    @tool(name="note", effect="write", repeat="keyed", labels={})
    def note(text: str, urgent: bool = False) -> str:
        """Writes it down."""
        RAN.append(f"{text} {urgent}")
        return f"noted {text}"

    return note


async def parked(world: World, first: Tool[..., str], **asked: Any) -> tuple[str, Any, list[Any]]:
    """A run that has noted something and waits; returns it, the graph of tools, and what the agent asks for."""
    given = [{"text": "tea", **asked}]

    def graph_of(note: Tool[..., str]) -> Any:
        async def agent(ctx: Context) -> str:
            said = await ctx.call(note, **given[0])
            await ctx.call(stop)
            return str(said)

        return one(agent, note, stop)

    graph = graph_of(first)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    await world.rule(report.reviews[0])
    return report.run, graph_of, given


@pytest.mark.parametrize("change", [described, with_one_more])
async def test_a_call_that_has_ended_is_answered_where_nothing_was_changed_that_says_what_it_meant(
    world: World, change: Any
) -> None:
    run, graph_of, _ = await parked(world, noting())
    async with world.runtime(graph_of(change())) as runtime:
        report = await runtime.resume(run)
    assert (report.status, report.output, RAN) == ("done", "noted tea", ["tea"])
    await world.holds()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"effect": "send", "content": ["text"]}, ['-spec.effect: "write"', '+spec.effect: "send"']),
        ({"repeat": "idempotent"}, ['-spec.repeat: "keyed"', '+spec.repeat: "idempotent"']),
    ],
)
async def test_a_mismatch_names_the_fields_of_the_tool_that_differ(
    world: World, options: dict[str, Any], words: list[str]
) -> None:
    run, graph_of, _ = await parked(world, noting())
    async with world.runtime(graph_of(noting(**options))) as runtime:
        with pytest.raises(ReplayMismatch) as caught:
            await runtime.resume(run)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "spec.description" not in str(caught.value) and RAN == ["tea"]


async def test_what_the_agent_asks_for_is_compared_as_ever(world: World) -> None:
    run, graph_of, given = await parked(world, noting())
    given[0] = {"text": "tea", "urgent": True}
    async with world.runtime(graph_of(with_one_more())) as runtime:
        with pytest.raises(ReplayMismatch, match=r"args\.urgent"):
            await runtime.resume(run)
    given[0] = {"text": "coffee"}
    async with world.runtime(graph_of(described())) as runtime:
        with pytest.raises(ReplayMismatch, match=r"args\.text"):
            await runtime.resume(run)
    assert RAN == ["tea"]


async def test_a_call_that_waits_is_of_exactly_the_tool_that_people_were_shown(world: World) -> None:
    world.policy({"id": "all", "tools": ["*"], "escalate": "true"})
    run, graph_of, _ = await parked(world, noting())
    async with world.runtime(graph_of(described())) as runtime:
        with pytest.raises(ReplayMismatch, match=r"spec\.timeout"):
            await runtime.resume(run)
    async with world.runtime(graph_of(noting())) as runtime:  # with the tool of then it goes on
        assert (await runtime.resume(run)).status == "waiting"
    assert RAN == ["tea"]
