"""Guarantees 1, 2, 3, 4 and 6: what has to be true before a tool runs."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from worlds import Faults, World, one, watching_appends

from remit import (
    Context,
    Denied,
    FactRequest,
    InvalidArguments,
    Invocation,
    PolicyError,
    RunReport,
    fact,
    foreign_tool,
    tool,
)
from remit.errors import BadInput, JournalError, Tampered


def agent_of(act: Any, **arguments: Any) -> Any:
    """An agent that makes one call and returns its result."""

    async def agent(ctx: Context) -> str:
        return str(await ctx.call(act, **arguments))

    return agent


# --- 1: no tool runs unless an allow verdict for exactly that call is durably in the journal first ------


async def test_no_tool_runs_unless_an_allow_verdict_for_exactly_that_call_is_durably_in_the_journal_first(
    world: World,
) -> None:
    seen: list[dict[str, Any]] = []
    act = world.act(body=lambda invocation, *_: seen.extend(world.committed(f"run/{invocation.run}")) or invocation.key)
    async with world.runtime(one(agent_of(act, what="pay", amount=7), act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.status == "done"
    last = seen[-1]  # what an outsider saw in the file while the tool ran
    assert last["kind"] == "call.decided"
    assert last["body"]["verdict"]["outcome"] == "allow"
    assert last["body"]["key"] == world.done[0].key == report.output
    state = await world.state(report.run)
    assert last["body"]["call"]["digest"] == state.calls["work#0"].record.digest  # type: ignore[union-attr]
    assert (await world.holds()).effects == 1


@pytest.mark.parametrize("persisted", [False, True])
async def test_if_the_append_of_the_verdict_fails_nothing_happens_and_nothing_is_counted(
    world: World, faults: Faults, persisted: bool
) -> None:
    world.policy(allow="spent.calls < 1")
    act = world.act(repeat="keyed")
    graph = one(agent_of(act, what="pay"), act)
    async with world.runtime(graph) as runtime:
        run = await runtime.start("app", principal="me")
        faults.arm("call.decided", persisted=persisted)
        with pytest.raises(JournalError, match="disk I/O error"):
            await runtime.resume(run)
        assert faults.fired == 1
        assert world.done == []
        # It goes on from what the journal really holds: one call was counted, or none, and never two.
        assert (await runtime.resume(run)).status == "done"
    assert world.did == ["pay"]
    assert (await world.state(run)).spent.calls == 1
    await world.holds()


async def test_an_agent_that_swallows_everything_does_not_outlive_a_failed_append(world: World, faults: Faults) -> None:
    act = world.act()

    async def agent(ctx: Context) -> str:
        for what in ("a", "b", "c"):
            try:
                await ctx.call(act, what=what)
            except Exception:  # noqa: BLE001
                continue
        return "went on"

    async with world.runtime(one(agent, act)) as runtime:
        run = await runtime.start("app", principal="me")
        faults.arm("call.decided", persisted=False)
        with pytest.raises(JournalError):
            await runtime.resume(run)
    assert world.done == []
    assert "call.decided" not in await world.kinds(run)


# --- 2: with no policy, a broken policy or an unreadable one, nothing runs ----------------------------


def no_folder(world: World) -> None:
    world.policies.rename(world.folder / "elsewhere")


def no_file(world: World) -> None:
    for file in world.policies.iterdir():
        file.unlink()


def only_queues(world: World) -> None:
    (world.policies / "main.yaml").unlink()


def write(text: str | bytes) -> Any:
    def spoil(world: World) -> None:
        (world.policies / "main.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())

    return spoil


SPOILT = {
    "no folder": no_folder,
    "no file": no_file,
    "only queues": only_queues,
    "empty": write(""),
    "not yaml": write("policy: [main"),
    "not utf-8": write(b"policy: main\nrules: \xff"),
    "a typo in a key": write("policy: main\nrules: [{id: a, tools: ['*'], alow: true}]"),
    "a typo in an argument": write("policy: main\nrules: [{id: a, tools: ['*'], allow: args.amuont < 5}]"),
    "a wrong type": write("policy: main\nrules: [{id: a, tools: ['*'], allow: args.amount < '5'}]"),
    "an unknown tool": write("policy: main\nrules: [{id: a, tools: [atc], allow: true}]"),
    "an unknown queue": write("policy: main\nrules: [{id: a, tools: ['*'], escalate: true, to: nobody}]"),
    "a directory": lambda world: ((world.policies / "main.yaml").unlink(), (world.policies / "main.yaml").mkdir()),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_with_no_policy_a_broken_policy_or_an_unreadable_one_nothing_runs(world: World, spoil: Any) -> None:
    act = world.act()
    graph = one(agent_of(act), act)
    async with world.runtime(graph) as runtime:
        run = await runtime.start("app", principal="me")
    spoil(world)
    with pytest.raises(PolicyError):
        async with world.runtime(graph):
            pass
    assert world.done == []
    # The run is still there, and goes on once the policies are whole again.
    for file in world.folder.glob("elsewhere"):
        file.rename(world.policies)
    if (world.policies / "main.yaml").is_dir():
        (world.policies / "main.yaml").rmdir()
    world.queues(desk={}).policy(allow="true")
    async with world.runtime(graph) as runtime:
        assert (await runtime.resume(run)).status == "done"
    assert world.did == ["it"]


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_a_folder_that_breaks_while_a_worker_runs_changes_nothing_and_is_an_error_in_the_log(
    world: World, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world.policy(allow="args.what != 'rm'")
    pay, remove = (one(agent_of(world.act(), what=what), world.act(), name=what) for what in ("pay", "rm"))
    async with world.runtime(pay) as runtime, world.runtime(remove) as other:
        spoil(world)
        for _ in range(2):
            assert (await runtime.run("pay", principal="me")).status == "done"
            assert (await other.run("rm", principal="me")).status == "failed"
        shouts = [record for record in caplog.records if "the last good set stays in force" in record.message]
        assert len(shouts) == 2 and all(record.levelname == "ERROR" for record in shouts)  # once, and not each time
        for file in world.folder.glob("elsewhere"):
            file.rename(world.policies)
        if (world.policies / "main.yaml").is_dir():
            (world.policies / "main.yaml").rmdir()
        world.queues(desk={}).policy(allow="true", deny="args.what == 'pay'")
        assert (await runtime.run("pay", principal="me")).status == "failed"
    assert world.did == ["pay", "pay"]
    await world.holds()


async def test_a_policy_that_grants_nothing_denies(world: World) -> None:
    world.policy(deny="false")
    act = world.act()
    async with world.runtime(one(agent_of(act), act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.failed == ("work",)
    assert world.done == []
    assert (await world.state(report.run)).calls["work#0"].verdict.outcome == "deny"  # type: ignore[union-attr]
    await world.holds()


async def test_a_tightened_policy_counts_from_the_next_resume_on_even_if_recording_it_fails_once(
    world: World, faults: Faults
) -> None:
    act = world.act()
    graph = one(agent_of(act), act)
    async with world.runtime(graph) as runtime:
        run = await runtime.start("app", principal="me")
        world.policy(allow="true", deny="true")
        faults.arm("policy.loaded", persisted=False)
        with pytest.raises(JournalError):
            await runtime.resume(run)
        assert faults.fired == 1
        assert (await runtime.resume(run)).status == "failed"
    assert world.done == []
    await world.holds()


# --- 3 and 4: deny trumps everything; what breaks is stricter ------------------------------------------


async def test_no_ruling_turns_a_deny_into_an_allow_not_even_one_given_before_the_rule(world: World) -> None:
    world.policy(escalate="true")
    act = world.act()
    graph = one(agent_of(act), act)
    async with world.runtime(graph) as runtime:
        report = await runtime.run("app", principal="me")
        await world.rule(report.reviews[0])
        world.policy({"id": "all", "allow": "true"}, escalate="true", deny="approval.given")
        report = await runtime.resume(report.run)
    assert report.status == "failed"
    assert world.done == []
    assert (await world.state(report.run)).calls["work#0"].status == "refused"
    await world.holds()


async def test_a_call_that_is_denied_outright_is_never_shown_to_anybody(world: World) -> None:
    world.policy(escalate="true", deny="true", allow="true")
    act = world.act()
    async with world.runtime(one(agent_of(act), act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.status == "failed"
    assert report.reviews == ()
    assert world.done == []


async def test_a_fact_provider_that_fails_makes_the_outcome_stricter_and_says_so(world: World) -> None:
    act = world.act()
    fail = [True]

    @fact(tools=[act])
    async def known(request: FactRequest) -> bool:
        if fail[0]:
            raise OSError("the register is down")
        return True

    world.policy(allow="true", deny="!facts.known")
    graph = one(agent_of(act), act, facts=[known])
    async with world.runtime(graph) as runtime:
        report = await runtime.run("app", principal="me")
        assert report.status == "failed"
        assert world.done == []
        verdict = (await world.state(report.run)).calls["work#0"].verdict
        assert verdict is not None
        assert [hit.rule for hit in verdict.broken] == ["deny-rule"]
        fail[0] = False
        assert (await runtime.run("app", principal="me")).status == "done"
    await world.holds()


@pytest.mark.parametrize("how", ["sync", "slow", "wrong type", "cancels itself"])
async def test_a_fact_provider_may_do_what_it_likes_and_the_rule_that_needs_it_is_broken(
    world: World, how: str
) -> None:
    act = world.act()

    def sync(request: FactRequest) -> bool:
        raise StopIteration

    async def other(request: FactRequest) -> bool:
        if how == "slow":
            asyncio.get_running_loop().call_soon(world.clock.advance, 31)
            await asyncio.Event().wait()
        if how == "cancels itself":
            raise asyncio.CancelledError
        return "true"  # type: ignore[return-value]

    known = fact(tools=[act], name="known")(sync if how == "sync" else other)
    world.policy(allow="facts.known || true", deny="!facts.known")
    async with world.runtime(one(agent_of(act), act, facts=[known])) as runtime:
        assert (await runtime.run("app", principal="me")).status == "failed"
    assert world.done == []
    await world.holds()


# --- 6: the same call, facts and policy set give the same verdict --------------------------------------


async def test_the_same_call_facts_and_policies_give_the_same_verdict_when_replayed_from_the_journal(
    world: World,
) -> None:
    act = world.act()

    @fact(tools=[act])
    def limit(request: FactRequest) -> Decimal:
        return Decimal("2.50")

    world.policy(
        {"id": "small", "allow": "args.amount < facts.limit && spent.calls < 3"},
        {"id": "some", "escalate": "args.amount == 5", "because": "{{args.amount}} at {{now}}"},
        {"id": "many", "deny": "history.denied > 2 || args.amount > 7"},
        {"id": "breaks", "escalate": "1 / (args.amount - 6) == 5"},
        {"id": "shade", "deny": "args.amount == 1", "mode": "shadow"},
    )

    async def agent(ctx: Context) -> int:
        denied = 0
        for amount in (1, 2, 1, 1, 8, 3, 6):
            try:
                await ctx.call(act, amount=amount)
            except Denied:
                denied += 1
        return denied

    async with world.runtime(one(agent, act, facts=[limit])) as runtime:
        report = await runtime.run("app", principal="me")
    found = await world.holds()
    assert found.decisions == 7
    assert (report.status, report.output) == ("done", 4)


async def test_a_number_decides_the_same_live_and_replayed_whatever_json_makes_of_it(world: World) -> None:
    # 1.0 is written as 1: what is decided on must be what is recorded.
    asked = foreign_tool(
        "asked",
        {"type": "object", "properties": {"data": {}}, "required": ["data"]},
        _nothing,
        effect="read",
        labels={},
    )
    world.policy(
        {"id": "whole", "allow": "type(args.data) == int || args.data > 9e15"},
        {"id": "half", "deny": "type(args.data) != int && args.data < 9e15"},
    )
    outcomes = []

    async def agent(ctx: Context) -> None:
        for value in (1, 1.0, 1.5, 1e16, -0.0):
            try:
                await ctx.call(asked, data=value)
                outcomes.append("ran")
            except Denied:
                outcomes.append("denied")

    async with world.runtime(one(agent, asked)) as runtime:
        report = await runtime.run("app", principal="me")
    assert (report.status, await world.why(report.run)) == ("done", [])
    assert outcomes == ["ran", "ran", "denied", "ran", "ran"]
    assert (await world.holds()).decisions == 5


async def _nothing(invocation: Invocation, arguments: dict[str, Any]) -> None:
    return None


# --- 17: arguments that don't fit -----------------------------------------------------------------------


async def test_arguments_that_do_not_fit_are_an_error_to_the_agent_and_in_the_journal(world: World) -> None:
    act = world.act()
    words: list[str] = []

    async def agent(ctx: Context) -> None:
        calls: list[dict[str, Any]] = [
            {"amount": "7"}, {"amount": True}, {"amount": 1.5}, {"amuont": 1}, {"what": None}, {"amount": 2**60},
            {"amount": float("nan")}, {"what": "\ud800"}, {"what": object()},
        ]  # fmt: skip
        for arguments in calls:
            with pytest.raises(InvalidArguments) as caught:
                await ctx.call(act, **arguments)
            words.append(str(caught.value))

    async with world.runtime(one(agent, act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.status == "done"
    assert world.done == []
    assert (await world.kinds(report.run)).count("call.rejected") == len(words) == 9
    assert "`amount`" in words[0]
    assert "`amuont`" in words[3]
    assert (await world.holds()).decisions == 0


async def test_a_tool_the_graph_does_not_have_is_an_error_to_the_agent_and_never_run(world: World) -> None:
    act, other = world.act(), world.act("other")

    async def agent(ctx: Context) -> str:
        return await ctx.call(other, what="x")

    async def idle(ctx: Context) -> None:
        return None

    graphs = one(agent, act), one(idle, other, name="second")
    async with world.runtime(*graphs) as runtime:
        report = await runtime.run("app", principal="me")
    assert report.status == "failed"
    assert world.done == []
    assert "call.rejected" in await world.kinds(report.run)


async def test_what_is_more_than_an_entry_holds_is_refused_and_nothing_runs(world: World) -> None:
    ran: list[object] = []

    async def wide(invocation: Invocation, arguments: dict[str, Any]) -> None:
        ran.append(arguments)

    many = foreign_tool("many", {"type": "object", "additionalProperties": True}, wide)

    async def agent(ctx: Context) -> str:
        with pytest.raises(InvalidArguments, match="bytes are more than an entry holds"):
            await ctx.call(many, **{f"a{number}": number for number in range(2_000)})
        await ctx.call(many, a=1)
        return "went on"

    async with world.runtime(one(agent, many)) as runtime:
        report = await runtime.run("app", principal="me")
    assert (report.output, await world.why(report.run)) == ("went on", [])
    assert ran == [{"a": 1}]
    await world.holds()


async def test_an_argument_that_no_policy_could_name_is_refused(world: World) -> None:
    many = foreign_tool("many", {"type": "object", "additionalProperties": True}, _nothing)

    async def agent(ctx: Context) -> str:
        for name in (" a", "\uffff", "a/b", "", "a" * 200):
            with pytest.raises(InvalidArguments, match="name"):
                await ctx.call(many, **{name: 1})
        return "refused"

    async with world.runtime(one(agent, many)) as runtime:
        report = await runtime.run("app", principal="me")
    assert (report.output, await world.why(report.run)) == ("refused", [])
    await world.holds()


@pytest.mark.parametrize("principal", ["", "  "])
async def test_a_run_without_a_principal_does_not_start(world: World, principal: str) -> None:
    act = world.act()
    async with world.runtime(one(agent_of(act), act)) as runtime:
        with pytest.raises(BadInput, match="needs a principal"):
            await runtime.run("app", principal=principal)
        assert await runtime.journal.streams("run/") == []


# --- what runs is what was decided ---------------------------------------------------------------------


async def test_the_tool_gets_exactly_the_arguments_that_were_decided_shown_and_recorded(world: World) -> None:
    got: list[Any] = []

    @tool(effect="commit", repeat="once", labels={})
    def book(when: Decimal, items: list[int], note: str = "none", *, urgent: bool = False) -> str:
        got.append((when, items, note, urgent))
        return "ok"

    world.policy(escalate="true")

    async def agent(ctx: Context) -> str:
        items = [1, 2]
        try:
            return await ctx.call(book, Decimal("1.50"), items)
        finally:
            items.append(3)

    async with world.runtime(one(agent, book)) as runtime:
        report = await runtime.run("app", principal="me")
        (review,) = report.reviews
        payloads = await runtime.journal.payloads(f"review/{review}")
        shown = orjson.loads(payloads[0, "/shown"].value)
        await world.rule(review)
        assert (await runtime.resume(report.run)).status == "done"
    assert shown["args"] == {"when": "1.50", "items": [1, 2], "note": "none", "urgent": False}
    assert got == [(Decimal("1.50"), [1, 2], "none", False)]
    await world.holds()


async def test_a_tampered_payload_stops_the_run_even_where_the_agent_swallows_everything(world: World) -> None:
    world.policy({"id": "ask", "escalate": "args.amount > 5"}, {"id": "rest", "allow": "args.amount <= 5"})
    act = world.act()

    async def agent(ctx: Context) -> str:
        try:
            await ctx.call(act, what="big", amount=6)
        except Exception:  # noqa: BLE001
            await ctx.call(act, what="another way", amount=1)
        return "done"

    async with world.runtime(one(agent, act)) as runtime:
        report = await runtime.run("app", principal="me")
        await world.rule(report.reviews[0])
        world.sql("UPDATE payloads SET value = CAST('7' AS BLOB) WHERE path = '/args/amount'")
        with pytest.raises(Tampered, match="not what the entry committed to"):
            await runtime.resume(report.run)
    assert world.done == []


def test_nothing_is_written_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of a run that waits takes no ownership: asking is free."""

    async def main() -> None:
        world = World(tmp_path).policy(escalate="true")
        act = world.act()
        async with world.runtime(one(agent_of(act), act)) as runtime:
            report = await runtime.run("app", principal="me")
            with watching_appends(monkeypatch) as seen:
                assert isinstance(await runtime.resume(report.run), RunReport)
                assert [one async for one in runtime.work(once=True)] == []
            assert seen == []

    asyncio.run(main())


@pytest.mark.parametrize("wrong", ["too many", "twice"])
async def test_positional_arguments_that_do_not_fit_are_refused_and_in_the_journal(world: World, wrong: str) -> None:
    world.policy(allow="true")
    act = world.act()

    async def agent(ctx: Context) -> str:
        call: Any = ctx.call
        try:
            return str(await (call(act, "it", 1, 2) if wrong == "too many" else call(act, "it", what="that")))
        except InvalidArguments as error:
            return str(error)

    async with world.runtime(one(agent, act)) as runtime:
        report = await runtime.run("app", principal="me")
    assert ("positional argument" if wrong == "too many" else "given twice") in str(report.output)
    assert await world.kinds(report.run) == [
        "run.started",
        "task.started",
        "call.rejected",
        "task.finished",
        "run.finished",
    ]
    assert world.done == []
