"""Counters in an export: both verifiers follow them, and nobody learns from it whom or how much they count."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from vaults import bundled, checked, holds
from worlds import World, one

from remit import Context
from remit.core.entries import CounterCounted, Entry, Head, seal, unseal
from remit.export import standalone
from remit.export.bundle import Request, export
from remit.export.withhold import withholding
from remit.runtime.ambient import stamp
from remit.store.journal import Journal


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    counters = {"paid": {"tools": ["act"], "sum": "args.amount", "per": ["principal"], "window": "30d"}}
    (world.policies / "counters.yaml").write_text(json.dumps({"counters": counters}), encoding="utf-8")
    world.policy(allow="counters.paid < 100.0")
    act = world.act()

    async def agent(ctx: Context, amount: int) -> str:
        return await ctx.call(act, amount=amount)

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        for amount in (41, 42):
            await runtime.run(graph, amount, principal="ann@example.com")
    return world


async def out(world: World, *rules: str) -> Path:
    made = world.folder / f"out-{len(rules)}"
    async with await Journal.open(world.url, keys=world.keys) as journal:
        await export(journal, made, Request(stamp(world.clock.now()), "me", withhold=withholding(rules)))
    return made


async def test_an_export_with_counters_holds_with_both_verifiers(world: World) -> None:
    assert (await world.holds()).decisions == 2


async def test_the_secret_that_names_counters_leaves_in_no_export(world: World) -> None:
    async with await Journal.open(world.url, keys=world.keys) as journal:
        (secret,) = [one.value for (_, path), one in (await journal.payloads("store")).items() if path == "/secret"]
    for rules in ((), ("tool:other",)):
        made = await out(world, *rules)
        assert holds(made)
        assert not [path.name for path in made.iterdir() if secret.strip(b'"') in path.read_bytes()]
    found = checked(await world.export())
    assert found is not None and found.withheld == 1 and found.undecided == 0


@pytest.mark.parametrize("rules", [("tool:act",), ("/args/amount",), ("tool:act", "/args/amount"), ("/args",)])
async def test_what_counters_add_up_is_withheld_with_the_arguments_it_is_made_of(
    world: World, rules: tuple[str, ...]
) -> None:
    made = await out(world, *rules)
    assert holds(made)
    rows = [orjson.loads(line) for line in (made / "payloads.jsonl").read_bytes().splitlines()]
    assert [row for row in rows if row["path"] == "/amount"] == []
    assert not [row for row in rows if row["value"] in ('"41"', "41") and row["path"] != "/input"]


def changed(body: CounterCounted, **fields: Any) -> CounterCounted:
    return CounterCounted(**{**{name: getattr(body, name) for name in body.__struct_fields__}, **fields})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda body: changed(body, number=body.number + 1), "count"),
        (lambda body: changed(body, counter="other") if body.number == 2 else body, "other"),
        (lambda body: changed(body, call="nobody#0"), "no such call before it"),
        (lambda body: changed(body, reviews=("r",)), "not allowed, or that do"),
    ],
)
async def test_a_count_that_does_not_follow_or_is_of_no_such_call_is_found(world: World, change: Any, why: str) -> None:
    made = await world.export()
    copy = made.with_name("copy")
    shutil.copytree(made, copy)
    heads: dict[str, Entry] = {}
    lines = []
    for line in (copy / "entries.jsonl").read_bytes().splitlines():
        entry = unseal(line)
        body = change(entry.body) if isinstance(entry.body, CounterCounted) else entry.body
        before = heads.get(entry.stream)
        sealed = seal(entry.stream, before.head if before else Head(), entry.at, entry.actor, body)
        heads[entry.stream] = unseal(sealed.bytes)
        lines.append(sealed.bytes)
    (copy / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    found = checked(copy)
    assert found is not None and any(why in str(problem) for problem in found.problems)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standalone, "HERE", copy)
        problems = standalone.check([], "")[0].problems
    assert any(why in problem for problem in problems), problems
    assert not bundled(copy)
