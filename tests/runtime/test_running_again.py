"""A call in doubt is run again only where the policies in force allow it, and the journal says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from worlds import World, crash, crashing, one

from remit import NOT_DONE, Context, FactRequest, Graph, ToolFailed, fact
from remit.runtime.scheduler import RunReport
from remit.runtime.views import review_view
from remit.store.journal import Journal


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(allow="true")


def asking(act: Any, **arguments: Any) -> Any:
    async def agent(ctx: Context) -> str:
        try:
            return await ctx.call(act, **arguments)
        except ToolFailed as error:
            return f"{error.cause}: {error}"

    return agent


async def resumed(world: World, graph: Graph, run: str) -> RunReport:
    async with world.runtime(graph) as runtime:
        return await runtime.resume(run)


@pytest.mark.parametrize("repeat", ["keyed", "idempotent"])
async def test_what_policy_denies_by_now_is_not_run_again_and_nobody_is_told_that_it_failed_or_happened(
    world: World, repeat: str
) -> None:
    act = world.act(repeat=repeat, body=crashing())
    graph = one(asking(act, what="rent"), act)
    run = await crash(world, graph)
    world.policy({"id": "stop", "deny": "args.what == 'rent'", "because": "Rent is stopped."})
    report = await resumed(world, graph, run)
    assert world.did == ["rent"]
    assert str(report.output).startswith("InDoubt: ")
    assert "nobody knows whether it happened, and it isn't run again: Rent is stopped." in str(report.output)
    state = await world.state(run)
    assert state.settled.get("act") is None
    (settled,) = await world.bodies(run, "call.settled")
    assert settled.verdict.outcome == "deny"
    assert (await world.holds()).decisions == 2


async def test_what_policy_allows_still_is_run_again_under_a_verdict_of_its_own(world: World) -> None:
    act = world.act(repeat="keyed", body=crashing())
    graph = one(asking(act, what="rent"), act)
    run = await crash(world, graph)
    world.policy({"id": "other", "allow": "args.what == 'rent'"})
    assert (await resumed(world, graph, run)).output == "did rent"
    (again,) = await world.bodies(run, "call.intended_again")
    assert again.verdict.rules[0].rule == "other"
    assert (await world.holds()).decisions == 2


async def test_a_limit_that_the_call_itself_used_up_does_not_stop_it(world: World) -> None:
    """It has been counted since it was decided: it isn't counted against itself."""
    world.policy({"id": "once", "allow": "spent.calls < 1 && counters.paid < 1"})
    (world.policies / "counters.yaml").write_text('{"counters": {"paid": {"tools": ["act"], "per": ["run"]}}}')
    act = world.act(repeat="keyed", body=crashing())
    graph = one(asking(act, what="rent"), act)
    run = await crash(world, graph)
    assert (await resumed(world, graph, run)).output == "did rent"
    await world.holds()


async def test_a_fact_that_is_the_calls_own_effect_does_not_stop_it(world: World) -> None:
    """The ledger has the payment that the worker made before it died: with the same key the tool sees to the rest."""
    world.policy({"id": "once", "allow": "!facts.paid"})
    act = world.act(repeat="keyed", body=crashing())

    @fact(tools=[act])
    def paid(request: FactRequest) -> bool:
        return bool(world.done)

    graph = one(asking(act, what="rent"), act, facts=[paid])
    run = await crash(world, graph)
    assert (await resumed(world, graph, run)).output == "did rent"
    await world.holds()


async def test_a_fact_that_nobody_looked_at_then_is_asked_before_it_is_run_again(world: World) -> None:
    act = world.act(repeat="keyed", body=crashing())
    run = await crash(world, one(asking(act, what="rent"), act))

    @fact(tools=[act])
    def blocked(request: FactRequest) -> bool:
        return True

    world.policy({"id": "all", "allow": "true"}, {"id": "blocked", "deny": "facts.blocked"})
    graph = one(asking(act, what="rent"), act, facts=[blocked])
    assert "isn't run again" in str((await resumed(world, graph, run)).output)
    assert world.did == ["rent"]
    await world.holds()


async def test_what_people_approved_is_run_again_without_asking_them_anew(world: World) -> None:
    world.policy(escalate="true")
    act = world.act(repeat="keyed", body=crashing())
    graph = one(asking(act, what="rent"), act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    await world.rule(report.reviews[0])
    run = await crash(world, graph, report.run)
    assert (await resumed(world, graph, run)).output == "did rent"
    await world.holds()


async def test_a_rule_that_asks_by_now_puts_the_call_in_doubt_and_its_reviewers_see_why(world: World) -> None:
    act = world.act(repeat="keyed", body=crashing())
    graph = one(asking(act, what="rent"), act)
    run = await crash(world, graph)
    world.queues(desk={"ttl": "1h"}, **{"in-doubt": {"title": "{{tool.name}}: was {{args.what}} done?"}})
    world.policy({"id": "ask", "escalate": "true", "because": "Somebody looks first."})
    report = await resumed(world, graph, run)
    assert report.status == "waiting" and world.did == ["rent"]
    (review,) = report.reviews
    opened = (await world.entries(f"review/{review}"))[0].body
    assert (opened.queue, opened.in_doubt) == ("in-doubt", True)  # type: ignore[attr-defined]
    assert [hit.rule for hit in opened.disclosed] == ["ask"]  # type: ignore[attr-defined]
    async with await Journal.open(world.url, keys=world.keys) as journal:
        assert (await review_view(journal, review))["title"] == "act: was rent done?"
    await world.rule(review)
    assert (await resumed(world, graph, run)).output == "did rent"
    assert world.did == ["rent", "rent"]
    await world.holds()


async def test_a_once_tool_that_people_let_run_again_is_not_run_where_policy_denies_it_by_now(world: World) -> None:
    act = world.act(body=crashing())
    graph = one(asking(act, what="rent"), act)
    run = await crash(world, graph)
    (review,) = (await resumed(world, graph, run)).reviews
    await world.rule(review)
    world.policy({"id": "stop", "deny": "true", "because": "All is stopped."})
    report = await resumed(world, graph, run)
    assert "isn't run again: All is stopped." in str(report.output)
    assert world.did == ["rent"]
    await world.holds()


async def test_a_probe_that_says_it_has_not_happened_does_not_outvote_policy(world: World) -> None:
    act = world.act(body=crashing(), probe=lambda *_, **__: NOT_DONE)
    graph = one(asking(act, what="rent"), act)
    run = await crash(world, graph)
    world.policy({"id": "stop", "deny": "true", "because": "All is stopped."})
    assert "isn't run again" in str((await resumed(world, graph, run)).output)
    assert world.did == ["rent"]
    await world.holds()
