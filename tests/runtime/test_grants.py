"""Grants: an approval in advance covers what its makers were shown and nothing else, as often as they said."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pens import Pen
from worlds import World, one, write_bundle

from remit import Context, Denied, FactRequest, Runtime, fact
from remit.core.canonical import canonical
from remit.core.entries import CallDecided, GrantMade, GrantUsed, Head, seal, unseal
from remit.core.grants import GrantState
from remit.errors import BadInput, ConditionError, NotEntitled, Stale
from remit.export.bundle import Request, export
from remit.export.withhold import withholding
from remit.policykit.backtest import Backtest
from remit.runtime.ambient import stamp
from remit.runtime.erasing import Selection, erase
from remit.runtime.grants import Grant, revoke
from remit.runtime.load import load_grant
from remit.runtime.recordedcalls import recorded_call
from remit.runtime.recordedcases import recorded_cases
from remit.runtime.rulings import Reviewer
from remit.runtime.tracing import trace
from remit.store.decisions import with_decisions
from remit.store.journal import Journal
from remit.testing import BEGINNING, VirtualClock
from remit.verify import verify

ASK = {"id": "ask", "escalate": "args.amount >= 10"}
REST = {"id": "rest", "allow": "args.amount < 10"}
DESK: dict[str, Any] = {"ttl": "1h", "reviewers": ["finance"], "grant": {"uses": 20, "for": "24h"}}
FINANCE: dict[str, dict[str, Any]] = {name: {"groups": ["finance"]} for name in ("ann", "bob", "cat")}
SMALL = "args.amount <= 500 && args.what == this.args.what"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(ASK, REST).staff(**FINANCE).queues(single_operator=False, desk=DESK)


class Shop:
    """A graph whose agent makes the calls that are in `wanted`, all at once; what was refused is in its output."""

    def __init__(self, world: World, version: str = "1", **options: Any) -> None:
        self.world = world
        self.wanted: list[dict[str, Any]] = []
        self.act = world.act(**options)
        self.graph = one(self._agent(), self.act)

    def _agent(self) -> Any:
        async def agent(ctx: Context) -> list[str]:
            async def call(branch: Any, arguments: dict[str, Any]) -> str:
                try:
                    return str(await branch.call(self.act, **arguments))
                except Denied as error:
                    return "; ".join(error.reasons)

            if len(self.wanted) == 1:
                return [await call(ctx, self.wanted[0])]
            return list(await ctx.branches(*(lambda b, a=one_: call(b, a) for one_ in self.wanted)))

        return agent

    async def run(
        self, *amounts: int, what: str = "rent", principal: str = "me", clock: VirtualClock | None = None
    ) -> Any:
        self.wanted = [{"what": what, "amount": amount} for amount in amounts]
        async with self.world.runtime(self.graph, clock=clock) as runtime:
            return await runtime.run(self.graph, principal=principal)

    async def resume(self, run: str) -> Any:
        async with self.world.runtime(self.graph) as runtime:
            return await runtime.resume(run)


async def granted(
    world: World, condition: str = SMALL, uses: int = 3, until: str = "2h", by: str = "ann", **how: Any
) -> tuple[Shop, str]:
    """A shop in which a call was reviewed and has run, and what was granted with it."""
    shop = Shop(world, **how)
    report = await shop.run(100)
    assert report.status == "waiting"
    state = await world.rule(report.reviews[0], by=by, grant=Grant(condition, uses, until))
    assert state.status == "approved" and state.granted is not None
    assert (await shop.resume(report.run)).status == "done"
    world.done.clear()
    return shop, report.reviews[0]


async def state_of(world: World, grant: str) -> GrantState:
    async with await Journal.open(world.url, keys=world.keys) as journal:
        return await load_grant(journal, grant)


async def revoked(world: World, grant: str, by: str, reason: str = "enough") -> GrantState:
    async with await Journal.open(world.url, keys=world.keys) as journal:
        return await revoke(journal, world.clock, grant, by, Pen(by), reason)


# --- what it covers ----------------------------------------------------------------------------------------


async def test_a_grant_allows_what_its_condition_is_true_of_and_asks_about_the_rest(world: World) -> None:
    shop, grant = await granted(world)
    for amounts, what, status in (((200,), "rent", "done"), ((501,), "rent", "waiting"), ((200,), "boat", "waiting")):
        assert (await shop.run(*amounts, what=what)).status == status
    assert world.did == ["rent"]
    assert (await state_of(world, grant)).used == 1
    found = await world.holds()
    assert (found.effects, found.decisions) == (2, 5)


async def test_a_grant_is_used_as_often_as_was_granted_and_no_fan_out_gets_more(world: World) -> None:
    shop, grant = await granted(world, uses=3)
    report = await shop.run(*range(20, 60))
    assert (report.status, len(report.reviews), len(world.done)) == ("waiting", 37, 3)
    state = await state_of(world, grant)
    assert (state.used, state.status) == (3, "used_up")
    assert (await shop.run(20)).status == "waiting"
    await world.holds()


async def test_two_workers_at_once_never_use_one_use_twice_and_both_go_on(world: World) -> None:
    shop, grant = await granted(world, uses=20)
    other = Shop(world)
    shop.wanted = other.wanted = [{"what": "rent", "amount": 20 + number} for number in range(15)]

    async def works(runtime: Runtime, graph: Any) -> Any:
        return await runtime.run(graph, principal="me")

    async with world.runtime(shop.graph, worker="one") as one_, world.runtime(other.graph, worker="two") as two:
        reports = await asyncio.gather(works(one_, shop.graph), works(two, other.graph))
    assert sum(len(report.reviews) for report in reports) == 10
    assert len(world.done) == 20
    assert (await state_of(world, grant)).used == 20
    owners = [await world.entries(f"run/{report.run}") for report in reports]
    assert [sum(entry.kind == "run.owned" for entry in entries) for entries in owners] == [1, 1]
    assert not [entry for entries in owners for entry in entries if entry.kind == "call.in_doubt"]
    await world.holds()


async def test_every_use_is_an_entry_in_the_append_of_the_intent_and_the_verdict_names_the_grant(world: World) -> None:
    shop, grant = await granted(world)
    report = await shop.run(200)
    (decided,) = await world.bodies(report.run, "call.decided")
    assert (decided.grants, decided.verdict.outcome) == ((grant,), "allow")
    used = (await world.entries(f"grant/{grant}"))[-1].body
    assert (used.number, used.run, used.call, used.digest) == (1, report.run, decided.call.id, decided.call.digest)
    query = "SELECT kind FROM entries WHERE kind IN ('call.decided', 'grant.used', 'call.settled') ORDER BY position"
    assert [row[0] for row in world.look(query)][-3:] == ["call.decided", "grant.used", "call.settled"]
    async with await Journal.open(world.url, keys=world.keys) as journal:
        (row,) = await trace(journal, report.run)
        assert row["grants"] == [grant]
        assert row["facts"]["approval"] == {"given": True, "reviewers": ["ann"]}
        again = await recorded_call(journal, report.run, decided.call.id)
        assert again.approval is not None and set(again.approval.disclosed) == {"desk"}
        cases, left_out = await recorded_cases(journal, report.run)
    assert (left_out, [case["expect"]["outcome"] for case in cases]) == (0, ["allow"])


async def test_a_grant_is_for_its_agent_tool_and_principal_in_their_versions(world: World) -> None:
    shop, _ = await granted(world)
    assert (await shop.run(200, principal="you")).status == "waiting"
    assert (await Shop(world, timeout=61).run(200)).status == "waiting"
    assert (await Shop(world, name="pay").run(200)).status == "waiting"
    assert world.done == []
    assert (await shop.run(200)).status == "done"


async def test_a_grant_is_not_for_whoever_granted_it(world: World) -> None:
    """Ann grants it for a run that somebody else started. A run that she starts, or is the agent of, asks others."""
    starter = await _starter(world)
    world.staff(**{**FINANCE, "ann": {"groups": ["finance"], "also": [starter]}})
    world.queues(single_operator=False, desk={**DESK, "may_also_rule": ["starter"]})
    shop, grant = await granted(world)
    assert (await shop.run(200)).status == "done"
    world.queues(
        single_operator=False,
        desk={**DESK, "grant": {**DESK["grant"], "outlives_policies": True}},
    )
    assert (await shop.run(200)).status == "waiting"
    assert (await state_of(world, grant)).used == 1


async def _starter(world: World) -> str:
    world.policy(allow="true")
    run = (await Shop(world).run(1)).run
    world.policy(ASK, REST)
    world.done.clear()
    return (await world.state(run)).started.starter


# --- what it can't do --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({"id": "no", "deny": "args.amount > 150"}, "done"),
        ({"id": "board", "escalate": "args.amount > 150", "to": "board"}, "waiting"),
        ({"id": "more", "escalate": "args.amount > 150"}, "waiting"),
    ],
)
async def test_no_grant_outvotes_a_deny_or_a_rule_that_its_makers_were_not_shown(
    world: World, rule: dict[str, object], status: str
) -> None:
    world.policy(ASK, REST, rule).queues(
        single_operator=False, desk=DESK, board={"ttl": "1h", "reviewers": ["finance"]}
    )
    shop, grant = await granted(world)  # of 100, which the rule says nothing about
    assert (await shop.run(200)).status == status
    assert world.done == []
    assert (await state_of(world, grant)).used == 0
    assert (await shop.run(120)).status == "done"
    assert world.did == ["rent"]
    await world.holds()


async def test_a_grant_ends_at_its_deadline_and_a_clock_set_back_does_not_bring_it_back(world: World) -> None:
    shop, grant = await granted(world, until="2h")
    world.clock.advance(7200)
    assert (await shop.run(200)).status == "waiting"
    world.clock = VirtualClock(BEGINNING, seed=3)
    assert (await shop.run(200)).status == "waiting"
    assert (world.done, (await state_of(world, grant)).used) == ([], 0)


async def test_nothing_is_intended_under_a_grant_that_was_revoked(world: World) -> None:
    shop, grant = await granted(world)
    assert (await shop.run(200)).status == "done"
    state = await revoked(world, grant, "bob")
    assert (state.status, state.used) == ("revoked", 1)
    assert (await shop.run(200)).status == "waiting"
    with pytest.raises(Stale, match="was revoked"):
        await revoked(world, grant, "ann")
    found = await world.holds()
    assert found.effects == 2


async def test_a_worker_that_had_read_a_grant_before_does_not_use_it_after_its_revocation(world: World) -> None:
    shop, grant = await granted(world)
    shop.wanted = [{"what": "rent", "amount": 200}]
    async with world.runtime(shop.graph) as runtime:
        assert (await runtime.run(shop.graph, principal="me")).status == "done"
        await revoked(world, grant, "cat")
        assert (await runtime.run(shop.graph, principal="me")).status == "waiting"


async def test_who_may_revoke_is_who_rules_there_or_granted_it(world: World) -> None:
    _, grant = await granted(world)
    world.staff(**FINANCE, eve={})
    async with world.runtime(Shop(world).graph):
        pass
    with pytest.raises(NotEntitled, match="no reviewer of queue `desk`"):
        await revoked(world, grant, "eve")
    with pytest.raises(BadInput, match="reason"):
        await revoked(world, grant, "bob", "  ")


async def test_a_grant_ends_with_the_policy_set_it_was_made_under_unless_its_queue_says_otherwise(world: World) -> None:
    shop, first = await granted(world)
    world.policy(ASK, REST, {"id": "other", "deny": "false"})
    assert (await shop.run(200)).status == "waiting"
    lasting = {**DESK, "grant": {**DESK["grant"], "outlives_policies": True}}
    world.queues(single_operator=False, desk=lasting)
    assert (await shop.run(200)).status == "waiting"  # it was not made on these terms
    shop, second = await granted(world)
    world.policy(ASK, REST)
    assert (await shop.run(200)).status == "done"
    assert [(await state_of(world, grant)).used for grant in (first, second)] == [0, 1]
    await world.holds()


@pytest.mark.parametrize("change", ["removed", "key", "group", "quorum", "no grants", "fewer uses", "shorter"])
async def test_a_grant_counts_only_while_its_makers_and_its_queue_do(world: World, change: str) -> None:
    lasting: dict[str, Any] = {**DESK, "grant": {**DESK["grant"], "outlives_policies": True}}
    world.queues(single_operator=False, desk=lasting)
    shop, _ = await granted(world)
    assert (await shop.run(200)).status == "done"
    world.clock.advance(600)
    limits, plain = lasting["grant"], {"ttl": "1h", "reviewers": ["finance"]}
    staffs: dict[str, dict[str, Any]] = {
        "removed": {name: FINANCE[name] for name in ("bob", "cat")},
        "key": {**FINANCE, "ann": {"groups": ["finance"], "keys": [{"key": Pen("new").public.text}]}},
        "group": {**FINANCE, "ann": {"groups": []}},
    }
    desks = {
        "quorum": {**lasting, "approvals": 2},
        "no grants": plain,
        "fewer uses": {**lasting, "grant": {**limits, "uses": 1}},
        "shorter": {**lasting, "grant": {**limits, "for": "5m"}},
    }
    if change in staffs:
        world.staff(**staffs[change])
    else:
        world.queues(single_operator=False, desk=desks[change])
    assert (await shop.run(200)).status == "waiting"
    assert len(world.done) == 1
    await world.holds()


async def test_a_call_that_policy_changes_is_covered_as_it_runs_and_keeps_what_it_is_obliged_to(world: World) -> None:
    """The cap makes 400 of 900: that is what people saw, what the grant's condition sees, and what runs."""
    capped = {**ASK, "oblige": {"cap": {"/args/amount": 400}, "mask": ["/result"]}}
    world.policy(capped, REST)
    shop, grant = await granted(world, "args.amount <= 400 && args.what == this.args.what")
    report = await shop.run(900)
    assert (report.status, [effect.amount for effect in world.done]) == ("done", [400])
    assert "did rent" not in str(report.output)
    (decided,) = await world.bodies(report.run, "call.decided")
    assert decided.grants == (grant,) and set(decided.edited) == {"amount"}
    assert (await world.entries(f"grant/{grant}"))[-1].body.digest == decided.digest  # type: ignore[attr-defined]
    assert (await shop.run(900, what="boat")).status == "waiting"
    found = await world.holds()
    assert found.effects == 2
    bundle = await world.export()
    assert alone(bundle).returncode == 0, alone(bundle).stdout


async def test_a_rule_that_asks_about_the_call_as_it_was_asked_for_must_have_been_shown_too(world: World) -> None:
    """As asked for it is too large, as changed it is not: its makers saw a small one, and were not asked that."""
    large = {"id": "large", "escalate": "args.amount > 500"}
    world.policy({**ASK, "oblige": {"cap": {"/args/amount": 400}}}, REST, large)
    shop, grant = await granted(world, "args.what == this.args.what")
    assert (await shop.run(450)).status == "done"
    assert (await shop.run(900)).status == "waiting"
    assert ([effect.amount for effect in world.done], (await state_of(world, grant)).used) == ([400], 1)
    await world.holds()


# --- making it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("args.amuont <= 500", r"1:5: no field `amuont` in `args`\n.*\n *\^\n *did you mean `amount`\?"),
        ("args.amount <= this.args.amont", "did you mean `amount`"),
        ('args.amount <= "5"', "1:13"),
        ("this.args.what == args.amount", "1:"),
        ("args.amount", "not true or false"),
        ("provenance.what.untrusted", "provenance"),
        ("", "empty"),
        ("args.amount > 500", "isn't true of the reviewed call itself"),
    ],
)
async def test_a_condition_that_is_none_is_refused_before_anything_is_signed(
    world: World, condition: str, words: str
) -> None:
    shop = Shop(world)
    (review,) = (await shop.run(100)).reviews
    with pytest.raises((ConditionError, BadInput), match=words):
        await world.rule(review, by="ann", grant=Grant(condition, 1, "1h"))
    assert [entry.kind for entry in await world.entries(f"review/{review}")] == ["review.opened"]


async def test_how_far_grants_are_permitted_is_the_queues_to_say(world: World) -> None:
    shop = Shop(world)
    (review,) = (await shop.run(100)).reviews
    for uses, until in ((21, "1h"), (0, "1h"), (1, "25h"), (1, "2026-01-05T08:00:00Z")):
        with pytest.raises(NotEntitled, match="permits"):
            await world.rule(review, by="ann", grant=Grant(SMALL, uses, until))
    for until in ("soon", "2026-01-05T12:00:00"):
        with pytest.raises(BadInput, match="is no time"):
            await world.rule(review, by="ann", grant=Grant(SMALL, 1, until))
    with pytest.raises(BadInput, match="denial"):
        await world.rule(review, False, by="ann", grant=Grant(SMALL, 1, "1h"))
    state = await world.rule(review, by="ann", grant=Grant(SMALL, 20))
    assert state.granted is not None and state.granted.until == "2026-01-06T09:00:00.000000Z"
    world.queues(single_operator=False, desk={"ttl": "1h", "reviewers": ["finance"]})
    (review,) = (await shop.run(100)).reviews
    with pytest.raises(NotEntitled, match="permits no grants"):
        await world.rule(review, by="ann", grant=Grant(SMALL, 1, "1h"))


async def test_a_grant_takes_the_quorum_of_an_approval_and_all_of_it_must_say_the_same(world: World) -> None:
    world.queues(single_operator=False, desk={**DESK, "approvals": 2})
    shop = Shop(world)
    grants = []
    exactly = Grant("args.amount == this.args.amount", 2, "2h")
    for number, second in enumerate((Grant(same=True), None, exactly)):
        report = await shop.run(100 + number)
        (review,) = report.reviews
        with pytest.raises(BadInput, match="nobody has granted"):
            await world.rule(review, by="bob", grant=Grant(same=True))
        await world.rule(review, by="ann", grant=exactly)
        assert await world.entries(f"grant/{review}") == []
        state = await world.rule(review, by="bob", grant=second)
        assert state.status == "approved"
        grants.append(bool(await world.entries(f"grant/{review}")))
        assert (state.granted is not None) == grants[-1]
        assert (await shop.resume(report.run)).status == "done"
    assert grants == [True, False, False]
    await world.holds()


async def test_an_edited_call_grants_nothing_beside_it(world: World) -> None:
    world.queues(single_operator=False, desk={**DESK, "approvals": 2, "edit": ["amount"]})
    (review,) = (await Shop(world).run(100)).reviews
    with pytest.raises(BadInput, match="not with an edit"):
        await world.rule(review, by="ann", grant=Grant(SMALL, 2, "2h"), edited={"amount": 50})
    await world.rule(review, by="ann", edited={"amount": 50})
    with pytest.raises(BadInput, match="grants nothing beside it"):
        await world.rule(review, by="bob", grant=Grant(SMALL, 2, "2h"))


async def test_a_condition_sees_facts_and_one_that_fails_covers_nothing(world: World) -> None:
    act = world.act()

    @fact(tools=[act])
    def limit(_: FactRequest) -> int:
        if world.folder.joinpath("down").exists():
            raise OSError("no answer")
        return 300

    async def agent(ctx: Context) -> str:
        return str(await ctx.call(act, what="rent", amount=200))

    graph = one(agent, act, facts=[limit])
    async with world.runtime(graph) as runtime:
        report = await runtime.run(graph, principal="me")
        await world.rule(report.reviews[0], by="ann", grant=Grant("args.amount <= facts.limit", 5, "2h"))
        assert (await runtime.run(graph, principal="me")).status == "done"
        world.folder.joinpath("down").touch()
        assert (await runtime.run(graph, principal="me")).status == "waiting"
    await world.holds()


# --- the evidence ------------------------------------------------------------------------------------------


def alone(bundle: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(bundle / "verify.py"), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_the_verifier_in_the_bundle_lists_who_granted_what_and_each_use(world: World) -> None:
    world.policy(ASK, REST)
    shop = Shop(world)
    report = await shop.run(100, what="paper")
    await world.rule(report.reviews[0], by="ann", grant=Grant("args.what == 'paper'", 3, "2h"))
    await shop.resume(report.run)
    used = await shop.run(200, what="paper")
    printed = alone(await world.export()).stdout.splitlines()
    (said,) = [line for line in printed if line.startswith(f"grant {report.reviews[0]}, of ann: ")]
    assert "used 1 of 3 times" in said and ", until " in said and "revoked" not in said
    (use,) = [line for line in printed if line.startswith(f"used: grant {report.reviews[0]} at ")]
    assert use.endswith(f"of run {used.run}")


async def test_the_arguments_that_a_grant_compares_with_are_in_no_entry_and_can_be_erased_and_withheld(
    world: World,
) -> None:
    secret = "DE89 3704 0044 0532 0130 00"
    world.policy(ASK, REST)
    shop = Shop(world)
    report = await shop.run(100, what=secret)
    await world.rule(report.reviews[0], by="ann", grant=Grant(f"args.what == '{secret}'", 3, "2h"))
    await shop.resume(report.run)
    assert (await shop.run(200, what=secret)).status == "done"
    assert not [row for row in world.look("SELECT bytes FROM entries") if secret.encode() in row[0]]
    await world.holds()
    async with await Journal.open(world.url, keys=world.keys) as journal:
        for number, rules in enumerate((["/args/what", "/result", "/output"], ["/grant"])):
            out = world.folder / f"withheld-{number}"
            request = Request(stamp(world.clock.now()), "operator:t", withhold=withholding(rules))
            await export(journal, out, request)
            found = verify(out)
            assert found.ok and alone(out).returncode == 0
            assert any("condition of grant" in note for note in found.notes) == (rules == ["/grant"])
        assert secret not in "".join(path.read_text() for path in (world.folder / "withheld-0").iterdir())
        gone = await erase(journal, world.clock, Selection(subject=secret), by="op", reason="asked to")
    assert any(payload.path == "/grant" for payload in gone)
    assert (await shop.run(200, what=secret)).status == "waiting"
    assert verify(await world.export()).ok


async def test_a_bundle_of_one_run_has_the_grant_and_its_review_and_both_verifiers_take_it(world: World) -> None:
    shop, grant = await granted(world)
    report = await shop.run(200)
    await shop.run(300)
    await revoked(world, grant, "bob")
    out = world.folder / "one"
    async with await Journal.open(world.url, keys=world.keys) as journal:
        await write_bundle(journal, out, stamp(world.clock.now()), [report.run])
    found = verify(out)
    assert found.ok, found.problems
    assert alone(out).returncode == 0, alone(out).stdout
    whole = await world.export()
    assert alone(whole).returncode == 0, alone(whole).stdout
    assert verify(whole).decisions == 4


async def test_openssh_takes_rulings_that_grant_and_revocations(world: World, tmp_path: Path) -> None:
    _, grant = await granted(world)
    await revoked(world, grant, "bob")
    out = await world.export()
    assert alone(out, "--rulings", str(tmp_path / "r")).returncode == 0
    for who, name in (("ann", f"{grant}-1.json"), ("bob", f"grant-{grant}-1.json")):
        checked = subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", str(out / "allowed_signers"), "-I", who, "-n", "ruling@remit",
             "-s", str(tmp_path / "r" / f"{name}.sig")],
            input=(tmp_path / "r" / name).read_bytes(), capture_output=True, check=False,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stderr
    assert Reviewer("ann").actor == "reviewer:ann"


# --- what is forged in a journal is found in its export ----------------------------------------------------


def rewritten(world: World, stream: str, change: Any) -> None:
    """Rewrites a stream's entries, with every hash made anew; `change` returns a body, or None to leave it out."""
    head, rows = Head(), []
    for document in world.committed(stream):
        entry = unseal(canonical(document))
        body = change(entry.body)
        if body is not None:
            sealed = seal(stream, head, entry.at, entry.actor, body)
            head = sealed.head
            rows.append((entry.seq, sealed))
    kept = {seq for seq, _ in rows}
    place = f"stream_id = (SELECT id FROM streams WHERE name = '{stream}')"
    gone = [document["seq"] for document in world.committed(stream) if document["seq"] not in kept]
    made = [
        f"UPDATE entries SET bytes = x'{sealed.bytes.hex()}', hash = x'{sealed.hash}', seq = {sealed.seq}"
        f" WHERE {place} AND seq = {seq}"
        for seq, sealed in rows
    ]
    world.sql(*(f"DELETE FROM entries WHERE {place} AND seq = {seq}" for seq in gone), *made)
    positions = [row[0] for row in world.look("SELECT position FROM entries ORDER BY position")]
    world.sql(*(f"UPDATE entries SET position = {new} WHERE position = {old}" for new, old in enumerate(positions, 1)))


def _in(kind: type[Any], **changes: Any) -> Any:
    return lambda body: msgspec.structs.replace(body, **changes) if isinstance(body, kind) else body


def _terms(**changes: Any) -> Any:
    def change(body: Any) -> Any:
        if isinstance(body, GrantMade):
            return msgspec.structs.replace(body, terms=msgspec.structs.replace(body.terms, **changes))
        return body

    return change


FORGED: dict[str, tuple[str, Any]] = {
    "a use is gone": ("grant", lambda body: None if getattr(body, "number", 0) == 2 else body),
    "every use is gone": ("grant", lambda body: None if isinstance(body, GrantUsed) else body),
    "the use of another call": ("grant", _in(GrantUsed, digest="ab" * 32)),
    "more uses than were signed": ("grant", _terms(uses=9)),
    "longer than was signed": ("grant", _terms(until="2030-01-01T00:00:00.000000Z")),
    "another principal than was signed": ("grant", _terms(principal="you")),
    "of other rules": ("grant", _in(GrantMade, disclosed=())),
    "of another queue": ("grant", _in(GrantMade, queue="board")),
    "a verdict that names no grant": ("run", _in(CallDecided, grants=())),
    "a verdict that names another": ("run", _in(CallDecided, grants=("nosuchgrant1",))),
    "a verdict that names it twice": ("run", lambda body: _twice(body)),
}


def _twice(body: Any) -> Any:
    return msgspec.structs.replace(body, grants=body.grants * 2) if isinstance(body, CallDecided) else body


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store in which a grant was used twice, and the names of its grant and of the latter run."""

    async def live() -> tuple[Path, str, str]:
        folder = tmp_path_factory.mktemp("lived")
        world = World(folder).policy(ASK, REST).staff(**FINANCE).queues(single_operator=False, desk=DESK)
        shop, grant = await granted(world)
        await shop.run(200)
        report = await shop.run(300)
        return folder, grant, report.run

    return asyncio.run(live())


@pytest.mark.parametrize("name", FORGED)
def test_both_verifiers_find_a_forged_grant_or_use(lived: Any, tmp_path: Path, name: str) -> None:
    folder, grant, run = lived
    shutil.copytree(folder, tmp_path / "world")
    world = World(tmp_path / "world").policy(ASK, REST).staff(**FINANCE).queues(single_operator=False, desk=DESK)
    family, change = FORGED[name]
    rewritten(world, f"grant/{grant}" if family == "grant" else f"run/{run}", change)
    bundle = asyncio.run(world.export())
    assert not verify(bundle).ok
    assert alone(bundle).returncode == 1, alone(bundle).stdout


async def test_a_backtest_of_the_set_in_force_finds_no_difference_in_calls_that_a_grant_allowed(world: World) -> None:
    shop, _ = await granted(world)
    await shop.run(200)
    await shop.run(501)
    texts = {path.name: path.read_text() for path in world.policies.iterdir()}
    async with await Journal.open(world.url, keys=world.keys) as journal:
        for files, same in ((texts, 4), ({**texts, "main.yaml": texts["main.yaml"].replace(">= 10", ">= 1")}, 4)):

            def play(loaded: Any, rows: Any, files: Any = files) -> Any:
                test = Backtest(files, loaded)
                test.feed(rows)
                return test.done

            report = await with_decisions(journal, "", play)
            assert (report.decisions, report.same, report.undecidable) == (4, same, 0)
