"""Guarantees 7 to 12: what a person's yes and no are worth."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from worlds import World, one

import remit
from remit import Context, Denied, Graph, Task
from remit.core.entries import ReviewConsumed, ReviewRuled, seal
from remit.errors import (
    BadInput,
    Conflict,
    JournalError,
    NotAuthentic,
    NotEntitled,
    OwnershipLost,
    RunError,
    Stale,
    Tampered,
)
from remit.runtime.views import review_view
from remit.store.journal import Append, Journal
from remit.testing import VirtualClock


def asking(act: Any, **arguments: Any) -> Any:
    """An agent that makes one call, and tells what it was told where it is denied."""

    async def agent(ctx: Context) -> str:
        try:
            return str(await ctx.call(act, **arguments))
        except Denied as error:
            return "; ".join(error.reasons)

    return agent


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy({"id": "rest", "allow": "false"}, escalate="args.amount < 100")


async def waiting(world: World, graph: Graph) -> tuple[str, str]:
    """A run of `graph`, and the review it waits for."""
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
    assert report.status == "waiting"
    assert world.done == []
    return report.run, report.reviews[0]


async def resumed(world: World, graph: Graph, run: str) -> Any:
    async with world.runtime(graph) as runtime:
        return await runtime.resume(run)


async def forged(world: World, stream: str, body: Any) -> None:
    """Appends to a review as somebody who can write the file and knows how."""
    async with await Journal.open(world.url, keys=world.keys) as journal:
        head = await journal.head(stream)
        sealed = seal(stream, head, "2026-01-05T09:00:00.000000Z", "reviewer:mallory", body)
        await journal.append(Append((sealed,)))


# --- 7 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["the same", "the rule no longer asks", "an allow rule was added", "no rule at all"])
async def test_a_reviewers_no_is_final_for_that_call_and_nothing_is_asked_again(world: World, then: str) -> None:
    act = world.act()
    graph = one(asking(act, what="pay"), act)
    run, review = await waiting(world, graph)
    await world.rule(review, approved=False, reason="not this month")
    if then == "the rule no longer asks":
        world.policy({"id": "rest", "allow": "true"}, escalate="args.amount < -1")
    if then == "an allow rule was added":
        world.policy({"id": "rest", "allow": "true"}, escalate="args.amount < 100")
    if then == "no rule at all":
        world.policy({"id": "rest", "allow": "true"})
    report = await resumed(world, graph, run)
    assert report.output == "ann said no: not this month"
    assert world.done == []
    with pytest.raises(Stale, match="a ruling is final"):
        await world.rule(review)
    assert (await resumed(world, graph, run)).output == report.output
    assert world.done == []
    await world.holds()


# --- 8 -------------------------------------------------------------------------------------------------


async def test_the_call_that_runs_is_the_call_the_reviewer_saw(world: World) -> None:
    act = world.act()
    graph = one(asking(act, what="pay", amount=7), act)
    run, review = await waiting(world, graph)
    async with await Journal.open(world.url, keys=world.keys) as journal:
        shown = (await review_view(journal, review))["shown"]
    await world.rule(review)
    assert (await resumed(world, graph, run)).output == "did pay"
    (effect,) = world.done
    assert shown["args"] == {"what": effect.what, "amount": effect.amount}
    assert shown["digest"] == (await world.state(run)).calls["work#0"].record.digest  # type: ignore[union-attr]
    found = await world.holds()
    assert (found.effects, found.approvals) == (1, 1)


REWRITTEN = {
    "its arguments": "UPDATE payloads SET value = CAST('\"mine\"' AS BLOB) WHERE path = '/args/what'",
    "its salt": "UPDATE payloads SET salt = zeroblob(16) WHERE path = '/args/what'",
    "its arguments, erased": "DELETE FROM payloads WHERE path = '/args/what'",
    "its entry": "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), 'work#0', 'work#1') AS BLOB) "
    "WHERE kind = 'call.decided'",
    "its entry and its hash": "UPDATE entries SET bytes = CAST('{}' AS BLOB), hash = zeroblob(32) "
    "WHERE kind = 'call.decided'",
    "the review's entry": "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), 'desk', 'bank') AS BLOB) "
    "WHERE kind = 'review.opened'",
    "the ruling": "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), 'ann', 'bob') AS BLOB) "
    "WHERE kind = 'review.ruled'",
    "the order": "UPDATE entries SET seq = seq + 1000 WHERE kind = 'call.decided'",
}


@pytest.mark.parametrize("statement", REWRITTEN.values(), ids=REWRITTEN)
async def test_one_changed_byte_of_what_was_approved_and_nothing_runs(world: World, statement: str) -> None:
    act = world.act()
    graph = one(asking(act, what="pay", amount=7), act)
    run, review = await waiting(world, graph)
    await world.rule(review)
    world.sql(statement)
    with pytest.raises(Tampered):
        await resumed(world, graph, run)
    assert world.done == []


async def test_what_can_not_be_shown_as_it_was_can_not_be_ruled_on(world: World) -> None:
    act = world.act()
    _, review = await waiting(world, one(asking(act), act))
    world.sql("UPDATE payloads SET value = CAST('{\"args\":{}}' AS BLOB) WHERE path = '/shown'")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        with pytest.raises(Tampered):
            await review_view(journal, review)


@pytest.mark.parametrize("changed", ["spec", "version", "name", "arguments", "gone"])
async def test_an_approval_is_void_for_another_tool_agent_or_arguments(world: World, changed: str) -> None:
    act = world.act()
    run, review = await waiting(world, one(asking(act, what="pay"), act))
    await world.rule(review)
    agent: Any = asking(act, what="pay")
    if changed == "spec":
        act = world.act(timeout=61)
        agent = asking(act, what="pay")
    elif changed == "version":
        agent = remit.agent(version="2")(agent)
    elif changed == "name":
        agent = remit.agent(name="other")(agent)
    elif changed == "arguments":
        agent = asking(act, what="pay more")
    else:
        act = world.act("other")
        agent = asking(act, what="pay")
    with pytest.raises(RunError, match=r"another version of graph|nothing was executed"):
        await resumed(world, one(agent, act), run)
    assert world.done == []
    assert "review.consumed" not in [entry.kind for entry in await world.entries(f"review/{review}")]


async def test_a_ruling_copied_onto_another_reviews_stream_is_refused(world: World) -> None:
    act = world.act()

    async def agent(ctx: Context) -> list[str]:
        return await ctx.branches(*(lambda ctx, n=n: ctx.call(act, what=n) for n in "ab"))

    graph = one(agent, act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        first, second = report.reviews
        await world.rule(first)
        ruling = (await world.entries(f"review/{first}"))[-1].body
        await forged(world, f"review/{second}", ruling)
        with pytest.raises(Tampered):
            await runtime.resume(report.run)
    assert world.done == []


async def test_a_ruling_copied_between_two_reviews_of_one_call_is_refused(world: World) -> None:
    world.policy({"id": "a", "escalate": "true"}, {"id": "b", "escalate": "true", "to": "board"})
    act = world.act()
    graph = one(asking(act), act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        first, second = report.reviews
        await world.rule(first)
        await forged(world, f"review/{second}", (await world.entries(f"review/{first}"))[-1].body)
        with pytest.raises(Tampered):
            await runtime.resume(report.run)
    assert world.done == []


# --- 9 -------------------------------------------------------------------------------------------------


async def test_an_approval_is_used_once_and_two_runtimes_at_once_have_one_effect(world: World) -> None:
    act = world.act(body=lambda *_: asyncio.sleep(0))
    graph = one(asking(act, what="pay"), act)
    run, review = await waiting(world, graph)
    await world.rule(review)
    async with world.runtime(graph, worker="a") as first, world.runtime(graph, worker="b") as second:
        outcomes = await asyncio.gather(first.resume(run), second.resume(run), return_exceptions=True)
    assert world.did == ["pay"]
    assert sorted(type(outcome).__name__ for outcome in outcomes) in (
        ["OwnershipLost", "RunReport"],
        ["RunReport", "RunReport"],  # the second came when all was done
    )
    assert (await world.holds()).approvals == 1


async def test_without_any_lease_two_owners_at_once_still_have_one_effect(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases are hints: here everybody gets one."""
    from remit.store.leases import Leases

    async def take(*_: Any) -> bool:
        return True

    monkeypatch.setattr(Leases, "take", take)
    act = world.act(repeat="keyed")
    graph = one(asking(act, what="pay"), act)
    for _ in range(5):
        world.done.clear()
        run, review = await waiting(world, graph)
        await world.rule(review)
        async with world.runtime(graph, worker="a") as first, world.runtime(graph, worker="b") as second:
            outcomes = await asyncio.gather(first.resume(run), second.resume(run), return_exceptions=True)
        lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert all(isinstance(outcome, OwnershipLost) for outcome in lost), outcomes
        # A keyed tool may be asked again by who takes over, with the same key; an approval is used once.
        assert len({effect.key for effect in world.done}) == 1
        kinds = [entry.kind for entry in await world.entries(f"review/{review}")]
        assert kinds == ["review.opened", "review.ruled", "review.consumed"]
    await world.holds()


RESUME = """
import asyncio, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from worlds import World, one
from remit import Context
import remit.errors

class Shared(World):
    def __init__(self, folder):
        self.__dict__.update(World.__new__(World).__dict__)
        self.folder, self.policies = folder, folder / "policies"
        self.path = folder / "remit.db"
        self.url = f"sqlite:///{{self.path}}"
        self.keys = folder / "keys"
        from remit.testing import VirtualClock
        self.clock, self.done = VirtualClock(seed=hash(sys.argv[2]) % 1000), []

async def main():
    world = Shared(Path(sys.argv[1]))
    def body(invocation, what, amount):
        with open(world.folder / "effects", "a") as file:
            file.write(what + "\\n")
        return "done"
    act = world.act(body=body)
    async def agent(ctx: Context) -> str:
        return await ctx.call(act, what="pay")
    async with world.runtime(one(agent, act), worker=sys.argv[2]) as runtime:
        if sys.argv[3] == "start":
            print((await runtime.run("app", principal="me")).reviews[0])
            return
        sys.stdin.readline()
        try:
            print((await runtime.resume(sys.argv[3])).status)
        except remit.errors.RemitError as error:
            print(type(error).__name__)

asyncio.run(main())
"""


def process(world: World, worker: str, what: str) -> subprocess.Popen[str]:
    code = RESUME.format(here=str(Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, str(world.folder), worker, what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_an_approval_is_used_once_also_across_processes(world: World) -> None:
    review = process(world, "starter", "start").communicate(timeout=60)[0].strip()
    run = next(row["body"]["run"] for row in world.committed(f"review/{review}"))
    await world.rule(review)
    both = [process(world, worker, run) for worker in ("a", "b")]
    for one_ in both:
        assert one_.stdin is not None
        one_.stdin.write("go\n")
        one_.stdin.flush()
    said = sorted(one_.communicate(timeout=60)[0].strip() for one_ in both)
    assert said in (["OwnershipLost", "done"], ["done", "done"])
    assert (world.folder / "effects").read_text() == "pay\n"
    assert (await world.holds()).approvals == 1


async def test_an_old_copy_of_the_store_gives_the_same_key_so_that_the_tool_can_refuse(world: World) -> None:
    paid: set[str] = set()

    def once(invocation: Any, *_: Any) -> str:
        again = invocation.key in paid
        paid.add(invocation.key)
        return "paid before" if again else "paid"

    act = world.act(repeat="keyed", body=once)
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    await world.rule(review)
    shutil.copy(world.path, world.folder / "old.db")
    assert (await resumed(world, graph, run)).output == "paid"
    for file in world.folder.glob("remit.db*"):
        file.unlink()
    (world.folder / "old.db").rename(world.path)
    with pytest.raises(NotAuthentic, match="an older copy was put in its place"):
        await resumed(world, graph, run)
    await world.adopt()
    assert (await resumed(world, graph, run)).output == "paid before"
    assert len(paid) == 1


async def test_a_consumed_approval_can_not_be_consumed_again(world: World) -> None:
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    await world.rule(review)
    await resumed(world, graph, run)
    opened = (await world.entries(f"review/{review}"))[0].body
    await forged(world, f"review/{review}", ReviewConsumed(review, run, "work#0", opened.digest))  # type: ignore[attr-defined]
    with pytest.raises(Tampered, match="consumed can't be consumed"):
        await resumed(world, graph, run)


# --- 10 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", ["desk", "board"])
async def test_after_an_approval_a_rule_the_reviewers_were_not_shown_still_stands_and_can_be_approved(
    world: World, queue: str
) -> None:
    act = world.act()
    graph = one(asking(act, what="pay"), act)
    run, review = await waiting(world, graph)
    await world.rule(review)
    first = {"id": "escalate-rule", "escalate": "args.amount < 100"}
    world.policy({"id": "rest", "allow": "false"}, first, {"id": "new", "escalate": "true", "to": queue})
    report = await resumed(world, graph, run)
    assert report.status == "waiting"
    assert world.done == []
    new = [id for id in report.reviews if id != review]
    assert len(new) == 1
    async with await Journal.open(world.url, keys=world.keys) as journal:
        view = await review_view(journal, new[0])
    assert "main/new" in [hit["rule"] for hit in view["rules"]]
    await world.rule(new[0])
    assert (await resumed(world, graph, run)).output == "did pay"
    assert world.did == ["pay"]
    await world.holds()


async def test_after_an_approval_a_new_deny_still_stands(world: World) -> None:
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    await world.rule(review)
    world.policy({"id": "never", "deny": "true", "because": "closed"}, escalate="args.amount < 100")
    assert (await resumed(world, graph, run)).output == "closed"
    assert world.done == []
    await world.holds()


async def test_a_rule_whose_text_changed_was_not_shown(world: World) -> None:
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    await world.rule(review)
    world.policy({"id": "rest", "allow": "false"}, escalate="args.amount < 101")
    report = await resumed(world, graph, run)
    assert report.status == "waiting"
    assert world.done == []


@pytest.mark.parametrize("no", [0, 1])
async def test_a_call_that_two_queues_are_asked_about_needs_both_and_one_no_is_enough(world: World, no: int) -> None:
    world.policy({"id": "a", "escalate": "true"}, {"id": "b", "escalate": "true", "to": "board"})
    act = world.act()
    graph = one(asking(act), act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        assert len(report.reviews) == 2
        await world.rule(report.reviews[1 - no])
        assert (await runtime.resume(report.run)).status == "waiting"
        assert world.done == []
        await world.rule(report.reviews[no], approved=False, reason="no")
        assert (await runtime.resume(report.run)).output == "ann said no: no"
        yes = await runtime.run(graph, principal="me")
        for review in yes.reviews:
            await world.rule(review)
        assert (await runtime.resume(yes.run)).status == "done"
    assert len(world.done) == 1
    await world.holds()


# --- 11 ------------------------------------------------------------------------------------------------


async def test_once_a_call_is_refused_nobody_is_asked_about_it_any_more(world: World) -> None:
    world.policy({"id": "a", "escalate": "true"}, {"id": "b", "escalate": "true", "to": "board"})
    act = world.act()
    graph = one(asking(act), act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        first, other = report.reviews
        await world.rule(first, approved=False, reason="no")
        assert (await runtime.resume(report.run)).output == "ann said no: no"
        assert await runtime.projections.reviews(open_only=True) == []
        with pytest.raises(Stale, match="withdrawn"):
            await world.rule(other)
    assert world.done == []
    await world.holds()


@pytest.mark.parametrize("approved", [True, False])
async def test_rulings_are_refused_where_single_operator_mode_is_off(world: World, approved: bool) -> None:
    world.staff("bob").queues(single_operator=False, desk={"ttl": "1h", "reviewers": ["bob"]})
    act = world.act()
    _, review = await waiting(world, one(asking(act), act))
    with pytest.raises(NotEntitled, match="rulings without signatures are off"):
        await world.rule(review, approved)
    assert [entry.kind for entry in await world.entries(f"review/{review}")] == ["review.opened"]


async def test_every_ruling_in_single_operator_mode_says_so(world: World) -> None:
    act = world.act()
    run, review = await waiting(world, one(asking(act), act))
    await world.rule(review)
    ruled = (await world.entries(f"review/{review}"))[-1].body
    assert isinstance(ruled, ReviewRuled)
    assert ruled.single_operator is True
    loaded = (await world.entries("policy"))[-1].body
    assert loaded.single_operator is True  # type: ignore[attr-defined]
    assert run


async def test_a_ruling_made_in_single_operator_mode_is_no_approval_once_policy_switched_it_off(world: World) -> None:
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    await world.rule(review)
    world.staff("bob").queues(single_operator=False, desk={"ttl": "1h", "reviewers": ["bob"]})
    report = await resumed(world, graph, run)
    assert report.status == "done"
    assert world.done == []
    assert (await world.state(run)).calls["work#0"].because == "ruled"
    await world.holds()


# --- 12 ------------------------------------------------------------------------------------------------


async def test_an_expired_review_can_never_be_approved(world: World) -> None:
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    world.clock.advance(3600)
    with pytest.raises(Stale, match="expired"):
        await world.rule(review)
    report = await resumed(world, graph, run)
    assert report.output == "its review expired before anybody approved it"
    assert world.done == []
    assert [entry.kind for entry in await world.entries(f"review/{review}")] == ["review.opened", "review.expired"]
    with pytest.raises(Stale, match="expired"):
        await world.rule(review)
    await world.holds()


async def test_an_approval_that_expired_before_it_was_used_is_refused_at_dispatch(world: World) -> None:
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    world.clock.advance(3599)
    await world.rule(review)
    world.clock.advance(1)
    report = await resumed(world, graph, run)
    assert report.output == "its review expired before anybody approved it"
    assert world.done == []
    await world.holds()


async def test_a_review_is_good_until_its_very_deadline(world: World) -> None:
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    world.clock.advance(3599.999)
    await world.rule(review)
    assert (await resumed(world, graph, run)).output == "did it"


async def test_a_ruling_for_a_forged_time_is_found(world: World) -> None:
    """Somebody who can write the file rules after the deadline: it is not used."""
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    world.clock.advance(7200)
    opened = (await world.entries(f"review/{review}"))[0].body
    shown = tuple(hit.digest for hit in opened.disclosed)  # type: ignore[attr-defined]
    await forged(world, f"review/{review}", ReviewRuled(review, opened.digest, True, "ann", shown, None, True))  # type: ignore[attr-defined]
    report = await resumed(world, graph, run)
    assert "expired" in report.output
    assert world.done == []


async def test_two_people_who_rule_at_once_have_one_ruling(world: World) -> None:
    act = world.act()
    _, review = await waiting(world, one(asking(act), act))
    outcomes = await asyncio.gather(world.rule(review), world.rule(review, False), return_exceptions=True)
    assert sum(isinstance(outcome, (Stale, Conflict)) for outcome in outcomes) == 1
    assert len(await world.entries(f"review/{review}")) == 2


async def test_a_denial_needs_a_reason(world: World) -> None:
    act = world.act()
    _, review = await waiting(world, one(asking(act), act))
    with pytest.raises(BadInput, match="needs a reason"):
        await world.rule(review, approved=False, reason="  ")


async def test_a_ruling_that_could_not_be_written_is_no_ruling(world: World, faults: Any) -> None:
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    faults.arm("review.ruled", persisted=False)
    with pytest.raises(JournalError):
        await world.rule(review)
    assert (await resumed(world, graph, run)).status == "waiting"
    assert world.done == []


@pytest.mark.parametrize("persisted", [False, True])
async def test_an_approval_whose_use_could_not_be_written_is_used_once_all_the_same(
    world: World, faults: Any, persisted: bool
) -> None:
    act = world.act(repeat="keyed")
    graph = one(asking(act, what="pay"), act)
    run, review = await waiting(world, graph)
    await world.rule(review)
    faults.arm("call.decided_again", persisted=persisted)
    with pytest.raises(JournalError):
        await resumed(world, graph, run)
    assert world.done == []
    assert (await resumed(world, graph, run)).output == "did pay"
    assert world.did == ["pay"]
    assert (await world.holds()).approvals == 1


async def test_a_ruling_while_another_task_of_the_run_is_busy_is_noticed(world: World) -> None:
    """And so is one for a review that is in memory before it is in the journal."""
    world.policy({"id": "some", "escalate": "args.amount == 1"}, {"id": "rest", "allow": "args.amount != 1"})
    approved = asyncio.Event()

    async def until(*_: Any) -> str:
        await approved.wait()
        return "over"

    slow, act = world.act("slow", body=until), world.act(body=lambda *_: approved.set() or "acted")

    async def busy(ctx: Context) -> str:
        return await ctx.call(slow)

    async def asks(ctx: Context) -> str:
        return await ctx.call(act, amount=1)

    graph = Graph("app", [Task("busy", busy), Task("asks", asks)], tools=[slow, act])
    async with world.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
        driving = asyncio.ensure_future(runtime.resume(run))
        while not (found := await runtime.projections.reviews()):
            await asyncio.sleep(0.001)
        await world.rule(found[0].review)
        for _ in range(2_000):  # the watcher naps between two looks, by the test's clock
            if driving.done():
                break
            world.clock.advance(0.1)
            await asyncio.sleep(0.001)
        assert (await driving).output == {"busy": "over", "asks": "acted"}
    await world.holds()


async def test_resume_that_waits_goes_on_with_a_ruling_from_another_process_and_ends_at_the_deadline(
    world: World,
) -> None:
    act = world.act()
    graph = one(asking(act, what="pay"), act)
    async with world.runtime(graph) as runtime:
        for expires in (False, True):
            run = await runtime.start(graph, principal="me")
            driving = asyncio.ensure_future(runtime.resume(run, wait=True))
            while not (found := await runtime.projections.reviews(open_only=True)):
                await asyncio.sleep(0.001)
            if expires:
                world.clock.advance(3600)
                await runtime.start(graph, principal="me")  # news, whatever it is, wakes it
            else:
                await world.rule(found[0].review)
            assert (await driving).status == "done"
            assert (await world.state(run)).calls["work#0"].status == ("refused" if expires else "settled")
    assert world.did == ["pay"]


# --- time ----------------------------------------------------------------------------------------------


async def test_a_clock_that_is_set_back_brings_no_expired_approval_back(world: World) -> None:
    act = world.act()
    graph = one(asking(act), act)
    (run, review), (other, late) = await waiting(world, graph), await waiting(world, graph)
    await world.rule(review)
    world.clock.advance(3600)
    assert "expired" in (await resumed(world, graph, other)).output  # somebody writes, so that the journal knows
    world.clock = VirtualClock(seed=1)
    with pytest.raises(Stale):
        await world.rule(late)
    assert "expired" in (await resumed(world, graph, run)).output
    assert world.done == []
    at = [entry.at for entry in await world.entries(f"run/{run}")]
    assert at == sorted(at)


async def test_a_time_that_is_none_stops_everything_rather_than_be_passed_over(world: World) -> None:
    act = world.act()
    graph = one(asking(act), act)
    run, review = await waiting(world, graph)
    async with await Journal.open(world.url, keys=world.keys) as journal:
        stream = f"review/{review}"
        body = ReviewConsumed(review, run, "work#0", "")
        for at in ("2026", "2026-01-05T09:00:00", "soon"):
            await journal.append(Append((seal(stream, await journal.head(stream), at, "gate", body),)))
            with pytest.raises(Tampered, match="no moment"):
                await resumed(world, graph, run)
