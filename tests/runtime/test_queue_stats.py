"""What is said of how queues are doing: counted from the journal, by a clock that belongs to the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import World, one

from remit import Context
from remit.core.reading import CHARACTERS_PER_SECOND, LONGEST, codes, is_too_fast
from remit.runtime.queuestats import queue_stats
from remit.runtime.rulings import claim
from remit.store.journal import Journal

DESK = {"ttl": "1h", "reviewers": ["finance"]}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path).policy({"id": "rest", "allow": "false"}, escalate="args.amount < 100")
    people: dict[str, dict[str, Any]] = {name: {"groups": ["finance"]} for name in ("ann", "bob")}
    return world.staff(**people).queues(single_operator=False, desk=DESK)


async def waiting(world: World, what: str = "pay") -> str:
    act = world.act()

    async def agent(ctx: Context) -> str:
        return str(await ctx.call(act, what=what, amount=7))

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        return (await runtime.run(graph, principal="me")).reviews[0]


async def stats(world: World, by: Any = "queue") -> dict[str, dict[str, Any]]:
    async with await Journal.open(world.url, keys=world.keys) as journal:
        return {row["name"]: row for row in await queue_stats(journal, world.clock, by)}


async def test_an_approval_faster_than_reading_is_counted_and_one_after_reading_is_not(world: World) -> None:
    first, second = await waiting(world), await waiting(world, "x" * 1_500)
    world.clock.advance(600)
    await world.rule(first, by="ann")  # it was there for ten minutes
    world.clock.advance(10)
    await world.rule(second, by="ann")  # but this one she can have read for ten seconds only
    row = (await stats(world))["desk"]
    assert (row["approved"], row["too_fast"], row["too_fast_rate"]) == (2, 1, 0.5)
    assert (row["median"], row["slowest"]) == (600.0, 610.0)
    third, fourth = await waiting(world, "x" * 1_500), await waiting(world, "y" * 1_500)
    world.clock.advance(600)
    await world.does(claim, third, "bob")
    world.clock.advance(5)
    await world.rule(third, by="bob")  # claimed, and approved before anybody reads it
    world.clock.advance(300)
    await world.rule(fourth, False, "no", by="bob")  # a denial is never too fast
    found = await stats(world, "reviewer")
    assert (found["ann"]["too_fast"], found["bob"]["too_fast"], found["bob"]["denied"]) == (1, 1, 1)
    assert (await stats(world, "rule"))["main/escalate-rule"]["approved"] == 3


async def test_a_review_that_nobody_settled_in_time_is_a_breach_and_its_age_counts(world: World) -> None:
    await waiting(world)
    world.clock.advance(60)
    row = (await stats(world))["desk"]
    assert (row["open"], row["oldest"], row["breaches"]) == (1, 60.0, 0)
    world.clock.advance(3600)
    assert (await stats(world))["desk"]["breaches"] == 1


@given(st.integers(0, 10**6), st.integers(0, 10**5))
def test_more_time_is_never_faster_and_more_text_never_slower(characters: int, seconds: int) -> None:
    assert is_too_fast(characters, seconds) == (characters > seconds * CHARACTERS_PER_SECOND)


@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=30).map(lambda text: text * 100)))
def test_exactly_what_is_cut_has_a_code_and_every_version_another(args: dict[str, str]) -> None:
    from remit.core.canonical import canonical

    found = codes(args, "one")
    assert set(found) == {name for name, value in args.items() if len(canonical(value)) > LONGEST}
    assert not set(found.values()) & set(codes(args, "two").values())
