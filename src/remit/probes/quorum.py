"""Who rules: once each, never for themselves, and only while they are in charge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from remit.errors import RemitError
from remit.probes.ground import DESK, FINANCE, NO, YES, Ground, Waiting, expect
from remit.probes.pens import Pen
from remit.runtime.ambient import user
from remit.runtime.keys import KeyRing
from remit.runtime.revoking import revoke
from remit.runtime.rulings import Reviewer, claim

_TWO = {**DESK, "approvals": 2}


async def _still_waits(ground: Ground, waiting: Waiting, what: str) -> None:
    said = await ground.resumes(waiting)
    expect(said == "waiting" and not ground.done, f"{what}: {said}")


async def one_voter_twice_is_no_quorum_of_two(ground: Ground) -> None:
    """the same person votes twice, under a second key, or through a delegate"""
    people = {**FINANCE, "ann": {"groups": ["finance"], "delegates": [{"to": "eve", "until": "2027-01-01"}]}, "eve": {}}
    ground.staff(people).queues(desk=_TWO)
    waiting = await ground.waits()
    expect((await ground.rules(waiting.review, "ann")).status == "open", "one vote settled a quorum of two")
    await ground.refuses(waiting.review, "ann")
    await ground.refuses(waiting.review, "bob", pen="ann")
    await ground.refuses(waiting.review, "eve", behalf="ann")
    await _still_waits(ground, waiting, "one person filled two seats")
    expect((await ground.rules(waiting.review, "bob")).status == "approved", "two people are no quorum")


async def one_yes_of_two_does_not_settle_it_not_even_in_the_end(ground: Ground) -> None:
    """a quorum of two gets one vote, and time runs out"""
    ground.queues(desk=_TWO)
    waiting = await ground.waits()
    await ground.rules(waiting.review, "ann")
    await _still_waits(ground, waiting, "one yes of two ran the call")
    ground.clock.advance(3600)
    expect("expired" in await ground.resumes(waiting), "time ran out, and the call is not refused")
    expect(not ground.done, "the time-out approved it")


async def one_queue_of_two_that_are_asked_does_not_settle_it(ground: Ground) -> None:
    """two rules escalate to two queues, and only one approves"""
    ground.policy({"id": "a", "escalate": "true"}, {"id": "b", "escalate": "true", "to": "board"})
    ground.queues(desk=DESK, board=DESK)
    waiting = await ground.waits()
    await ground.rules(waiting.review, "ann")
    await _still_waits(ground, waiting, "one queue of two ran the call")


async def the_agents_own_key_does_not_approve(ground: Ground) -> None:
    """the acting agent, the principal or who started the run is a reviewer with a key of their own, or another login"""
    people = {
        **FINANCE,
        "agent": {"groups": ["finance"]},
        "me": {"groups": ["finance"]},
        "ops": {"groups": ["finance"], "also": [user()]},
        "dan": {"groups": ["finance"], "also": ["me"]},
    }
    ground.staff(people)
    waiting = await ground.waits()
    for name in ("agent", "me", "ops", "dan"):
        await ground.refuses(waiting.review, name)
        await ground.refuses(waiting.review, name, NO)
    await _still_waits(ground, waiting, "who asked has approved it")
    await ground.rules(waiting.review, "bob")


async def a_delegate_of_the_requester_does_not_approve(ground: Ground) -> None:
    """who asked delegates to a colleague, who approves for them or in their own name"""
    people = {
        **FINANCE,
        "me": {
            "groups": ["finance"],
            "delegates": [{"to": "ann", "until": "2027-01-01"}, {"to": "eve", "until": "2027-01-01"}],
        },
        "eve": {},
    }
    ground.staff(people)
    waiting = await ground.waits()
    for name, behalf in (("ann", ""), ("ann", "me"), ("eve", "me"), ("eve", "bob"), ("bob", "me")):
        await ground.refuses(waiting.review, name, behalf=behalf)
    await _still_waits(ground, waiting, "a delegate of who asked has approved it")


async def a_reviewer_who_is_removed_after_claiming_does_not_rule(ground: Ground) -> None:
    """a reviewer claims, is removed from reviewers.yaml, and rules"""
    waiting = await ground.waits()
    async with ground.journal() as journal:
        await claim(journal, ground.clock, waiting.review, Reviewer("ann", Pen("ann")))
    ground.staff({name: said for name, said in FINANCE.items() if name != "ann"})
    await _still_waits(ground, waiting, "a claim ran the call")
    await ground.refuses(waiting.review, "ann")
    await _still_waits(ground, waiting, "who was removed has approved it")


async def an_approval_of_who_is_removed_before_it_is_used_is_asked_again(ground: Ground) -> None:
    """a reviewer approves, and is removed or gets another key before the call runs"""
    changes: dict[str, Callable[[Ground], Ground]] = {
        "removed": lambda here: here.staff({name: said for name, said in FINANCE.items() if name != "ann"}),
        "key": lambda here: here.staff(FINANCE, ann="ann's new key"),
        "quorum": lambda here: here.queues(desk=_TWO),
    }
    for name, change in changes.items():
        here = ground.another(name)
        waiting = await here.approved()
        change(here)
        await _still_waits(here, waiting, f"an approval that doesn't count any more ({name}) ran the call")


async def a_key_that_is_rotated_ends_and_what_it_signed_before_stays_proven(ground: Ground) -> None:
    """a key is replaced after a ruling: the old one signs once more, and an auditor checks the old ruling"""
    waiting = await ground.approved()
    expect(await ground.resumes(waiting) == "did rent", "an approved call doesn't run")
    ground.staff(FINANCE, ann="ann's new key")
    second = await ground.waits(what="villa")
    await ground.refuses(second.review, "ann", pen="ann")
    await ground.rules(second.review, "ann", pen="ann's new key")
    await ground.resumes(second)
    expect(await ground.verifies(), "what was signed before the rotation doesn't verify any more")
    ground.clock.advance(timedelta(days=400).total_seconds())
    expect(await ground.verifies(), "it doesn't verify a year later")


async def a_name_that_looks_like_a_reviewers_does_not_let_them_approve(ground: Ground) -> None:
    """a reviewer asks under their own name in capitals, with a blank, an unseen letter or one that looks alike"""
    for number, name in enumerate(("ANN", "Ann", "\uff21nn")):
        here = ground.another(f"written-{number}")
        waiting = await here.waits(principal=name)
        for said in (YES, NO):
            expect("principal" in await here.refuses(waiting.review, "ann", said), "it was refused for something else")
        await _still_waits(here, waiting, f"`ann` has approved what `{name}` asked for")
        await here.rules(waiting.review, "bob")
        expect(await here.verifies(), "what a colleague approved does not verify")
    for name in ("ann ", "ann\u200b", "\u0430nn", "a\u0578\u0578", "ann\u3164", "ann\n", "\u0391\u039d\u039d"):
        try:
            await ground.waits(principal=name)
        except RemitError as error:
            expect("name" in str(error), f"it stopped for something else: {error}")
        else:
            expect(False, f"a run was started for {name!a}")
    expect(not ground.done, "it ran")


async def a_reviewer_who_is_revoked_does_not_rule_whatever_the_policies_say(ground: Ground) -> None:
    """a reviewer is revoked after approving, and rules again; the policy files still have them"""
    waiting = await ground.approved()
    second = await ground.waits(what="villa")
    async with ground.journal() as journal:
        key = await KeyRing(ground.folder / "keys").new(journal, ground.clock, "operator:ops", "example.com/probe")
        signer = await KeyRing(ground.folder / "keys").signer(journal)
        await revoke(journal, ground.clock, signer, (key,), "ann", "ops", "not to be trusted")
    await _still_waits(ground, waiting, "an approval of who was revoked before it was used ran the call")
    expect("revoked" in await ground.refuses(second.review, "ann"), "it was refused for something else")
    ground.staff(FINANCE)
    expect("revoked" in await ground.refuses(second.review, "ann"), "who was revoked is back with the files")
    expect(await ground.verifies(), "what was signed before the revocation doesn't verify any more")
