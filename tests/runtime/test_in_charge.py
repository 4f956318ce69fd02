"""Guarantees 8 to 12 where several people are in charge: quorum, separation, claims, edits, answers, signatures."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pens import Pen
from worlds import World, one

from remit import Context, Denied
from remit.core.entries import ReviewRuled, seal
from remit.core.rulings import statement
from remit.errors import BadInput, Claimed, NotEntitled, PolicyError, Stale
from remit.runtime.rulings import Reviewer, Said, claim, comment, hand_on, release, rule
from remit.runtime.waiting import claim_next
from remit.store.journal import Append, Journal
from remit.verify import verify

TWO = {"ttl": "1h", "approvals": 2, "reviewers": ["finance"]}
FINANCE: dict[str, dict[str, Any]] = {name: {"groups": ["finance"]} for name in ("ann", "bob", "cat")}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path).policy({"id": "rest", "allow": "false"}, escalate="args.amount < 100")
    return world.staff(**FINANCE).queues(single_operator=False, desk=TWO)


def paying(act: Any, **arguments: Any) -> Any:
    async def agent(ctx: Context) -> str:
        try:
            said = str(await ctx.call(act, **arguments))
        except Denied as error:
            return "; ".join(error.reasons)
        return "; ".join((said, *ctx.notices))

    return agent


async def waiting(world: World, principal: str = "me", **arguments: Any) -> tuple[Any, str, str]:
    act = world.act()
    graph = one(paying(act, **{"what": "pay", "amount": 7, **arguments}), act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal=principal)
    assert (report.status, world.done) == ("waiting", [])
    return graph, report.run, report.reviews[0]


async def resumed(world: World, graph: Any, run: str) -> Any:
    async with world.runtime(graph) as runtime:
        return await runtime.resume(run)


# --- quorum ------------------------------------------------------------------------------------------------


async def test_a_quorum_of_two_needs_two_distinct_people(world: World) -> None:
    graph, run, review = await waiting(world)
    assert (await world.rule(review, by="ann")).status == "open"
    assert (await resumed(world, graph, run)).status == "waiting"
    with pytest.raises(Stale, match="ann has ruled before"):
        await world.rule(review, by="ann")
    assert world.done == []
    assert (await world.rule(review, by="bob")).status == "approved"
    assert (await resumed(world, graph, run)).output == "did pay"
    found = await world.holds()
    assert (found.effects, found.approvals, found.rulings) == (1, 1, 2)


async def test_one_of_each_of_two_groups_and_nobody_fills_two_seats(world: World) -> None:
    world.staff(
        ann={"groups": ["finance", "legal"]}, bob={"groups": ["finance", "legal"]}, cat={"groups": ["finance"]}
    ).queues(desk={"approvals": {"finance": 1, "legal": 1}, "reviewers": ["finance", "legal"]}, single_operator=False)
    graph, run, review = await waiting(world)
    assert (await world.rule(review, by="ann")).status == "open"
    assert (await world.rule(review, by="cat")).status == "approved"
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()


async def test_the_first_denial_ends_a_review_unless_its_queue_says_otherwise(world: World) -> None:
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann")
    assert (await world.rule(review, False, "no budget", by="bob")).status == "denied"
    with pytest.raises(Stale, match="a ruling is final"):
        await world.rule(review, by="cat")
    assert (await resumed(world, graph, run)).output == "bob said no: no budget"
    world.queues(single_operator=False, desk={**TWO, "denials": 2})
    graph, run, review = await waiting(world)
    assert (await world.rule(review, False, by="ann")).status == "open"
    with pytest.raises(Stale, match="ann has ruled before"):
        await world.rule(review, False, by="ann")
    await world.rule(review, by="bob")
    assert (await world.rule(review, by="cat")).status == "approved"
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()


async def test_of_two_who_rule_at_once_each_counts_once_and_no_third_is_asked_for(world: World) -> None:
    graph, run, review = await waiting(world)
    said = await asyncio.gather(
        *(world.rule(review, by=name) for name in ("ann", "bob", "cat", "ann")), return_exceptions=True
    )
    assert sum(not isinstance(one_, Exception) for one_ in said) == 2
    assert all(isinstance(one_, Stale) for one_ in said if isinstance(one_, Exception))
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()


# --- separation --------------------------------------------------------------------------------------------


async def test_whoever_asked_can_never_approve_nor_can_their_delegate(world: World) -> None:
    soon = "2027-01-01"
    world.staff(
        ann={"groups": ["finance"], "also": ["me"], "delegates": [{"to": "bob", "until": soon}]},
        bob={"groups": ["finance"]}, cat={"groups": ["finance"]}, dan={"groups": ["finance"]},
        agent={"groups": ["finance"]},
    )  # fmt: skip
    _, _, review = await waiting(world)
    for name, why in (("ann", "is the principal"), ("bob", "is a delegate of `ann`"), ("agent", "is the agent")):
        with pytest.raises(NotEntitled, match=why):
            await world.rule(review, by=name)
        with pytest.raises(NotEntitled, match=why):
            await world.rule(review, False, by=name)
        with pytest.raises(NotEntitled, match=why):
            await world.does(claim, review, name)
    with pytest.raises(NotEntitled, match="is no reviewer"):
        await world.rule(review, by="mallory")
    await world.rule(review, by="cat")
    assert (await world.rule(review, by="dan")).status == "approved"


async def test_who_started_the_run_may_not_rule_unless_the_queue_says_so(world: World) -> None:
    from remit.runtime.ambient import user

    world.staff(**FINANCE, ops={"groups": ["finance"], "also": [user()]})
    graph, run, review = await waiting(world)
    with pytest.raises(NotEntitled, match="`ops` started the run"):
        await world.rule(review, by="ops")
    world.queues(single_operator=False, desk={**TWO, "may_also_rule": ["starter"]})
    await resumed(world, graph, run)  # the policy is in force once a worker has it
    await world.rule(review, by="ops")
    await world.rule(review, by="ann")
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()


async def test_a_delegate_rules_on_behalf_of_one_person_and_the_two_count_once(world: World) -> None:
    people = {name: dict(said) for name, said in FINANCE.items()}
    people["ann"]["delegates"] = [{"to": "eve", "until": "2027-01-01", "queues": ["desk"]}]
    world.staff("eve", **people)
    graph, run, review = await waiting(world)
    with pytest.raises(NotEntitled, match="`eve` is no reviewer of queue"):
        await world.rule(review, by="eve")
    with pytest.raises(NotEntitled, match="`bob` has not delegated"):
        await world.rule(review, by="eve", behalf="bob")
    await world.rule(review, by="eve", behalf="ann")
    with pytest.raises(Stale, match="on their behalf"):
        await world.rule(review, by="ann")
    assert (await world.rule(review, by="bob")).status == "approved"
    ruled = [entry.body for entry in await world.entries(f"review/{review}") if isinstance(entry.body, ReviewRuled)]
    assert [(body.reviewer, body.on_behalf, body.groups) for body in ruled] == [
        ("eve", "ann", ("finance",)), ("bob", "", ("finance",)),
    ]  # fmt: skip
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()


# --- claims ------------------------------------------------------------------------------------------------


async def test_a_claim_keeps_others_out_until_it_lapses(world: World) -> None:
    _, _, review = await waiting(world)
    assert (await world.does(claim, review, "ann")).status == "claimed"
    with pytest.raises(Claimed, match="is claimed by ann"):
        await world.rule(review, by="bob")
    with pytest.raises(Claimed, match="is claimed by ann"):
        await world.does(claim, review, "bob")
    await world.does(comment, review, "bob", "the invoice looks odd to me")
    world.clock.advance(1800)
    await world.does(claim, review, "bob")
    assert (await world.rule(review, by="bob")).status == "open"
    await world.holds()


async def test_who_claimed_and_released_does_not_rule(world: World) -> None:
    _, _, review = await waiting(world)
    await world.does(claim, review, "ann")
    with pytest.raises(Claimed):
        await world.does(release, review, "bob")
    assert (await world.does(release, review, "ann")).status == "open"
    with pytest.raises(NotEntitled, match="claimed this review and let it go"):
        await world.rule(review, by="ann")
    await world.rule(review, by="bob")
    assert (await world.rule(review, by="cat")).status == "approved"


# --- expiry and handing on ---------------------------------------------------------------------------------


async def test_an_expired_review_is_handed_on_to_the_next_queue_and_counted_afresh(world: World) -> None:
    world.staff(**FINANCE, leo={"groups": ["board"]}, mia={"groups": ["board"]}).queues(
        single_operator=False,
        desk={**TWO, "on_expiry": "hand on", "hand_on_to": ["board"]},
        board={"ttl": "2h", "reviewers": ["board"], "approvals": 1},
    )
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann")
    world.clock.advance(3600)
    with pytest.raises(Stale, match="expired"):
        await world.rule(review, by="bob")
    assert (await resumed(world, graph, run)).status == "waiting"
    with pytest.raises(NotEntitled, match="`bob` is no reviewer of queue `board`"):
        await world.rule(review, by="bob")
    assert (await world.rule(review, by="leo")).status == "approved"
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()
    world.done.clear()
    graph, run, review = await waiting(world)
    for seconds in (3600, 7200):
        world.clock.advance(seconds)
        report = await resumed(world, graph, run)
    assert report.output == "its review expired before anybody approved it"
    await world.holds()


async def test_a_reviewer_hands_on_only_where_the_queue_says(world: World) -> None:
    world.queues(
        single_operator=False, desk={**TWO, "hand_on_to": ["board"]}, board={"reviewers": ["ann"], "ttl": "2h"}
    )
    graph, run, review = await waiting(world)
    with pytest.raises(BadInput, match="hands on to `board`, not to `desk`"):
        await world.does(hand_on, review, "bob", "desk")
    await world.rule(review, by="cat")
    assert (await world.does(hand_on, review, "bob", "board")).queue == "board"
    assert (await world.rule(review, by="ann")).status == "approved"
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()


# --- policy moves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["the quorum is raised", "a reviewer is removed", "a key is replaced"])
async def test_an_approval_that_no_longer_counts_is_asked_for_again(world: World, change: str) -> None:
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann")
    await world.rule(review, by="bob")
    if change == "the quorum is raised":
        world.queues(single_operator=False, desk={**TWO, "approvals": 3})
    elif change == "a reviewer is removed":
        world.staff(**{name: said for name, said in FINANCE.items() if name != "bob"}, dan=FINANCE["cat"])
    else:
        world.staff(**FINANCE, dan=FINANCE["cat"])
        path = world.policies / "reviewers.yaml"
        path.write_text(path.read_text().replace(Pen("bob").public.text, Pen("another").public.text))
    report = await resumed(world, graph, run)
    assert (report.status, world.done) == ("waiting", [])
    (again,) = report.reviews
    assert again != review
    for name in ("ann", "cat") if change != "the quorum is raised" else ("ann", "bob", "cat"):
        await world.rule(again, by=name)
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()


async def test_a_reviewer_removed_between_claim_and_ruling_does_not_rule(world: World) -> None:
    graph, run, review = await waiting(world)
    await world.does(claim, review, "ann")
    world.staff(bob=FINANCE["bob"], cat=FINANCE["cat"])
    await resumed(world, graph, run)
    with pytest.raises(NotEntitled, match="`ann` is no reviewer now"):
        await world.rule(review, by="ann")


async def test_a_policy_that_changes_while_a_ruling_is_signed_asks_to_look_again(world: World) -> None:
    graph, run, review = await waiting(world)

    class Slow(Pen):
        async def sign(self, message: bytes) -> str:
            world.queues(single_operator=False, desk={**TWO, "ttl": "3h"})
            await resumed(world, graph, run)
            return self.sign_now(message)

    async with await Journal.open(world.url, keys=world.keys) as journal:
        with pytest.raises(Stale, match="look again"):
            await rule(journal, world.clock, review, Reviewer("ann", Slow("ann")), Said(True))


# --- forgeries ---------------------------------------------------------------------------------------------


async def forge(world: World, stream: str, by: str, pen: Pen | None, **changes: Any) -> None:
    """Appends a vote as somebody who can write the store, and may have a key."""
    async with await Journal.open(world.url, keys=world.keys) as journal:
        entries = await journal.read(f"review/{stream}")
        opened: Any = entries[0].body
        loaded: Any = (await journal.read("policy"))[-1].body
        body = ReviewRuled(
            stream, opened.digest, True, by, tuple(hit.digest for hit in opened.disclosed),
            expires=opened.expires, policies=loaded.digest, groups=("finance",),
        )  # fmt: skip
        if pen is not None:
            body = msgspec.structs.replace(body, signature=pen.sign_now(statement(body)))
        body = msgspec.structs.replace(body, **changes)
        at = entries[-1].at
        await journal.append(Append((seal(f"review/{stream}", entries[-1].head, at, f"reviewer:{by}", body),)))


FORGERIES: dict[str, tuple[str, Pen | None, dict[str, Any]]] = {
    "without a signature": ("bob", None, {}),
    "as single operator": ("bob", None, {"single_operator": True}),
    "with a key that is nobody's": ("bob", Pen("mallory"), {}),
    "with another reviewer's key": ("bob", Pen("ann"), {}),
    "signed for something else": ("bob", Pen("bob", "git"), {}),
    "of another deadline": ("bob", Pen("bob"), {"expires": "2030-01-01T00:00:00.000000Z"}),
    "of another group": ("bob", Pen("bob"), {"groups": ("finance", "board")}),
    "by the principal": ("me", Pen("me"), {}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_vote_in_the_store_is_no_approval_and_is_found(world: World, forgery: str) -> None:
    world.staff(**FINANCE, me={"groups": ["finance"]})
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann")
    by, pen, changes = FORGERIES[forgery]
    await forge(world, review, by, pen, **changes)
    report = await resumed(world, graph, run)
    assert world.done == [], report
    assert not verify(await world.export()).ok


async def test_a_ruling_copied_to_another_review_is_none(world: World) -> None:
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann")
    await world.rule(review, by="bob")
    ruled = [entry.body for entry in await world.entries(f"review/{review}")][1:]
    graph, run, other = await waiting(world, what="more")
    for body in ruled:
        assert isinstance(body, ReviewRuled)
        opened: Any = (await world.entries(f"review/{other}"))[0].body
        copied = {"digest": opened.digest, "expires": opened.expires}
        await forge(world, other, body.reviewer, None, **copied, signature=body.signature)
    await resumed(world, graph, run)
    assert world.done == []
    assert not verify(await world.export()).ok


# --- edits -------------------------------------------------------------------------------------------------

EDITS = {**TWO, "edit": ["amount"]}


async def test_an_edited_call_runs_as_edited_and_the_agent_is_told(world: World) -> None:
    world.queues(single_operator=False, desk=EDITS)
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann")
    assert (await world.rule(review, by="bob", edited={"amount": 5})).status == "open"  # ann approved another call
    assert (await world.rule(review, by="ann")).status == "approved"
    said = "did pay; `act` did not run as asked: bob changed `amount`, and that ran"
    assert (await resumed(world, graph, run)).output == said
    assert [effect.amount for effect in world.done] == [5]
    assert (await resumed(world, graph, run)).output == said
    call = (await world.state(run)).calls["work#0"]
    assert call.editor == "bob" and set(call.edited) == {"amount"}
    assert (await world.holds()).effects == 1
    checked = subprocess.run(["python3", "-I", str(await world.export() / "verify.py")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("edited", "why"),
    [
        ({"what": "mine"}, "permits `amount` to be edited, not `what`"),
        ({"tool": "other"}, "permits `amount` to be edited, not `tool`"),
        ({"amount": "5"}, "is not of type 'integer'"),
        ({"amount": 7}, "changes nothing"),
    ],
)
async def test_what_may_not_be_edited_or_does_not_fit_is_refused_before_anything_is_saved(
    world: World, edited: dict[str, object], why: str
) -> None:
    world.queues(single_operator=False, desk=EDITS)
    _, _, review = await waiting(world)
    with pytest.raises(BadInput, match=why):
        await world.rule(review, by="ann", edited=edited)
    assert len(await world.entries(f"review/{review}")) == 1


DENIES_66 = {"id": "no", "deny": "args.amount == 66", "because": "66 is unlucky"}


async def test_an_edit_that_policy_denies_is_refused_before_it_is_signed_and_the_review_stays_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.policy(DENIES_66, escalate="args.amount < 100")
    world.queues(single_operator=False, desk={**EDITS, "approvals": 1})
    graph, run, review = await waiting(world)
    signed: list[bytes] = []
    sign = Pen.sign
    monkeypatch.setattr(Pen, "sign", lambda pen, message: signed.append(message) or sign(pen, message))
    with pytest.raises(BadInput, match=r"policy denies the call as you changed it.*66 is unlucky"):
        await world.rule(review, by="ann", edited={"amount": 66})
    assert not signed
    assert len(await world.entries(f"review/{review}")) == 1
    assert (await world.rule(review, by="ann", edited={"amount": 65})).status == "approved"
    assert signed
    assert (await resumed(world, graph, run)).status == "done"
    assert [effect.amount for effect in world.done] == [65]
    await world.holds()


async def test_who_approves_an_edit_after_policy_came_to_deny_it_is_refused(world: World) -> None:
    world.policy(escalate="args.amount < 100")
    world.queues(single_operator=False, desk=EDITS)
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann", edited={"amount": 66})
    world.policy(DENIES_66, escalate="args.amount < 100")
    async with world.runtime(graph):
        pass  # it records that another set is in force
    with pytest.raises(BadInput, match="66 is unlucky"):
        await world.rule(review, by="bob")
    await world.rule(review, by="bob", approved=False, reason="no")
    await resumed(world, graph, run)
    assert world.done == []
    await world.holds()


async def test_an_edited_call_that_policy_comes_to_deny_does_not_run(world: World) -> None:
    world.policy(escalate="args.amount < 100")
    world.queues(single_operator=False, desk={**EDITS, "approvals": 1})
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann", edited={"amount": 66})
    world.policy(DENIES_66, escalate="args.amount < 100")
    assert "66 is unlucky" in (await resumed(world, graph, run)).output
    assert world.done == []
    await world.holds()


async def test_an_edit_is_decided_with_who_approves_it_and_at_the_time_of_the_ruling(world: World) -> None:
    world.policy(
        {"id": "self", "deny": "approval.given && 'ann' in approval.reviewers && args.amount == 66"},
        {"id": "late", "deny": "now > timestamp('2026-01-05T09:30:00Z') && args.amount == 67"},
        escalate="args.amount < 100",
    )
    world.queues(single_operator=False, desk={**EDITS, "approvals": 1})
    _, _, review = await waiting(world)
    with pytest.raises(BadInput, match="policy denies"):
        await world.rule(review, by="ann", edited={"amount": 66})
    world.clock.advance(1900)
    with pytest.raises(BadInput, match="policy denies"):
        await world.rule(review, by="ann", edited={"amount": 67})
    assert (await world.rule(review, by="bob", edited={"amount": 66})).status == "approved"


async def test_an_edited_call_that_another_rule_escalates_asks_its_queue_about_the_edited_call(world: World) -> None:
    world.policy(
        {"id": "small", "escalate": "args.amount < 50"},
        {"id": "big", "escalate": "args.amount >= 50", "to": "board"},
    )
    world.queues(single_operator=False, desk={**EDITS, "approvals": 1}, board={"reviewers": ["cat"], "ttl": "1h"})
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann", edited={"amount": 60})
    report = await resumed(world, graph, run)
    assert (report.status, world.done) == ("waiting", [])
    (asked,) = [one_ for one_ in report.reviews if one_ != review]
    await world.rule(asked, by="cat")
    assert "ann changed `amount`" in (await resumed(world, graph, run)).output
    assert [effect.amount for effect in world.done] == [60]
    await world.holds()


# --- answers -----------------------------------------------------------------------------------------------


async def test_an_answer_stands_for_the_tools_result_and_nothing_runs(world: World) -> None:
    world.queues(single_operator=False, desk={**TWO, "approvals": 1, "respond": True})
    graph, run, review = await waiting(world)
    with pytest.raises(BadInput, match="is not of type 'string'"):
        await world.rule(review, by="ann", answer=b"5")
    await world.rule(review, by="ann", answer=b'"paid by hand"')
    said = "paid by hand; `act` did not run: ann answered in its place, and this is what it returned"
    assert (await resumed(world, graph, run)).output == said
    assert world.done == []
    state = await world.state(run)
    assert (state.calls["work#0"].answered, state.tasks["work"].labels) == ("ann", ("by:ann",))
    found = await world.holds()
    assert (found.effects, found.approvals) == (0, 1)


async def test_where_the_queue_does_not_say_so_nobody_answers_in_the_tools_place(world: World) -> None:
    _, _, review = await waiting(world)
    with pytest.raises(NotEntitled, match="doesn't permit to answer"):
        await world.rule(review, by="ann", answer=b'"x"')


# --- evidence ----------------------------------------------------------------------------------------------


async def test_every_ruling_verifies_with_ssh_keygen_from_an_export(world: World) -> None:
    graph, run, review = await waiting(world)
    await world.rule(review, by="ann")
    await world.rule(review, False, "no", by="bob")
    await resumed(world, graph, run)
    bundle, out = await world.export(), world.folder / "rulings"
    written = ["python3", "-I", str(bundle / "verify.py"), "--rulings", str(out)]
    assert "2 signed rulings" in subprocess.run(written, capture_output=True, text=True, check=True).stdout
    rulings = sorted(out.glob("*.json"))
    assert [path.name for path in rulings] == [f"{review}-1.json", f"{review}-2.json"]
    for statement_, who in zip(rulings, ("ann", "bob"), strict=True):
        command = [
            "ssh-keygen", "-Y", "verify", "-f", str(bundle / "allowed_signers"), "-I", who, "-n", "ruling@remit",
            "-s", f"{statement_}.sig",
        ]  # fmt: skip
        for data, holds in ((statement_.read_bytes(), True), (statement_.read_bytes() + b" ", False)):
            done = subprocess.run(command, input=data, capture_output=True, check=False)
            assert (done.returncode == 0) is holds, done.stderr


# --- in doubt ----------------------------------------------------------------------------------------------


async def test_of_a_call_in_doubt_every_reviewer_may_say_what_to_do_but_who_asked(world: World) -> None:
    act = world.act("slow", timeout=1.0, body=lambda *_: asyncio.sleep(3600))
    graph = one(paying(act, what="pay"), act)
    world.policy({"id": "all", "allow": "true"}).staff(**FINANCE, eve={}, me={})
    async with world.runtime(graph) as runtime:
        driving = asyncio.ensure_future(runtime.run(graph, principal="me"))
        while not driving.done():
            world.clock.advance(1)
            await asyncio.sleep(0.01)
        report = driving.result()
    assert report.status == "waiting"
    with pytest.raises(NotEntitled, match="is the principal"):
        await world.rule(report.reviews[0], by="me")
    assert (await world.rule(report.reviews[0], by="eve")).status == "approved"
    world.staff(**FINANCE)  # and before it is run again, she is gone
    again = await resumed(world, graph, report.run)
    assert (again.status, len(world.done)) == ("waiting", 1)
    assert again.reviews != report.reviews
    await world.rule(again.reviews[0], False, "it never came", by="ann")
    assert (await resumed(world, graph, report.run)).status == "failed"
    assert len(world.done) == 1
    await world.holds()


# --- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ann ", "blank"), ("ann\u200b", r"U\+200B"), ("\u0430nn", "mixes letters"), ("a\nn", r"U\+000A"),
        ("\u0410\u0412\u0421", "looks like reviewer `abc`"), ("", "needs a principal"), (" ", "needs a principal"),
    ],
)  # fmt: skip
async def test_a_principal_is_known_by_a_name_that_can_be_told_from_every_reviewers(
    world: World, name: str, why: str
) -> None:
    world.staff(**FINANCE, abc={"groups": ["finance"]})
    act = world.act()
    graph = one(paying(act, what="pay", amount=7), act)
    async with world.runtime(graph) as runtime:
        with pytest.raises(BadInput, match=why):
            await runtime.start(graph, principal=name)
        assert [row for row in await runtime.projections.runs()] == []


@pytest.mark.parametrize("name", ["ANN", "Ann", "\uff21nn", "Ann.Meier"])
async def test_whoever_asked_can_not_approve_under_the_same_name_written_otherwise(world: World, name: str) -> None:
    world.staff(**{**FINANCE, "ann": {"groups": ["finance"], "also": ["ann.meier"]}})
    graph, run, review = await waiting(world, principal=name)
    with pytest.raises(NotEntitled, match="the principal this run acts for"):
        await world.rule(review, by="ann")
    await world.rule(review, by="bob")
    assert (await resumed(world, graph, run)).status == "waiting"
    await world.rule(review, by="cat")
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()


@pytest.mark.parametrize(
    "change",
    [
        {"ann": {"groups": ["finance"], "also": ["ann\u200b"]}},
        {"ann": {"groups": ["finance"], "also": [" ann"]}},
        {"Ann": {"groups": ["finance"]}},
        {"bob": {"groups": ["finance"], "also": ["\u0441\u0430\u0442"]}},
    ],
)
async def test_reviewers_are_told_apart_by_names_that_look_different(world: World, change: dict[str, Any]) -> None:
    world.staff(**{**FINANCE, **change})
    act = world.act()
    with pytest.raises(PolicyError, match=r"can't be a name|are the same name|looks like"):
        async with world.runtime(one(paying(act, what="pay", amount=7), act)):
            pass


async def test_a_reviewer_with_capitals_in_their_name_is_one_person_everywhere(world: World) -> None:
    world.staff(Ann={"groups": ["finance"]}, bob={"groups": ["finance"]})
    graph, run, review = await waiting(world)
    await world.rule(review, by="Ann")
    with pytest.raises(Stale, match="has ruled before"):
        await world.rule(review, by="Ann")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        assert await claim_next(journal, world.clock, Reviewer("Ann", Pen("Ann"))) is None
        assert await claim_next(journal, world.clock, Reviewer("bob", Pen("bob"))) is not None
    await world.rule(review, by="bob")
    assert (await resumed(world, graph, run)).output == "did pay"
    await world.holds()
