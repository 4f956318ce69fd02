"""The rules change after the approval, or the call does, by a reviewer's edit."""

from __future__ import annotations

from remit.errors import BadInput
from remit.probes.ground import ASK, DESK, FINANCE, NO, Ground, asking, expect, graph_of
from remit.runtime.context import Context
from remit.runtime.rulings import Said

_EDITS = {**DESK, "edit": ["amount"]}


async def a_no_is_not_forgotten_when_the_rule_that_asked_turns_false(ground: Ground) -> None:
    """a person says no; the predicate that asked turns false, an allow rule is added, or the rules are gone"""
    changes = {
        "false": ({"id": "ask", "escalate": "false"}, {"id": "rest", "allow": "true"}),
        "allowed": (ASK, {"id": "rest", "allow": "true"}),
        "gone": ({"id": "rest", "allow": "true"},),
        "same": (ASK,),
    }
    for name, rules in changes.items():
        here = ground.another(name)
        waiting = await here.waits()
        await here.rules(waiting.review, "ann", NO)
        here.policy(*rules)
        for _ in range(2):
            said = await here.resumes(waiting)
            expect("said no" in said and not here.done, f"a no was forgotten ({name}): {said}")
        await here.refuses(waiting.review, "bob")


async def a_deny_rule_that_is_added_after_the_approval_holds(ground: Ground) -> None:
    """approved, and then a rule denies it"""
    waiting = await ground.approved()
    ground.policy(ASK, {"id": "freeze", "deny": "true"})
    expect("denies it" in await ground.resumes(waiting), "a new deny rule was passed over")
    expect(not ground.done, "it ran")


async def a_rule_that_escalates_after_the_approval_asks_its_own_reviewers(ground: Ground) -> None:
    """approved, and then another rule, or the same with another text, asks another queue or the same one"""
    board = {"ttl": "1h", "reviewers": ["leo"]}
    changes = {
        "another queue": (ASK, {"id": "big", "escalate": "args.amount > 5", "to": "board"}),
        "the same queue": (ASK, {"id": "big", "escalate": "args.amount > 5"}),
        "another text": ({**ASK, "escalate": "args.amount > 5"},),
    }
    for name, rules in changes.items():
        here = ground.another(name).staff({**FINANCE, "leo": {}}).queues(desk=DESK, board=board)
        waiting = await here.approved()
        here.policy(*rules)
        said = await here.resumes(waiting)
        expect(said == "waiting" and not here.done, f"a new rule to {name} was passed over: {said}")


async def broken_policies_stop_what_was_approved(ground: Ground) -> None:
    """approved, and then the policies are unreadable, empty or gone"""
    for name in ("unreadable", "empty", "gone"):
        here = ground.another(name)
        waiting = await here.approved()
        file = here.policies / "main.yaml"
        if name == "gone":
            file.unlink()
        else:
            file.write_text("policy: [" if name == "unreadable" else "", encoding="utf-8")
        said = await here.resumes(waiting)
        expect(not here.done, f"under {name} policies {here.done} ran: {said}")


async def an_edited_call_that_policy_denies_does_not_run(ground: Ground) -> None:
    """a reviewer edits the call into one that a rule denies, or that other reviewers must see"""
    for name, rule in (
        ("deny", {"deny": "args.amount > 50"}),
        ("escalate", {"escalate": "args.amount > 50", "to": "board"}),
    ):
        here = ground.another(name).staff({**FINANCE, "leo": {}})
        here.queues(desk=_EDITS, board={"ttl": "1h", "reviewers": ["leo"]})
        here.policy({"id": "ask", "escalate": "args.amount < 50"}, {"id": "big", **rule})
        waiting = await here.waits()
        refused = False
        try:
            await here.rules(waiting.review, "ann", Said(True, "more", {"amount": 60}))
        except BadInput:
            refused = True
        expect(refused == (name == "deny"), "what is denied is signed, or what others must see is not")
        said = await here.resumes(waiting)
        expect(not here.done, f"an edit passed a rule that would {name}: {said}")


async def an_edit_does_not_switch_the_tool(ground: Ground) -> None:
    """an edit names another tool, an argument that may not be edited, or one that the tool doesn't have"""
    ground.queues(desk={**DESK, "edit": ["amount", "tool", "name"]})
    act, other = ground.tool(), ground.tool("wipe")

    async def agent(ctx: Context) -> str:
        return await ctx.call(act, what="rent", amount=7)

    waiting = await ground.waits(graph_of(agent, act, other))
    for edited in (
        {"tool": "wipe"},
        {"name": "wipe"},
        {"what": "villa"},
        {"amount": 5, "tool": "wipe"},
        {"/tool": "wipe"},
    ):
        await ground.refuses(waiting.review, "ann", Said(True, "so", edited))
    expect(await ground.resumes(waiting) == "waiting", "an edit that was refused moved the run")
    await ground.rules(waiting.review, "ann", Said(True, "so", {"amount": 5}))
    await ground.resumes(waiting)
    done = [(effect.tool, effect.what, effect.amount) for effect in ground.done]
    expect(done == [("pay", "rent", 5)], f"the edit made {done} run")


async def who_approved_the_call_as_asked_has_not_approved_an_edit_of_it(ground: Ground) -> None:
    """of two who must approve the second edits, and the first one's vote is counted for it"""
    ground.queues(desk={**_EDITS, "approvals": 2})
    waiting = await ground.waits()
    await ground.rules(waiting.review, "ann")
    state = await ground.rules(waiting.review, "bob", Said(True, "so", {"amount": 5}))
    expect(state.status == "open", "an edit is approved by who never saw it")
    expect(await ground.resumes(waiting) == "waiting" and not ground.done, "it ran")


async def a_tools_name_does_not_permit_another_that_begins_with_it(ground: Ground) -> None:
    """a rule allows `bash`, and the agent calls `bash_delete_everything`"""
    ground.policy({"id": "shell", "tools": ["bash"], "allow": "true"})
    said = await _runs(ground, "bash_delete_everything", "bash")
    expect("no rule allows" in said and not ground.done, f"it ran: {said}")


async def a_rule_that_looks_at_what_is_not_there_stops_everything(ground: Ground) -> None:
    """a deny rule has a misspelt name in its condition"""
    ground.policy({"id": "all", "allow": "true"}, {"id": "leak", "deny": "'pii' in lables"})
    said = await _runs(ground, "pay")
    expect(said.startswith("PolicyError") and not ground.done, f"it ran: {said}")


async def _runs(ground: Ground, called: str, *others: str) -> str:
    act = ground.tool(called)
    return await ground.runs(graph_of(asking(act, what="rent"), act, *map(ground.tool, others)))
