"""Drives the episodes of the AgentDojo harness through Remit: its gate, its store, its journal, its reviews.

Each episode is one run of a graph with one agent, which makes the scripted calls one by one. The tools are the
suite's own, with the metadata of the harness's manifest; what they return is what AgentDojo returns, as JSON.
A review is ruled by the simulated reviewer, who alone knows who made up a call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
from pydantic_core import to_jsonable_python

from remit import Context, Denied, Graph, Invocation, Runtime, Task, ToolFailed, foreign_tool
from remit.runtime.ambient import System
from remit.runtime.rulings import Reviewer, Said, rule
from remit.runtime.views import review_view
from remit.store.journal import Journal

POLICIES = {
    "allow.yaml": "policy: allow\nrules:\n  - {id: all, tools: ['*'], allow: true}\n",
    "queues.yaml": "single_operator: true\nqueues: {}\n",
}


@dataclass
class Seat:
    """The episode that is being driven."""

    episode: Any = None
    events: list[harness.Event] = field(default_factory=list)
    call: Any = None


def tool_of(seat: Seat, suite: str, function: Any) -> Any:
    """Makes Remit's tool of AgentDojo's, with the manifest's facts about it."""
    facts = harness.MANIFEST[suite][function.name]

    async def run(_: Invocation, arguments: dict[str, Any]) -> Any:
        step = seat.episode.execute(seat.call)
        if step.error is not None:
            raise ValueError(step.error)
        return to_jsonable_python(step.raw, serialize_unknown=True)

    whole = ["untrusted"] if facts.output == "untrusted" else []
    private = ["private"] if facts.private else []
    labels = {"": whole + private}
    for name in facts.untrusted_fields:
        labels |= {f"/{name}": ["untrusted", *private], f"/*/{name}": ["untrusted", *private]}
    return foreign_tool(
        function.name,
        function.parameters.model_json_schema(),
        run,
        description=function.description,
        effect={"egress_read": "fetch"}.get(facts.effect, facts.effect),
        repeat="idempotent",
        authority=facts.authority,
        content=facts.content,
        labels=labels,
    )


class Driver:
    """A runtime for one suite, in which episodes are run one after the other."""

    def __init__(self, suite: str, runtime: Runtime, journal: Journal, seat: Seat, graph: Graph) -> None:
        self.suite = suite
        self._runtime = runtime
        self._journal = journal
        self._seat = seat
        self._graph = graph
        self.runs = 0
        self.last = ""

    async def replay(self, episode: Any, reviewer: str = "attentive") -> list[harness.Event]:
        """Runs the episode to its end; returns what became of each call, as the harness's own `replay` does."""
        seat = self._seat
        seat.episode, seat.events = episode, []
        seat.script = iter(episode.next_call, None)
        seat.made = []
        report = await self._runtime.run(self._graph, episode.prompt, principal="emma")
        while report.status == "waiting":
            for id in report.reviews:
                approved = {"attentive": seat.call.origin == harness.USER, "absent": False, "rubber": True}[reviewer]
                seat.events[-1].reason = "; ".join(await self._reasons(id))
                read = tuple((await review_view(self._journal, id))["seen"].values())  # long arguments, to their end
                said = Said(approved, "the simulated reviewer", seen=read)
                await rule(self._journal, System(), id, Reviewer("reviewer"), said)
            report = await self._runtime.resume(report.run)
        if report.status != "done":
            raise RuntimeError(f"run {report.run} of {episode.user_task.ID} is {report.status}: {report}")
        self.runs += 1
        self.last = report.run
        return seat.events

    async def _reasons(self, id: str) -> list[str]:
        """What the reviewer is told."""
        payloads = await self._journal.payloads(f"review/{id}")
        return [str(reason) for reason in json.loads(payloads[0, "/shown"].value)["reasons"]]


def agent_of(seat: Seat) -> Any:
    """Returns the agent: it does what the script says, and when it is run again, says the same again."""

    async def scripted(ctx: Context, prompt: str) -> str:
        place = 0
        while True:
            if place == len(seat.made):
                call = next(seat.script, None)
                if call is None:
                    return "done"
                seat.made.append([call, None])
            call, event = seat.made[place]
            seat.call = call
            place += 1
            if event is None:
                event = harness.Event(call.tool, call.origin, harness.ALLOW, True, "", call.pos)
                seat.made[place - 1][1] = event
                seat.events.append(event)
            try:
                await ctx.call(seat.tools[call.tool], **call.args)
            except ToolFailed:
                event.verdict = event.verdict
            except Denied as error:
                event.executed = False
                event.reason = event.reason or "; ".join(error.reasons)
                if event.verdict == harness.ALLOW:
                    event.verdict = harness.DENY
                if len(seat.episode.steps) < place:
                    seat.episode.block(call, event.verdict)
            except asyncio.CancelledError:
                event.verdict = harness.ESCALATE  # it waits for a person
                raise

    return scripted


@asynccontextmanager
async def driving(suite: str, folder: Path) -> AsyncIterator[Driver]:
    """A driver with a store of its own; all its episodes are runs in that one journal."""
    seat = Seat()
    functions = harness.get_suite(suite).tools
    tools = [tool_of(seat, suite, function) for function in functions]
    seat.tools = {tool.name: tool for tool in tools}
    graph = Graph(suite, [Task("replay", agent_of(seat))], tools=tools)
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    for name, text in POLICIES.items():
        (policies / name).write_text(text)
    store = f"sqlite:///{folder / 'remit.db'}"
    async with (
        Runtime(graph, store=store, policies=policies, keys=folder / "keys", packs=["flow"]) as runtime,
        await Journal.open(store, keys=folder / "keys") as journal,
    ):
        yield Driver(suite, runtime, journal, seat, graph)
