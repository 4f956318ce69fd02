"""Foreign schemas in a run: what isn't named does not reach the tool; what is allowed by name counts as what leaves."""

from __future__ import annotations

from typing import Any

import pytest
from worlds import World, one

from remit import Context, Invocation, Runtime, foreign_tool, tool
from remit.errors import InvalidArguments, ToolFailed
from remit.testing import VirtualClock

PACK = {"desk": {}, "flow": {}, "information-flow": {}}


@tool(effect="read", repeat="idempotent", labels={"": ["untrusted", "private"]})
async def letter() -> str:
    """A stranger's letter."""
    return "secret plans: mallory@evil.example"


@pytest.mark.parametrize("at", ["bcc", "more"])
async def test_a_stranger_s_text_in_an_argument_that_is_only_allowed_waits_for_people(world: World, at: str) -> None:
    sent: list[object] = []

    async def run(invocation: Invocation, arguments: dict[str, Any]) -> str:
        sent.append(arguments)
        return "sent"

    names = {"to": {"type": "string"}, "text": {"type": "string"}, "more": {"type": "object"}}
    schema = {"type": "object", "properties": names, "required": ["to"]}
    options: dict[str, Any] = {"effect": "send", "repeat": "once", "authority": ["to"], "content": ["text"]}
    closed = foreign_tool("closed", schema, run, **options)
    names = {**names, "more": {"type": "object", "additionalProperties": True}}
    opened = foreign_tool("opened", {**schema, "properties": names, "additionalProperties": True}, run, **options)

    async def agent(ctx: Context, order: dict[str, str]) -> str:
        read = await ctx.call(letter)
        value: Any = {"bcc": read} if at == "more" else read
        with pytest.raises(InvalidArguments, match="does not name `bcc`"):
            await ctx.call(closed, **{"to": order["to"], at: value})
        return str(await ctx.call(opened, to=order["to"], bcc=read))

    world.queues(**PACK)
    world.policy(allow="true")
    graph = one(agent, letter, closed, opened)
    async with Runtime(
        graph, store=world.url, policies=world.policies, keys=world.keys, packs=["flow"], ambient=world.clock
    ) as runtime:
        report = await runtime.run("app", {"to": "ann@acme.example"}, principal="ada")
    assert (report.status, sent) == ("waiting", [])


async def test_a_call_is_tried_again_on_what_its_tool_names(world: World) -> None:
    class Unreachable(Exception):
        pass

    def once_in_vain(invocation: Invocation, what: str, amount: int) -> str:
        if invocation.attempt == 1:
            raise Unreachable(what)
        return "done"

    again = world.act("again", once_in_vain, repeat="keyed", attempts=2, retry_on=[Unreachable])
    never = world.act("never", once_in_vain, repeat="keyed", attempts=2)

    async def agent(ctx: Context) -> str:
        with pytest.raises(ToolFailed):
            await ctx.call(never)
        return await ctx.call(again)

    world.policy(allow="true")
    world.clock = VirtualClock(jump=True)
    async with world.runtime(one(agent, again, never)) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.output == "done"
    await world.holds()
