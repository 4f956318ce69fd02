"""Obligations at work: what was obliged is what is committed, shown and run, and both verifiers see that it was."""

from __future__ import annotations

import json
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import AfterValidator
from worlds import World, one, writer_faults

from remit import Context, Graph, Task, tool
from remit.core.detectors import Detector, Places, Report
from remit.core.entries import Obligation
from remit.core.obliging import Obliged
from remit.core.tools import idempotency_key
from remit.errors import (
    BadInput,
    Denied,
    InvalidArguments,
    JournalError,
    PolicyError,
    ReplayMismatch,
    ResultLost,
    ToolFailed,
    UnknownId,
)
from remit.policykit.backtest import Backtest
from remit.runtime import gate as gates
from remit.runtime.guards import Guarded
from remit.runtime.recordedcases import recorded_cases
from remit.runtime.tracing import original_arguments, original_result, trace
from remit.runtime.views import review_view, run_view
from remit.store.decisions import with_decisions
from remit.store.journal import Journal
from remit.verify import verify

CARD = "4111-1111-1111-1111"
MASKED = "****-****-****-****"
ASKED: list[tuple[str, int]] = []


@pytest.fixture
def world(tmp_path: Path) -> World:
    ASKED.clear()
    return World(tmp_path)


@tool(effect="read", repeat="idempotent", labels={"": ["trusted"]})
def search(text: str, limit: int = 10) -> list[dict[str, str]]:
    ASKED.append((text, limit))
    return [{"name": "Ann", "card": CARD}, {"name": "Bob", "card": "4222"}]


def a_digit(text: str) -> str:
    if not any(map(str.isdigit, text)):
        raise ValueError("no digit")
    return text


@tool(effect="read", repeat="idempotent", labels={})
def spend(amount: Decimal, code: Annotated[str, AfterValidator(a_digit)]) -> str:
    ASKED.append((str(amount), 0))
    return "spent"


async def asks(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    try:
        found: Any = await ctx.call(search, **given)
    except (Denied, ToolFailed) as error:
        found = f"{type(error).__name__}: {error}"
    return {"found": found, "told": list(ctx.notices)}


def obliging(**said: Any) -> dict[str, Any]:
    return {"id": "some", "allow": "true", "oblige": said}


async def ran(world: World, given: dict[str, Any], graph: Graph | None = None) -> tuple[str, Any]:
    async with world.runtime(graph or one(asks, search)) as runtime:
        report = await runtime.run("app", given, principal="ann")
    return report.run, report.output


def says(bundle: Path) -> str:
    """What both verifiers say of an export, problems only."""
    alone = subprocess.run(["python3", "-I", str(bundle / "verify.py")], capture_output=True, text=True, check=False)
    told = [line for line in alone.stdout.splitlines() if line.startswith("problem")]
    return "\n".join([*map(str, verify(bundle).problems), *told])


async def test_what_is_capped_is_what_is_recorded_shown_and_run_and_the_agent_is_told(world: World) -> None:
    world.policy(obliging(cap={"/args/limit": 100}))
    run, output = await ran(world, {"text": "x", "limit": 5000})
    assert ASKED == [("x", 100)]
    assert output["told"] == ["`search` did not run as asked: the policy changed `limit`, and that ran"]
    (body,) = await world.bodies(run, "call.decided")
    assert body.verdict.obliged == (Obligation("cap", "/args/limit", "100"),)
    assert set(body.edited) == {"limit"}
    assert body.digest != body.call.digest
    assert body.key == idempotency_key(body.digest)
    async with await Journal.open(world.url, keys=world.keys) as journal:
        (call,) = (await run_view(journal, run))["calls"]
        (row,) = await trace(journal, run)
    assert (call["args"]["limit"], call["changed"], call["obliged"]) == (100, ["limit"], ["cap /args/limit at 100"])
    assert row["args"]["limit"] == 100
    assert (await world.holds()).decisions == 1
    assert says(await world.export()) == ""


async def test_a_call_that_is_within_what_is_obliged_runs_as_asked(world: World) -> None:
    world.policy(obliging(cap={"/args/limit": 100}))
    run, output = await ran(world, {"text": "x", "limit": 100})
    (body,) = await world.bodies(run, "call.decided")
    assert (body.edited, body.digest, body.asked, output["told"]) == ({}, "", None, [])
    await world.holds()


async def test_what_is_masked_leaves_in_no_export_and_is_there_for_those_entitled_to_the_store(world: World) -> None:
    world.policy(obliging(mask=["/args/text"], cap={"/args/limit": 3}))

    async def agent(ctx: Context) -> None:
        await ctx.call(search, text="card 5500-0000-0000-0004", limit=9)

    async with world.runtime(one(agent, search)) as runtime:
        run = (await runtime.run("app", principal="ann")).run
    assert [(f"**** {MASKED}", 3)] == ASKED
    bundle = await world.export()
    for file in bundle.iterdir():
        assert "5500" not in file.read_text(encoding="utf-8")
    found = verify(bundle)
    assert found.ok
    assert found.decisions == 1
    assert any("decided again as it ran" in note for note in found.notes)
    assert says(bundle) == ""
    async with await Journal.open(world.url, keys=world.keys) as journal:
        assert await original_arguments(journal, run, "work#0") == {"text": "card 5500-0000-0000-0004"}


async def test_a_changed_call_that_policy_denies_does_not_run(world: World) -> None:
    world.policy(obliging(cap={"/args/limit": 5}), {"id": "few", "deny": "args.limit <= 5"})
    run, output = await ran(world, {"text": "x", "limit": 50})
    assert "few" in output["found"]
    assert not ASKED
    (body,) = await world.bodies(run, "call.decided")
    assert body.verdict.outcome == "deny"
    assert set(body.edited) == {"limit"}
    await world.holds()


async def test_a_call_that_no_rule_allows_as_changed_does_not_run(world: World) -> None:
    world.policy({"id": "some", "allow": "args.limit > 5", "oblige": {"cap": {"/args/limit": 5}}})
    _, output = await ran(world, {"text": "x", "limit": 50})
    assert "no rule allows `search`" in output["found"]
    assert not ASKED
    await world.holds()


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ({"mask": ["/args/text/inner"]}, {"text": "x"}),
        ({"cap": {"/args/data/limit": 1}}, {"data": {}}),
        ({"cap": {"/args/data/limit": 1}}, {"data": {"limit": "many"}}),
        ({"mask": ["/args/data/n"]}, {"data": {"n": 4}}),
    ],
)
async def test_an_obligation_that_cant_be_fulfilled_denies_and_never_runs(
    world: World, said: dict[str, Any], given: dict[str, Any]
) -> None:
    @tool(effect="read", repeat="idempotent", labels={})
    def take(text: Any = None, data: dict[str, int | str] | None = None) -> str:
        ASKED.append((str(text), 0))
        return "taken"

    async def agent(ctx: Context, given: dict[str, Any]) -> str:
        try:
            return await ctx.call(take, **given)
        except Denied as error:
            return str(error)

    world.policy(obliging(**said))
    _, output = await ran(world, given, one(agent, take))
    if said == {"mask": ["/args/data/n"]}:  # null is no number, and may not stand there
        assert "would not fit" in output
    else:
        assert "an obligation can't be fulfilled" in output
    assert not ASKED
    await world.holds()


async def test_a_mask_on_what_is_null_has_nothing_to_mask(world: World) -> None:
    @tool(effect="read", repeat="idempotent", labels={})
    def take(text: str | None = None) -> str:
        ASKED.append((str(text), 0))
        return "taken"

    async def agent(ctx: Context) -> str:
        return await ctx.call(take)

    world.policy(obliging(mask=["/args/text"]))
    async with world.runtime(one(agent, take)) as runtime:
        assert (await runtime.run("app", principal="ann")).output == "taken"
    await world.holds()


async def test_what_the_tool_itself_does_not_take_is_rejected(world: World) -> None:
    async def agent(ctx: Context) -> str:
        try:
            return await ctx.call(spend, amount=Decimal(100), code="x1")
        except InvalidArguments as error:
            return str(error)

    world.policy(obliging(mask=["/args/code"]))
    async with world.runtime(one(agent, spend)) as runtime:
        report = await runtime.run("app", principal="ann")
    assert "`spend` doesn't take its arguments as policy obliges them" in str(report.output)
    assert '"path":"/args"' not in (await world.export() / "payloads.jsonl").read_text(encoding="utf-8")
    assert not ASKED
    world.policy(obliging(cap={"/args/amount": 99.5}))
    async with world.runtime(one(agent, spend)) as runtime:
        assert (await runtime.run("app", principal="ann")).output == "spent"
    assert ASKED == [("99.5", 0)]
    assert says(await world.export()) == ""


# --- reviews ---------------------------------------------------------------------------------------------


async def test_reviewers_are_shown_the_call_as_it_will_run_and_that_runs_after_a_resume(world: World) -> None:
    world.policy({"id": "ask", "escalate": "true", "oblige": {"cap": {"/args/limit": 7}, "mask": ["/args/text"]}})
    async with world.runtime(one(asks, search)) as runtime:
        report = await runtime.run("app", {"text": CARD, "limit": 50}, principal="bob")
    (body,) = await world.bodies(report.run, "call.decided")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        view = await review_view(journal, body.reviews[0])
    assert view["args"] == {"limit": 7, "text": MASKED}
    assert CARD not in json.dumps(view)
    await world.rule(body.reviews[0])
    async with world.runtime(one(asks, search)) as runtime:
        output: Any = (await runtime.resume(report.run)).output
    assert ASKED == [(MASKED, 7)]
    assert output["told"] == ["`search` did not run as asked: the policy changed `limit`, `text`, and that ran"]
    assert says(await world.export()) == ""


async def test_what_the_call_as_asked_for_escalated_by_still_asks_once_it_is_changed(world: World) -> None:
    world.policy(
        obliging(cap={"/args/limit": 7}), {"id": "many", "escalate": "args.limit > 7", "because": "{{args.limit}} rows"}
    )
    async with world.runtime(one(asks, search)) as runtime:
        report = await runtime.run("app", {"text": "x", "limit": 50}, principal="bob")
    (body,) = await world.bodies(report.run, "call.decided")
    assert body.verdict.outcome == "escalate"
    await world.rule(body.reviews[0])
    async with world.runtime(one(asks, search)) as runtime:
        await runtime.resume(report.run)
    assert ASKED == [("x", 7)]
    await world.holds()


async def test_an_obligation_never_changes_what_a_reviewer_approved(world: World) -> None:
    world.queues(desk={"ttl": "1h", "edit": ["limit"]})
    world.policy({"id": "ask", "escalate": "true", "oblige": {"cap": {"/args/limit": 7}}})
    async with world.runtime(one(asks, search)) as runtime:
        report = await runtime.run("app", {"text": "x", "limit": 3}, principal="bob")
    (body,) = await world.bodies(report.run, "call.decided")
    with pytest.raises(BadInput, match="it would change what was approved: `limit`"):
        await world.rule(body.reviews[0], edited={"limit": 70})
    world.policy({"id": "ask", "escalate": "true"})
    async with world.runtime(one(asks, search)):
        pass  # it records that this set is in force now
    await world.rule(body.reviews[0], edited={"limit": 70})
    world.policy({"id": "ask", "escalate": "true", "oblige": {"cap": {"/args/limit": 7}}})
    async with world.runtime(one(asks, search)) as runtime:
        output: Any = (await runtime.resume(report.run)).output
    assert "it would change what was approved: `limit`" in output["found"]
    assert not ASKED
    await world.holds()


async def test_an_edit_on_top_of_an_obligation_is_both_and_the_agent_is_told_who_did_what(world: World) -> None:
    world.queues(desk={"ttl": "1h", "edit": ["text"]})
    world.policy({"id": "ask", "escalate": "true", "oblige": {"cap": {"/args/limit": 7}}})
    async with world.runtime(one(asks, search)) as runtime:
        report = await runtime.run("app", {"text": "x", "limit": 30}, principal="bob")
    (body,) = await world.bodies(report.run, "call.decided")
    await world.rule(body.reviews[0], edited={"text": "y"})
    async with world.runtime(one(asks, search)) as runtime:
        output: Any = (await runtime.resume(report.run)).output
    assert ASKED == [("y", 7)]
    assert output["told"] == [
        "`search` did not run as asked: the policy changed `limit` and ann changed `text`, and that ran"
    ]
    await world.holds()


async def test_at_replay_the_asked_arguments_are_compared_and_the_changed_ones_are_what_ran(world: World) -> None:
    capped = {**obliging(cap={"/args/limit": 7}), "tools": ["search"]}
    world.policy(capped, {"id": "act", "tools": ["act"], "escalate": "true"})
    act = world.act()
    limit = 50

    async def agent(ctx: Context) -> list[str]:
        await ctx.call(search, text="x", limit=limit)
        await ctx.call(act)
        return list(ctx.notices)

    async with world.runtime(one(agent, search, act)) as runtime:
        report = await runtime.run("app", principal="bob")
    (_, body) = await world.bodies(report.run, "call.decided")
    await world.rule(body.reviews[0])
    limit = 7  # what ran, and not what was asked for
    async with world.runtime(one(agent, search, act)) as runtime:
        with pytest.raises(ReplayMismatch, match=r"args\.limit: 50"):
            await runtime.resume(report.run)
    limit = 50
    async with world.runtime(one(agent, search, act)) as runtime:
        assert len((await runtime.resume(report.run)).output) == 1
    assert ASKED == [("x", 7)]
    await world.holds()


async def test_after_a_crash_what_was_obliged_is_run_again_with_the_same_key_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.policy(obliging(cap={"/args/amount": 7}, label=["pii"]))
    act = world.act(repeat="idempotent")

    async def agent(ctx: Context) -> str:
        return await ctx.call(act, amount=50)

    with writer_faults(monkeypatch) as faults:
        faults.arm("call.settled", persisted=False)
        async with world.runtime(one(agent, act)) as runtime:
            run = await runtime.start("app", principal="ann")
            with pytest.raises(JournalError):
                await runtime.resume(run)
    async with world.runtime(one(agent, act)) as runtime:
        assert (await runtime.resume(run)).status == "done"
    assert [effect.amount for effect in world.done] == [7, 7]
    assert len({effect.key for effect in world.done}) == 1
    (body,) = await world.bodies(run, "call.settled")
    assert body.labels == ("pii",)
    await world.holds()


# --- results ---------------------------------------------------------------------------------------------


async def test_a_result_is_covered_labelled_and_kept_apart(world: World) -> None:
    world.policy(obliging(mask=["/result/*/card"], redact=["/result/0/name"], label=["pii"], keep=True))
    run, output = await ran(world, {"text": "x"})
    assert output["found"] == [{"name": "[redacted]", "card": MASKED}, {"name": "Bob", "card": "****"}]
    (body,) = await world.bodies(run, "call.settled")
    assert body.guarded == ("policy:label", "policy:mask", "policy:redact")
    assert body.labels == ("pii",)
    assert (await world.state(run)).tasks["work"].labels == ("pii",)
    async with await Journal.open(world.url, keys=world.keys) as journal:
        original: Any = await original_result(journal, run, "work#0")
    assert original[0] == {"name": "Ann", "card": CARD}
    assert says(await world.export()) == ""


async def test_a_result_that_cant_be_covered_is_refused(world: World) -> None:
    @tool(effect="read", repeat="idempotent", labels={})
    def fetch() -> dict[str, Any]:
        return {"number": CARD}

    async def agent(ctx: Context) -> str:
        try:
            return str(await ctx.call(fetch))
        except ResultLost as error:
            return str(error)

    world.policy(obliging(mask=["/result/card"]))
    async with world.runtime(one(agent, fetch)) as runtime:
        report = await runtime.run("app", principal="ann")
    assert "its result was refused: an obligation can't be fulfilled: there is no `/result/card`" in str(report.output)
    with pytest.raises(UnknownId):
        async with await Journal.open(world.url, keys=world.keys) as journal:
            await original_result(journal, report.run, "work#0")
    await world.holds()


# --- guardrails ------------------------------------------------------------------------------------------


def guard(world: World, **said: Any) -> None:
    text = json.dumps({"guardrails": [{"tools": ["search"], **said}]})
    (world.policies / "guardrails.yaml").write_text(text, encoding="utf-8")


async def test_a_guardrail_masks_what_it_finds_in_arguments_and_looks_again(world: World) -> None:
    guard(world, detector="pii", arguments=["/text"], when="found", then="mask")
    world.policy({"id": "clean", "tools": ["search"], "allow": "true"})
    _, output = await ran(world, {"text": "nothing"})
    assert output["told"] == []
    run, output = await ran(world, {"text": f"pay with {CARD} now"})
    assert [("nothing", 10), (f"pay with {MASKED} now", 10)] == ASKED
    (body,) = await world.bodies(run, "call.decided")
    assert body.covered == ("text",)
    assert says(await world.export()) == ""


async def test_a_guardrail_that_fails_to_look_denies_what_it_might_have_masked(world: World) -> None:
    class Facts(msgspec.Struct, frozen=True):
        bad: bool = False

    def breaks(places: Places) -> Report[Facts]:
        raise RuntimeError("no luck")

    guard(world, detector="mine", arguments=["/text"], when="bad", then="mask")
    world.policy({"id": "all", "allow": "true"})
    graph = Graph("app", [Task("work", asks)], tools=[search], detectors=[Detector("mine", Facts, breaks)])
    _, output = await ran(world, {"text": "x"}, graph)
    assert "guardrail `mine` failed, so nobody knows what to mask" in output["found"]
    assert not ASKED
    await world.holds()


# --- a gate that doesn't do as it is obliged -------------------------------------------------------------


async def test_a_call_that_ran_otherwise_than_obliged_is_found_by_both_verifiers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.policy(obliging(cap={"/args/limit": 100}))
    real = gates.as_obliged

    def careless(tool: Any, document: Any, args: Any, policies: Any) -> Obliged:
        return Obliged(real(tool, document, args, policies).verdict, args)

    monkeypatch.setattr(gates, "as_obliged", careless)
    await ran(world, {"text": "x", "limit": 5000})
    assert ASKED == [("x", 5000)]
    told = says(await world.export())
    assert "the policies oblige to change it" in told
    assert "what was run is not what the verdict obliges the call to be" in told


async def test_a_result_that_shows_what_was_to_be_covered_is_found_by_both_verifiers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.policy(obliging(mask=["/result/*/card"], label=["pii"]))

    def careless(before: Guarded, obliged: Any) -> Guarded:
        return before

    monkeypatch.setattr(gates, "covered", careless)
    await ran(world, {"text": "x"})
    told = says(await world.export())
    assert told.count("shows what the verdict obliges to cover") == 2
    assert told.count("have the labels that the verdict obliges it to have") == 2


# --- people's tools --------------------------------------------------------------------------------------


async def test_recorded_cases_and_a_backtest_of_the_same_policies_find_no_difference(world: World) -> None:
    world.policy(obliging(cap={"/args/limit": 100}, mask=["/args/text"], label=["pii"]))
    run, _ = await ran(world, {"text": "x", "limit": 5000})
    await ran(world, {"text": "*", "limit": 5})
    files = {path.name: path.read_text(encoding="utf-8") for path in world.policies.iterdir()}
    looser = {**files, "main.yaml": files["main.yaml"].replace("100", "200").replace('["pii"]', "[]")}
    async with await Journal.open(world.url, keys=world.keys) as journal:
        cases, left_out = await recorded_cases(journal, run)

        reports = []
        for candidate in (files, looser):

            def job(loaded: Any, rows: Any, candidate: dict[str, str] = candidate) -> Any:
                test = Backtest(candidate, loaded)
                test.feed(rows)
                return test.done

            reports.append(await with_decisions(journal, "", job))
    assert left_out == 0
    assert cases[0]["given"]["args"] == {"text": "x", "limit": 5000}
    assert cases[0]["expect"]["obligations"] == ["cap /args/limit at 100", "label pii", "mask /args/text"]
    same, other = (report.row() for report in reports)
    assert (same["decisions"], same["same"], same["changes"], same["obligations"]) == (2, 2, [], [])
    assert {(row["change"], row["obligation"]) for row in other["obligations"]} == {
        ("added", "cap /args/limit at 200"),
        ("dropped", "cap /args/limit at 100"),
        ("dropped", "label pii"),
    }


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"deny": "true", "oblige": {"label": ["pii"]}}, "rule `some` has `oblige`, and denies"),
        ({"allow": "true", "oblige": {}}, "`oblige` says nothing"),
        ({"allow": "true", "oblige": {"keep": True}}, "`oblige` says nothing"),
        ({"allow": "true", "oblige": {"msak": ["/args/text"]}}, "unknown key `msak`"),
        ({"allow": "true", "oblige": {"mask": ["args.text"]}}, "say a JSON pointer below"),
        ({"allow": "true", "oblige": {"mask": ["/args/tetx"]}}, "tool `search` has no `/args/tetx`"),
        ({"allow": "true", "oblige": {"cap": {"/args/text": 1}}}, "`/args/text` of `search` is no number"),
        ({"allow": "true", "oblige": {"cap": {"/args/limit": "x"}}}, "say a plain number"),
        ({"allow": "true", "oblige": {"label": ["Big"]}}, "a label is lowercase"),
        ({"allow": "true", "oblige": {"mask": ["/result/name"]}}, "tool `search` has no `/result/name`"),
        ({"allow": "true", "oblige": {"cap": {"/result/0/name": 3}}}, "only an argument has a cap"),
    ],
)
async def test_a_mistake_in_an_obligation_is_told_with_its_place_and_nothing_runs(
    world: World, rule: dict[str, Any], message: str
) -> None:
    world.policy({"id": "some", **rule})
    with pytest.raises(PolicyError, match=message) as raised:
        async with world.runtime(one(asks, search)):
            pass
    assert all(problem.line for problem in raised.value.problems)
