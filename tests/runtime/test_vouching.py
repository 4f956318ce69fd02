"""People's word on a run's sources while it goes on: who may give it, what follows, and that nobody else makes one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pens import Pen
from test_flow import EVIL, flowing, read_letter
from worlds import World

from remit import Context, Graph, Task, tool
from remit.core.canonical import canonical, plain
from remit.core.entries import Head, Vouched
from remit.errors import BadInput, NotEntitled, PolicyError, Stale
from remit.runtime import vouching
from remit.runtime.rulings import Reviewer
from remit.runtime.stream import Draft
from remit.runtime.tracing import trace_lineage
from remit.runtime.vouching import vouch
from remit.store.journal import Append, Journal
from remit.store.projections import Projections
from remit.verify import verify

PAID: list[str] = []
SENT: list[tuple[str, str]] = []


@tool(effect="commit", repeat="idempotent", authority=["iban"], content=[], labels={})
def pay(iban: str) -> str:
    PAID.append(iban)
    return "paid"


@tool(effect="read", repeat="idempotent", labels={"/salary": ["private"], "/note": ["in:finance"], "": ["trusted"]})
def read_file(name: str) -> dict[str, str]:
    return {"salary": "Ann earns 84210 a year, says payroll", "note": "Margin of project Zephyr is 31 percent"}


@tool(effect="send", repeat="idempotent", authority=["to"], content=["text"], labels={})
def send(to: str, text: str) -> str:
    SENT.append((to, text))
    return "sent"


async def pays(ctx: Context, order: str) -> str:
    letter = await ctx.call(read_letter, name="letter")
    await ctx.call(stop)
    return await ctx.call(pay, iban=letter.split()[5])


async def sends(ctx: Context, order: str) -> str:
    found = await ctx.call(read_file, name="file")
    await ctx.call(stop)
    return await ctx.call(send, to="board@acme.example", text=found["salary" if "salary" in order else "note"])


@tool(effect="read", repeat="idempotent", labels={"": ["trusted"]})
def stop() -> str:
    return "go"


PAYING = Graph("app", [Task("work", pays)], tools=[read_letter, stop, pay])
SENDING = Graph("app", [Task("work", sends)], tools=[read_file, stop, send])


@pytest.fixture
def world(tmp_path: Path) -> World:
    PAID.clear()
    SENT.clear()
    made = World(tmp_path).policy({"id": "all", "allow": "true"}, {"id": "stop", "tools": ["stop"], "escalate": "true"})
    made.staff("ann", "bob", mia={"also": ["me"]}, eve={"also": ["pays"]}, sam={"also": ["starter"]})
    flow(made, endorse=["principal", "bob", "eve", "sam"], declassify=["bob"])
    return made


def flow(world: World, *, single_operator: bool = False, **said: Any) -> None:
    everybody = ["ann", "bob", "mia", "eve", "sam"]
    queues = {name: {"reviewers": everybody} for name in ("desk", "flow")}
    text = json.dumps({"single_operator": single_operator, "queues": queues, "flow": said})
    (world.policies / "queues.yaml").write_text(text, encoding="utf-8")


async def begun(world: World, graph: Graph = PAYING, order: str = "Settle the letter") -> tuple[str, str]:
    """A run that waits in the middle, and the review it waits for."""
    async with flowing(world, graph) as runtime:
        report = await runtime.run(graph, order, principal="me")
    (review,) = report.reviews
    return report.run, review


async def said(world: World, run: str, by: str, source: str, label: str = "") -> Vouched:
    async with await Journal.open(world.url, keys=world.keys) as journal:
        who = Reviewer(by, Pen(by)) if by else Reviewer("somebody")
        return await vouch(journal, world.clock, run, who, source, "because", label)


async def goes_on(world: World, run: str, review: str, graph: Graph = PAYING) -> str:
    await world.rule(review, by="ann")
    async with flowing(world, graph) as runtime:
        return (await runtime.resume(run)).status


def problems(bundle: Path) -> str:
    alone = subprocess.run(["python3", "-I", str(bundle / "verify.py")], capture_output=True, text=True, check=False)
    return "\n".join([*map(str, verify(bundle).problems), *alone.stdout.splitlines()[1:]])


async def test_without_anybodys_word_what_a_letter_says_waits(world: World) -> None:
    run, review = await begun(world)
    assert await goes_on(world, run, review) == "waiting"
    assert not PAID


async def test_what_somebody_vouched_for_is_in_no_list_of_reviews(world: World) -> None:
    run, review = await begun(world)
    await said(world, run, "bob", "letter")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        assert [(row.review, row.status) for row in await Projections(journal).reviews()] == [(review, "open")]
        assert [row.run for row in await Projections(journal).runs()] == [run]


@pytest.mark.parametrize("by", ["mia", "bob"])
@pytest.mark.parametrize("source", ["read_letter", "letter"])
async def test_what_comes_from_a_source_that_is_endorsed_while_the_run_goes_on_is_done(
    world: World, by: str, source: str
) -> None:
    run, review = await begun(world)
    body = await said(world, run, by, source)
    assert body.signature
    assert await goes_on(world, run, review) == "done"
    assert PAID == [EVIL]
    (taken,) = await world.bodies(run, "run.vouched")
    assert (taken.by, taken.label) == (by, "")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        rows = {row["call"]: row["provenance"] for row in await trace_lineage(journal, run)}
    assert rows["work#2"]["iban"]["endorsed"]
    assert (await world.holds()).vouched == 1
    assert "problem" not in problems(await world.export())


async def test_a_word_given_after_a_restart_counts_as_much_and_the_lineage_is_the_same(world: World) -> None:
    run, review = await begun(world)
    await said(world, run, "mia", "another")
    async with flowing(world, PAYING) as runtime:
        await runtime.resume(run)
    await said(world, run, "mia", "read_letter")
    assert await goes_on(world, run, review) == "done"
    assert [one.by for one in await world.bodies(run, "run.vouched")] == ["mia", "mia"]
    await world.holds()


@pytest.mark.parametrize(
    ("by", "label", "why"),
    [
        ("ann", "", "`ann` is not among those whom `flow` lets endorse"),
        ("eve", "", "`eve` is an agent of this run"),
        ("mia", "private", "is the principal this run acts for"),
        ("zoe", "", "`zoe` is no reviewer now"),
        ("", "", "single-operator mode off"),
    ],
)
async def test_nobody_else_may_and_never_the_agent(world: World, by: str, label: str, why: str) -> None:
    run, review = await begun(world)
    with pytest.raises(NotEntitled, match=why):
        await said(world, run, by, "read_letter", label)
    assert await goes_on(world, run, review) == "waiting"
    assert not PAID


async def test_with_no_flow_in_the_policy_nobody_may(world: World) -> None:
    flow(world)
    run, _ = await begun(world)
    with pytest.raises(NotEntitled, match="policy lets nobody endorse while a run goes on"):
        await said(world, run, "bob", "read_letter")


@pytest.mark.parametrize(
    ("source", "label", "error", "why"),
    [
        ("", "", BadInput, "is no source"),
        ("read_letter/", "", BadInput, "is no source"),
        ("x" * 501, "", BadInput, "is no source"),
        ("read_letter", "untrusted", BadInput, "endorse the source instead"),
        ("read_letter", "Big", BadInput, "is no label"),
    ],
)
async def test_what_says_nothing_is_refused(
    world: World, source: str, label: str, error: type[Exception], why: str
) -> None:
    run, _ = await begun(world)
    with pytest.raises(error, match=why):
        await said(world, run, "bob", source, label)


async def test_of_a_run_that_is_over_nothing_is_said(world: World) -> None:
    run, review = await begun(world)
    await said(world, run, "mia", "read_letter")
    await goes_on(world, run, review)
    with pytest.raises(Stale, match="is done already"):
        await said(world, run, "mia", "read_letter")


async def test_in_single_operator_mode_it_is_recorded_as_that(world: World) -> None:
    flow(world, single_operator=True, endorse=["principal"])
    run, review = await begun(world)
    body = await said(world, run, "", "read_letter")
    assert body.single_operator and not body.signature
    assert await goes_on(world, run, review) == "done"
    assert "problem" not in problems(await world.export())


async def forge(world: World, run: str, **changes: Any) -> None:
    """As somebody who can write to the store and has nobody's key: an entry that no `vouch` would write."""
    async with await Journal.open(world.url, keys=world.keys) as journal:
        (loaded, *_) = await journal.read("policy")
        draft = Draft(f"flow/{run}", Head(), world.clock)
        source, reason = draft.commit("/source", canonical("read_letter")), draft.commit("/reason", canonical("so"))
        made = Vouched(run, source, "mia", reason, loaded.body.digest)  # type: ignore[attr-defined]
        body = Vouched(**{**{name: getattr(made, name) for name in made.__struct_fields__}, **changes})
        await journal.append(Append((draft.seal("reviewer:mia", body),), tuple(draft.payloads)))


@pytest.mark.parametrize("changes", [{}, {"single_operator": True}, {"signature": "nonsense"}, {"by": "pays"}])
async def test_a_word_that_nobody_signed_is_passed_over(world: World, changes: dict[str, Any]) -> None:
    run, review = await begun(world)
    await forge(world, run, **changes)
    assert await goes_on(world, run, review) == "waiting"
    assert not PAID
    assert not await world.bodies(run, "run.vouched")


async def test_a_signature_over_another_runs_word_is_passed_over(world: World) -> None:
    run, review = await begun(world)
    other, _ = await begun(world)
    body = await said(world, other, "mia", "read_letter")
    await forge(world, run, signature=body.signature, source=body.source, reason=body.reason)
    assert await goes_on(world, run, review) == "waiting"
    assert not PAID


async def test_a_run_that_takes_a_word_into_account_that_does_not_count_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, review = await begun(world)
    await forge(world, run)
    monkeypatch.setattr(vouching, "unsound_vouching", lambda *_: "")
    assert await goes_on(world, run, review) == "done"
    told = problems(await world.export())
    assert "the word it rests on doesn't count: it is not signed" in told
    assert "neither signed nor made in single-operator mode" in told


# --- confidentiality -------------------------------------------------------------------------------------


async def test_private_data_waits_until_somebody_who_may_says_it_is_not(world: World) -> None:
    run, review = await begun(world, SENDING, "Tell them the salary")
    await said(world, run, "bob", "read_file/salary", "private")
    assert await goes_on(world, run, review, SENDING) == "waiting"  # board@… isn't the principal's word
    facts = await last_facts(world, run)
    (row,) = facts["content"]
    assert (row["private"], row["barred"]) == (False, [])
    await world.holds()


async def test_a_label_is_removed_from_its_part_and_from_nothing_else(world: World) -> None:
    run, review = await begun(world, SENDING, "Tell board@acme.example the note")
    await said(world, run, "bob", "read_file/salary", "private")
    await goes_on(world, run, review, SENDING)
    (row,) = (await last_facts(world, run))["content"]
    assert row["labels"] == ["in:finance"]


async def last_facts(world: World, run: str) -> Any:
    async with await Journal.open(world.url, keys=world.keys) as journal:
        found = await journal.payloads(f"run/{run}")
    return plain(found[max(seq for seq, path in found if path == "/facts"), "/facts"].value)


@pytest.mark.parametrize(
    ("readers", "barred"),
    [
        ({}, ["board@acme.example"]),
        ({"private": ["*"]}, ["board@acme.example"]),
        ({"in:finance": ["*@acme.example"]}, []),
        ({"in:finance": ["BOARD@acme.example"]}, []),
        ({"in:finance": ["*@acme.example.evil.example", "board"]}, ["board@acme.example"]),
    ],
)
async def test_who_may_not_read_a_compartment_is_a_fact(world: World, readers: Any, barred: list[str]) -> None:
    flow(world, readers=readers)
    run, review = await begun(world, SENDING, "Tell the board the note")
    await goes_on(world, run, review, SENDING)
    facts = await last_facts(world, run)
    (row,) = facts["content"]
    assert row["barred"] == barred
    assert facts["provenance"]["text"]["barred"] == barred
    rules = {hit.rule for hit in (await world.bodies(run, "call.decided"))[-1].verdict.rules}
    assert ("private" in rules) is bool(barred)
    await world.holds()


@pytest.mark.parametrize("said_", [{"readers": {"pii": ["x"]}}, {"endorse": ["nobody"]}, {"declasify": ["bob"]}])
async def test_a_mistake_in_flow_is_told_with_its_place(world: World, said_: dict[str, Any]) -> None:
    flow(world, **said_)
    with pytest.raises(PolicyError) as raised:
        async with flowing(world, PAYING):
            pass
    assert any(problem.file.endswith("queues.yaml") and problem.line for problem in raised.value.problems)


# --- what a reviewer wrote -------------------------------------------------------------------------------


async def test_what_a_reviewer_wrote_is_the_reviewers_in_the_facts_and_in_the_lineage(world: World) -> None:
    queues = {"desk": {"reviewers": ["ann"]}, "flow": {"reviewers": ["ann"], "edit": ["iban"]}}
    (world.policies / "queues.yaml").write_text(json.dumps({"queues": queues}), encoding="utf-8")
    run, review = await begun(world)
    assert await goes_on(world, run, review) == "waiting"
    review = (await world.bodies(run, "call.decided"))[-1].reviews[0]
    await world.rule(review, by="ann", edited={"iban": "DE89370400440532013000"})
    async with flowing(world, PAYING) as runtime:
        assert (await runtime.resume(run)).status == "done"
    assert PAID == ["DE89370400440532013000"]
    iban = (await last_facts(world, run))["provenance"]["iban"]
    assert (iban["endorsed"], iban["unknown"], iban["untrusted"]) == (True, False, False)
    assert "by:ann" in iban["labels"] and "was written by reviewer ann" in iban["says"]
    async with await Journal.open(world.url, keys=world.keys) as journal:
        rows = {row["call"]: row["provenance"] for row in await trace_lineage(journal, run)}
    assert rows["work#2"]["iban"]["says"] == iban["says"]
    await world.holds()
