"""Approvals that nobody gave, or gave for something else, or gave once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from remit.core.entries import PolicyLoaded, ReviewOpened, ReviewRuled
from remit.core.rulings import statement
from remit.core.typed import Invocation, tool
from remit.errors import RemitError
from remit.probes.ground import DESK, FINANCE, Ground, Waiting, expect, paying
from remit.probes.pens import Pen


async def _forges(ground: Ground, review: str, by: str, pen: Pen | None, **changes: Any) -> None:
    """Appends a vote as somebody who can write the store, and may have a key."""
    opened = (await ground.entries(f"review/{review}"))[0].body
    loaded = (await ground.entries("policy"))[-1].body
    if not isinstance(opened, ReviewOpened) or not isinstance(loaded, PolicyLoaded):
        raise AssertionError("the probe forges something else than a ruling")
    body = ReviewRuled(
        review, opened.digest, True, by, tuple(hit.digest for hit in opened.disclosed),
        expires=opened.expires, policies=loaded.digest, groups=("finance",),
    )  # fmt: skip
    if pen is not None:
        body = msgspec.structs.replace(body, signature=pen.sign_now(statement(body)))
    await ground.adds(f"review/{review}", msgspec.structs.replace(body, **changes), f"reviewer:{by}")


async def a_forged_approval_in_the_store_is_none_and_is_found(ground: Ground) -> None:
    """a ruling is written into the store: unsigned, with a wrong key, or saying more than was signed"""
    forgeries: dict[str, tuple[str, Pen | None, dict[str, Any]]] = {
        "unsigned": ("bob", None, {}),
        "as single operator": ("bob", None, {"single_operator": True}),
        "with a key that is nobody's": ("bob", Pen("mallory"), {}),
        "with another reviewer's key": ("bob", Pen("ann"), {}),
        "signed for git": ("bob", Pen("bob", "git"), {}),
        "of another deadline": ("bob", Pen("bob"), {"expires": "2036-01-01T00:00:00.000000Z"}),
        "of another group": ("bob", Pen("bob"), {"groups": ("finance", "board")}),
        "by the principal": ("me", Pen("me"), {}),
        "by a stranger": ("mallory", Pen("mallory"), {}),
    }
    for name, (by, pen, changes) in forgeries.items():
        here = ground.another(name).staff({**FINANCE, "me": {"groups": ["finance"]}})
        waiting = await here.waits()
        await _forges(here, waiting.review, by, pen, **changes)
        said = await here.resumes(waiting)
        expect(not here.done, f"an approval {name} ran the call: {said}")
        expect(not await here.verifies(), f"an auditor doesn't see an approval {name}")
    here = ground.another("honest")
    waiting = await here.waits()
    await _forges(here, waiting.review, "bob", Pen("bob"))
    expect(await here.resumes(waiting) == "did rent", "the probe's own forging is at fault: a true ruling fails, too")


async def an_approval_copied_to_another_call_does_not_count(ground: Ground) -> None:
    """a signed approval is copied to another call's review: as it is, or made to fit"""
    for name in ("as it is", "made to fit"):
        here = ground.another(name)
        first, second = await here.waits(what="rent"), await here.waits(what="villa")
        await here.rules(first.review, "ann")
        ruled: Any = (await here.entries(f"review/{first.review}"))[-1].body
        if name == "as it is":
            await here.adds(f"review/{second.review}", ruled, "reviewer:ann")
        else:
            await _forges(here, second.review, "ann", None, signature=ruled.signature)
        said = await here.resumes(second)
        expect(not here.done, f"an approval copied {name} ran another call: {said}")
        expect(not await here.verifies(), f"an auditor doesn't see an approval copied {name}")


async def an_approval_is_used_once_by_two_workers_at_once(ground: Ground) -> None:
    """two workers resume the approved run at the same time"""
    for number in range(3):
        here = ground.another(str(number))
        waiting = await here.approved()
        async with asyncio.TaskGroup() as group:
            both = [group.create_task(here.resumes(waiting, worker=worker)) for worker in ("one", "two")]
        expect(len(here.done) == 1, f"{len(here.done)} effects of one approval: {[one.result() for one in both]}")
        expect(await here.verifies(), "the journal of two workers doesn't verify")


async def an_approval_replayed_from_a_backup_gives_no_second_effect(ground: Ground) -> None:
    """after the effect the store, or only its approval, is put back from a backup"""
    paid: list[str] = []

    async def pay(invocation: Invocation, what: str = "", amount: int = 0) -> str:
        if invocation.key in paid:
            return "paid before"
        paid.append(invocation.key)
        return f"paid {what} {amount}"

    keyed = tool(name="pay", effect="commit", repeat="keyed", labels={})(pay)
    waiting = await ground.waits(paying(keyed, what="rent"))
    await ground.rules(waiting.review, "ann")
    backup = ground.backup("backup.db")
    expect((await ground.resumes(waiting)).startswith("paid rent"), "an approved call doesn't run")
    ground.restore(backup)
    expect(await ground.resumes(waiting) == "paid before", "the key is another one after a restore")
    expect(len(paid) == 1, f"{len(paid)} effects of one approval")
    here = ground.another("approval alone")
    waiting = await here.approved()
    await here.resumes(waiting)
    here.sql("DELETE FROM entries WHERE kind = 'review.consumed'")
    said = await here.resumes(waiting)
    expect(len(here.done) == 1, f"an approval whose use was deleted was used again: {said}")
    expect(not await here.verifies(), "an auditor doesn't see that the approval's use is gone")


async def an_answer_to_no_question_does_nothing(ground: Ground) -> None:
    """a ruling for a review that doesn't exist; a run and a review of unknown id; no id at all"""
    waiting = await ground.waits()
    body = ReviewRuled("nosuchreview", "ab" * 32, True, "ann", (), None)
    await ground.adds("review/nosuchreview", body, "reviewer:ann")
    expect(await ground.resumes(waiting) == "waiting", "a ruling on nothing moved the run")
    for id in ("nosuchother", "", "*", waiting.review[:4], waiting.review + "0", "../" + waiting.review):
        try:
            await ground.rules(id, "ann")
        except RemitError:
            continue
        raise AssertionError(f"a ruling on `{id}` was silently accepted")
    said = await ground.resumes(Waiting(waiting.graph, "nosuchrun", ""))
    expect(said.startswith("UnknownId"), f"an unknown run was silently ignored: {said}")
    expect(not ground.done, "it ran")


async def a_stolen_signature_does_not_rule_in_another_queue(ground: Ground) -> None:
    """a review is handed on, and the approvals of the queue it came from are counted in the next"""
    ground.staff({**FINANCE, "leo": {"groups": ["board"]}}).queues(
        desk={**DESK, "approvals": 2, "on_expiry": "hand on", "hand_on_to": ["board"]},
        board={"ttl": "1h", "reviewers": ["board", "finance"], "approvals": 2},
    )
    waiting = await ground.waits()
    await ground.rules(waiting.review, "ann")
    ground.clock.advance(3600)
    expect(await ground.resumes(waiting) == "waiting", "an expired review was not handed on")
    expect((await ground.rules(waiting.review, "leo")).status == "open", "a vote of the last queue was counted")
    expect(await ground.resumes(waiting) == "waiting", "one vote of two ran the call")
    expect(not ground.done, "it ran")
