"""Approvals in advance, stretched: more often, longer, for others, or for what their makers were not shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec

from remit.core.entries import GrantMade, ReviewOpened, ReviewRuled
from remit.core.graph import agent as named
from remit.probes.ground import ASK, DESK, FINANCE, YES, Ground, asking, expect, graph_of, paying
from remit.probes.killed import lives
from remit.probes.pens import Pen
from remit.runtime.context import Context
from remit.runtime.grants import Grant, revoke
from remit.testing import BEGINNING, VirtualClock

_DESK: Mapping[str, object] = {**DESK, "grant": {"uses": 20, "for": "24h"}}
_RENT = "args.what == this.args.what && args.amount <= 500"


async def _granted(ground: Ground, uses: int = 3, condition: str = _RENT) -> str:
    """A call was reviewed, calls like it were granted, and it has run; returns the grant."""
    ground.queues(desk=_DESK)
    waiting = await ground.waits()
    await ground.rules(waiting.review, "ann", replace(YES, grant=Grant(condition, uses, "2h")))
    expect(await ground.resumes(waiting) == "did rent", "the call that was reviewed doesn't run")
    ground.done.clear()
    return waiting.review


async def _works(ground: Ground) -> None:
    expect(await ground.runs(_rent(ground)) == "did rent", "the grant doesn't work at all: the probe shows nothing")
    ground.done.clear()


def _rent(ground: Ground, **options: Any) -> Any:
    return paying(ground.tool(**options), what="rent", amount=7)


async def a_grant_is_used_as_often_as_was_granted_by_two_workers_at_once(ground: Ground) -> None:
    """two workers make more calls at the same time than were granted, each with a fan-out"""
    await _granted(ground, uses=5)

    def graph() -> Any:
        act = ground.tool()

        async def agent(ctx: Context) -> None:
            await ctx.branches(*(lambda branch: branch.call(act, what="rent") for _ in range(4)))

        return graph_of(agent, act)

    async with asyncio.TaskGroup() as group:
        both = [group.create_task(ground.runs(graph())) for _ in range(2)]
    expect(
        len(ground.done) == 5, f"5 uses were granted, {len(ground.done)} calls ran: {[one.result() for one in both]}"
    )
    expect(await ground.verifies(), "the journal of two workers doesn't verify")


async def a_grant_that_was_revoked_or_is_over_is_not_used(ground: Ground) -> None:
    """used after it was revoked, after its time, and then with the clock set back"""
    here = ground.another("revoked")
    grant = await _granted(here)
    await _works(here)
    async with here.journal() as journal:
        await revoke(journal, here.clock, grant, "bob", Pen("bob"), "enough")
    said = await here.runs(_rent(here))
    expect(said == "waiting" and not here.done, f"a revoked grant was used: {said}")
    here = ground.another("over")
    await _granted(here)
    await _works(here)
    here.clock.advance(7200)
    said = await here.runs(_rent(here))
    expect(said == "waiting" and not here.done, f"a grant was used after its end: {said}")
    here.clock = VirtualClock(BEGINNING + timedelta(minutes=1), seed=1)
    said = await here.runs(_rent(here))
    expect(said == "waiting" and not here.done, f"with the clock set back a grant was used after its end: {said}")


async def a_grant_is_for_one_agent_tool_and_principal_and_for_these_versions_of_them(ground: Ground) -> None:
    """another agent, another version of the agent or the tool, another tool, another principal, other arguments"""
    await _granted(ground)
    act, other = ground.tool(), ground.tool("other")
    ask = asking(act, what="rent", amount=7)

    async def stranger(ctx: Context) -> str:
        return await ctx.call(act, what="rent", amount=7)

    tries = {
        "agent": graph_of(stranger, act),
        "version of the agent": graph_of(named(version="2")(ask), act),
        "version of the tool": _rent(ground, timeout=61),
        "tool": graph_of(asking(other, what="rent", amount=7), other),
        "payment": graph_of(asking(act, what="villa", amount=7), act),
        "amount": graph_of(asking(act, what="rent", amount=501), act),
    }
    for name, graph in tries.items():
        said = await ground.runs(graph)
        expect(said == "waiting" and not ground.done, f"a grant was used for another {name}: {said}")
    await ground.waits(principal="you")
    await _works(ground)


async def a_grant_outvotes_no_deny_and_no_rule_that_its_makers_were_not_shown(ground: Ground) -> None:
    """a grant outlives its policies, and then a rule is added that denies, or escalates to the same queue or another"""
    lasting = {**_DESK, "grant": {"uses": 20, "for": "24h", "outlives_policies": True}}
    board = {"ttl": "1h", "reviewers": ["leo"]}
    changes: dict[str, tuple[tuple[Mapping[str, object], ...], str]] = {
        "deny": ((ASK, {"id": "freeze", "deny": "true"}), "denies"),
        "the same queue": ((ASK, {"id": "big", "escalate": "args.amount > 5"}), "waiting"),
        "another queue": ((ASK, {"id": "big", "escalate": "args.amount > 5", "to": "board"}), "waiting"),
        "another text": (({**ASK, "escalate": "args.amount > 5"},), "waiting"),
    }
    for name, (rules, wanted) in changes.items():
        here = ground.another(name).staff({**FINANCE, "leo": {}})
        await _granted(here)
        here.queues(desk=lasting, board=board)
        waiting = await here.waits()
        await here.rules(waiting.review, "ann", replace(YES, grant=Grant(_RENT, 5, "2h")))
        await _works(here)
        here.policy(*rules)
        said = await here.runs(_rent(here))
        expect(wanted in said and not here.done, f"a grant passed over a new rule ({name}): {said}")


async def a_grant_ends_with_its_policies_and_with_who_made_it(ground: Ground) -> None:
    """the policies change in anything; whoever granted it is removed, or gets another key, or the quorum is raised"""
    here = ground.another("policies")
    await _granted(here)
    await _works(here)
    here.policy(ASK, {"id": "other", "deny": "false"})
    said = await here.runs(_rent(here))
    expect(said == "waiting" and not here.done, f"a grant outlived its policies: {said}")
    lasting = {**_DESK, "grant": {"uses": 20, "for": "24h", "outlives_policies": True}}
    for name in ("removed", "key", "quorum"):
        here = ground.another(name).queues(desk=lasting)
        waiting = await here.waits()
        await here.rules(waiting.review, "ann", replace(YES, grant=Grant(_RENT, 5, "2h")))
        await _works(here)
        if name == "removed":
            here.staff({who: FINANCE[who] for who in ("bob", "cat")})
        elif name == "key":
            here.staff(FINANCE, ann="another")
        else:
            here.queues(desk={**lasting, "approvals": 2})
        said = await here.runs(_rent(here))
        expect(said == "waiting" and not here.done, f"a grant outlived who made it ({name}): {said}")


async def a_grant_that_not_everybody_signed_is_none(ground: Ground) -> None:
    """of two who must approve only one grants; or the second grants more, or another condition"""
    for name in ("one alone", "another number", "another condition"):
        here = ground.another(name).queues(desk={**_DESK, "approvals": 2})
        waiting = await here.waits()
        await here.rules(waiting.review, "ann", replace(YES, grant=Grant(_RENT, 1, "2h")))
        second = {"another number": Grant(_RENT, 5, "2h"), "another condition": Grant("true", 1, "2h")}.get(name)
        await here.rules(waiting.review, "bob", replace(YES, grant=second))
        await here.resumes(waiting)
        here.done.clear()
        said = await here.runs(_rent(here))
        expect(said == "waiting" and not here.done, f"what only one had granted was used ({name}): {said}")


async def a_forged_or_copied_grant_in_the_store_is_none_and_is_found(ground: Ground) -> None:
    """a grant is written into the store: of nothing, of more uses, a later end, another tool; copied; a use deleted"""
    change = msgspec.structs.replace
    for name in (
        "out of nothing",
        "more uses",
        "later",
        "for another tool",
        "another review's",
        "with a stolen ruling",
    ):
        here = ground.another(name).queues(desk=_DESK)
        waiting = await here.waits()
        await _granted(here)
        here.done.clear()
        made: Any = (await here.entries(f"grant/{await _only(here)}"))[0].body
        terms = made.terms
        bodies = {
            "out of nothing": change(made, grant="nosuchreview"),
            "more uses": msgspec.structs.replace(made, terms=msgspec.structs.replace(terms, uses=9)),
            "later": msgspec.structs.replace(
                made, terms=msgspec.structs.replace(terms, until="2036-01-01T00:00:00.000000Z")
            ),
            "for another tool": msgspec.structs.replace(made, terms=msgspec.structs.replace(terms, tool="other")),
            "another review's": change(made, grant=waiting.review),
        }
        if name == "with a stolen ruling":
            bodies[name] = await _forges_ruling(here, waiting.review, made)
        await _replaces(here, made, bodies[name])
        said = await here.runs(_rent(here)) if name != "for another tool" else await here.runs(_other(here))
        expect(said == "waiting" and not here.done, f"a forged grant was used ({name}): {said}")
        expect(not await here.verifies(), f"an auditor doesn't see a forged grant ({name})")
    grant = await _granted(ground)
    await _works(ground)
    ground.sql("DELETE FROM entries WHERE kind = 'grant.used'")
    expect(grant and not await ground.verifies(), "an auditor doesn't see that a grant's use is gone")


def _other(ground: Ground) -> Any:
    other = ground.tool("other")
    return graph_of(asking(other, what="rent", amount=7), other)


async def _only(ground: Ground) -> str:
    async with ground.journal() as journal:
        (name,) = await journal.streams("grant/")
    return name.removeprefix("grant/")


async def _replaces(ground: Ground, made: GrantMade, body: GrantMade) -> None:
    """Puts a forged grant in the place of the true one."""
    if body.grant == made.grant:
        return await ground.rewrites(f"grant/{made.grant}", lambda _: body)
    ground.sql("DELETE FROM entries WHERE kind = 'grant.made'")
    return await ground.adds(f"grant/{body.grant}", body, "reviewer:ann")


async def _forges_ruling(ground: Ground, review: str, made: GrantMade) -> GrantMade:
    """Appends an approval to another review with the terms, and the signature, that were given elsewhere."""
    ruled: Any = (await ground.entries(f"review/{made.grant}"))[1].body
    opened: Any = (await ground.entries(f"review/{review}"))[0].body
    if not isinstance(opened, ReviewOpened) or not isinstance(ruled, ReviewRuled):
        raise AssertionError("the probe forges something else than a ruling")
    body = msgspec.structs.replace(ruled, review=review, digest=opened.digest, expires=opened.expires)
    await ground.adds(f"review/{review}", body, "reviewer:ann")
    forged = (await ground.entries(f"review/{review}"))[-1]
    return msgspec.structs.replace(made, grant=review, run=opened.run, ruling=forged.hash)


async def a_kill_at_any_append_of_a_granted_call_repeats_no_effect_and_no_use(ground: Ground) -> None:
    """kill -9 just before and just after every commit of a run whose second call is allowed by a grant"""
    for life in await lives(ground, "grants"):
        expect(life["effects"] == 2, f"killed {life['killed']}, there were {life['effects']} effects of 2 calls")
        expect(life["said"] == "done", f"killed {life['killed']}, the run ended {life['said']}")
        expect(life["used"] == 1, f"killed {life['killed']}, the grant was used {life['used']} times")
        expect(life["verifies"], f"killed {life['killed']}, the journal doesn't verify")
