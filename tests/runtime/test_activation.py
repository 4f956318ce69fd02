"""Activations: one set in force for every worker, signed, the newest, approved by whom it takes; or nothing runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from acts import Acts, Asked, bundled_problems, checked, files, resealed, runtime_of
from pens import Pen
from worlds import Faults, one

from remit import Context, Graph, RunReport, Task
from remit.core.entries import PolicyActivated, PolicyKept, PolicyLoaded
from remit.core.notes import SignerKey
from remit.errors import BadInput, JournalError, NotEntitled, PolicyError, RunError, SettingsError, Stale
from remit.runtime.activating import activate
from remit.runtime.force import look
from remit.runtime.policylog import policy_log, texts_of
from remit.store.journal import Journal

ALL = files(allow="true")
NONE = files(allow="true", deny="true")
SOME = files(allow="args.amount < 5")


def agent_of(act: Any, amounts: tuple[int, ...] = (1,), between: Callable[[], Any] | None = None) -> Any:
    async def agent(ctx: Context) -> str:
        for amount in amounts:
            await ctx.call(act, what=f"pay {amount}", amount=amount)
            if between is not None:
                await between()
        return "done"

    return agent


@pytest.fixture
async def acts(tmp_path: Path) -> Acts:
    made = Acts(tmp_path)
    await made.begin(one(agent_of(made.act()), made.act()))
    made.draft(ALL)
    return made


async def runs(acts: Acts, graph: Graph | None = None) -> RunReport:
    async with acts.runtime(graph or acts.graph) as runtime:
        return await runtime.run(graph or acts.graph, principal="me")


# --- in force --------------------------------------------------------------------------------------------


async def test_the_activated_set_is_in_force_for_every_worker_and_the_folder_is_a_draft(
    acts: Acts, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await runs(acts)).status == "done"
    said = await acts.activates(NONE)
    assert (said.status, said.revision) == ("activated", 1)
    assert (await runs(acts)).status == "failed"
    assert "is a draft" in caplog.text
    acts.draft(NONE)
    caplog.clear()
    assert (await runs(acts)).status == "failed" and "is a draft" not in caplog.text
    # A folder that is broken, or gone, changes nothing: it isn't what runs.
    acts.draft({"main.yaml": "policy: ["})
    assert await acts.starts() == said.digest
    acts.draft({})
    acts.policies.rmdir()
    assert await acts.starts() == said.digest
    assert acts.did == ["pay 1"]
    assert await acts.verified()


async def test_a_worker_decides_its_very_next_call_under_the_set_that_was_activated_meanwhile(acts: Acts) -> None:
    """Within a run, and though the worker was started before there was any activation."""

    async def between() -> None:
        if await acts.revision() == 0:
            await acts.activates(SOME)

    act = acts.act()
    graph = one(agent_of(act, (7, 3, 8), between), act)
    report = await runs(acts, graph)
    assert report.status == "failed"
    assert acts.did == ["pay 7", "pay 3"]
    assert await acts.verified()


async def test_a_decision_that_races_with_an_activation_is_made_again_under_the_new_set(
    acts: Acts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look and the append another set is activated: nothing is stored, and it is decided anew."""
    await acts.activates(ALL)
    act = acts.act()
    graph = one(agent_of(act, (7,)), act)
    async with acts.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
        gate, real = runtime._gate, runtime._gate._moved

        async def moved(stream: Any) -> bool:
            found = await real(stream)
            if await acts.revision() == 1:
                await acts.activates(SOME)
            return found

        monkeypatch.setattr(gate, "_moved", moved)
        report = await runtime.resume(run)
    assert report.status == "failed" and acts.did == []
    assert (await acts.state(run)).calls["work#0"].verdict.policies == acts.candidate(SOME).policies.digest  # type: ignore[union-attr]
    assert await acts.verified()


async def test_to_go_back_is_to_activate_the_older_set_again(acts: Acts) -> None:
    first = await acts.activates(ALL)
    await acts.activates(NONE)
    assert (await runs(acts)).status == "failed"
    back = await acts.activates(ALL)
    assert (back.revision, back.digest, back.status) == (3, first.digest, "activated")
    assert (await runs(acts)).status == "done"
    again = await acts.activates(ALL)
    assert (again.status, again.revision, await acts.revision()) == ("in force", 3, 3)
    assert await acts.verified()


async def test_of_two_who_activate_at_once_one_wins_and_the_other_is_told(acts: Acts) -> None:
    await acts.activates(ALL)
    found = await asyncio.gather(
        *(acts.activates(texts, by=by) for texts, by in ((NONE, "olga"), (SOME, "otto"))), return_exceptions=True
    )
    won = [one_ for one_ in found if not isinstance(one_, BaseException)]
    lost = [one_ for one_ in found if isinstance(one_, BaseException)]
    if len(won) == 2:  # one after the other: then each is a revision of its own
        assert sorted(one_.revision for one_ in won) == [2, 3]
    else:
        (error,) = lost
        assert isinstance(error, Stale) and "somebody else has activated" in str(error)
        assert await acts.revision() == 2
    assert await acts.verified()


async def test_an_activation_that_is_overtaken_is_told_so(acts: Acts, monkeypatch: pytest.MonkeyPatch) -> None:
    from remit.runtime import activating

    real, raced = activating._append, []

    async def append(*args: Any) -> Any:
        if not raced:
            raced.append(1)
            await acts.activates(NONE, by="otto")
        return await real(*args)

    monkeypatch.setattr(activating, "_append", append)
    with pytest.raises(Stale, match="somebody else has activated"):
        await acts.activates(SOME)
    assert await acts.revision() == 1
    assert await acts.starts() == acts.candidate(NONE).policies.digest


async def test_who_looked_at_the_differences_from_a_set_that_is_not_in_force_any_more_is_told_so(acts: Acts) -> None:
    await acts.activates(ALL)
    async with await Journal.open(acts.url, keys=acts.keys) as journal:
        seen = await look(journal)
        await acts.activates(NONE, by="otto")
        signer = await acts.ring.signer(journal)
        with pytest.raises(Stale, match="somebody else has activated"):
            await activate(journal, acts.clock, signer, (), acts.candidate(SOME), Asked("olga", "so"), seen=seen)
    assert await acts.revision() == 2


# --- refused ---------------------------------------------------------------------------------------------

REPLACE = msgspec.structs.replace


def other_file(body: PolicyActivated) -> PolicyActivated:
    return REPLACE(body, revision=9, files={**body.files, "main.yaml": "ab" * 32})


FORGED: dict[str, tuple[Callable[[PolicyActivated], PolicyActivated], bool, str]] = {
    "unsigned": (lambda body: REPLACE(body, revision=9, signature=""), False, "it is not signed"),
    "its signature is of another entry": (lambda body: REPLACE(body, revision=9), False, "signature doesn't hold"),
    "an older revision": (lambda body: body, True, "was activated before it"),
    "an older revision, replayed": (lambda body: body, False, "was activated before it"),
    "its files are not the artifact": (other_file, True, "not those that it lists"),
    "its artifact is not there": (lambda body: REPLACE(body, revision=9, texts="ab" * 32), True, "are not there"),
    "no review": (lambda body: REPLACE(body, revision=9, review="nosuchreview"), True, "not of an activation"),
}


@pytest.mark.parametrize("how", FORGED)
async def test_an_activation_that_does_not_count_is_refused_at_start_and_changes_nothing_in_a_running_worker(
    acts: Acts, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, sign, why = FORGED[how]
    await acts.activates(ALL)
    await acts.activates(SOME)
    async with acts.runtime(acts.graph) as runtime:
        await acts.forged(change, sign)
        for _ in range(2):
            assert (await runtime.run(acts.graph, principal="me")).status == "done"
        shouts = [record.message for record in caplog.records if "the last good set stays" in record.message]
        assert len(shouts) == 1
    said = await acts.starts()
    assert said.startswith("PolicyError") and why in said, said
    assert acts.did == ["pay 1", "pay 1"]
    if how != "its artifact is not there":  # then nothing can be exported
        assert why in await acts.problems()
    # What is refused doesn't lock anybody out: the next activation counts.
    assert (await acts.activates(ALL)).revision in (3, 10)
    assert (await runs(acts)).status == "done"


async def test_an_altered_artifact_is_refused(acts: Acts) -> None:
    await acts.activates(SOME)
    acts.sql("UPDATE artifacts SET bytes = CAST(replace(bytes, '< 5', '< 9') AS BLOB) WHERE kind = 'policies'")
    said = await acts.starts()
    assert said.startswith("PolicyError") and "its files are not there" in said
    assert acts.done == []


async def test_a_set_that_has_expired_runs_nothing_neither_at_start_nor_in_a_running_worker(acts: Acts) -> None:
    await acts.activates(ALL, expires="2026-01-05T10:00:00.000000Z")
    act = acts.act()
    async with acts.runtime(acts.graph) as runtime:
        assert (await runtime.run(acts.graph, principal="me")).status == "done"
        acts.clock.advance(3600 * 24 * 30)
        with pytest.raises(PolicyError, match="expired"):
            await runtime.run(acts.graph, principal="me")
    assert "expired at 2026-01-05" in await acts.starts()
    assert acts.did == ["pay 1"]
    with pytest.raises(BadInput, match="expired"):
        await acts.activates(ALL, expires="2026-01-05T10:00:00.000000Z")
    assert (await acts.activates(ALL)).revision == 2
    assert (await runs(acts, one(agent_of(act), act))).status == "done"
    assert await acts.verified()


async def test_an_agent_that_swallows_everything_does_not_outlive_the_end_of_its_policies(acts: Acts) -> None:
    await acts.activates(ALL, expires="2026-01-05T10:00:00.000000Z")
    act = acts.act()

    async def agent(ctx: Context) -> str:
        await ctx.call(act, amount=1)
        acts.clock.advance(3600 * 24)
        for _ in range(3):
            try:
                await ctx.call(act, amount=2)
            except Exception:  # noqa: BLE001
                continue
        return "went on"

    graph = one(agent, act)
    async with acts.runtime(graph) as runtime:
        with pytest.raises(PolicyError, match="expired"):
            await runtime.run(graph, principal="me")
    assert [effect.amount for effect in acts.done] == [1]


async def test_a_key_that_is_not_trusted_or_retired_activates_nothing(acts: Acts, tmp_path: Path) -> None:
    mine = await acts.activates(SOME)
    theirs = SignerKey("example.com/eve", b"e" * 32)
    async with await Journal.open(acts.url, keys=acts.keys) as journal:
        # Whoever can write to the store can add a key to the journal; the worker's own folder doesn't have it.
        from remit.core.entries import KeyAdded
        from remit.runtime.stream import Draft
        from remit.store.journal import Append

        draft = Draft("store", await journal.head("store"), acts.clock)
        await journal.append(Append((draft.seal("eve", KeyAdded(str(theirs.verifier))),)))
        await activate(journal, acts.clock, theirs, (), acts.candidate(ALL), Asked("eve", "mine now"))
    assert "no key that is known here signed it" in await acts.starts()
    async with runtime_of(acts, acts.graph, policy_keys=[str(theirs.verifier)]) as runtime:
        assert runtime.policies.digest != mine.digest  # who names that key trusts it
    with pytest.raises(SettingsError, match="policy_keys"):
        async with await Journal.open(acts.url, keys=acts.keys) as journal:
            signer = await acts.ring.signer(journal)
            await activate(journal, acts.clock, signer, [theirs.verifier], acts.candidate(ALL), Asked("o", "so"))
    async with await Journal.open(acts.url, keys=acts.keys) as journal:
        old = await acts.ring.signer(journal)
        assert old is not None
        await acts.ring.rotate(journal, acts.clock, "operator:olga", "lost")
        await activate(journal, acts.clock, await acts.ring.signer(journal), (), acts.candidate(SOME), Asked("o", "so"))
        await activate(journal, acts.clock, old, (), acts.candidate(ALL), Asked("eve", "with the old key"))
    assert "no key that is known here signed it" in await acts.starts()
    assert "no key that is known here signed it" in await acts.problems()


async def test_without_a_key_or_a_reason_nothing_is_activated(tmp_path: Path) -> None:
    acts = Acts(tmp_path)
    acts.graph = one(agent_of(acts.act()), acts.act())
    acts.draft(ALL)
    assert (await runs(acts)).status == "done"
    with pytest.raises(SettingsError, match="remit keys new"):
        await acts.activates(NONE)
    await acts.key()
    with pytest.raises(BadInput, match="needs a reason"):
        await acts.activates(NONE, reason=" ")
    assert await acts.revision() == 0


async def test_a_worker_that_can_not_load_the_set_in_force_stays_under_its_own_and_the_journal_says_so(
    acts: Acts, caplog: pytest.LogCaptureFixture
) -> None:
    """A rule speaks of a tool that only another app has."""
    both = one(agent_of(acts.act()), acts.act(), acts.act("send"), name="both")
    await acts.activates(ALL)
    async with acts.runtime(acts.graph) as runtime:
        await acts.activates(files({"id": "no", "tools": ["send"], "deny": "true"}, allow="true"), graph=both)
        assert (await runtime.run(acts.graph, principal="me")).status == "done"
        assert (await runtime.run(acts.graph, principal="me")).status == "done"
    assert "the last good set stays in force" in caplog.text
    kept = [entry.body for entry in await acts.policy_entries() if isinstance(entry.body, PolicyKept)]
    assert [one_.kept for one_ in kept] == [acts.candidate(ALL).policies.digest]
    assert "there is no tool `send`" in await acts.starts()
    assert await acts.verified()


# --- four eyes -------------------------------------------------------------------------------------------

PEOPLE = {
    "reviewers.yaml": msgspec.json.encode(
        {"reviewers": {name: {"keys": [{"key": Pen(name).public.text}]} for name in ("ann", "bob", "cy")}}
    ).decode()
}


def guarded(approvals: int = 1, queue: str = "owners", **effects: str) -> dict[str, str]:
    """A set whose successors take an approval."""
    owners = {"reviewers": ["ann", "bob", "cy"], "approvals": approvals}
    queues = {"policy": {"activation": queue}, "queues": {"desk": {"reviewers": ["ann"]}, "owners": owners}}
    return {**files(queues=queues, **effects), **PEOPLE}


async def test_where_the_set_in_force_says_so_an_activation_takes_an_approval_of_exactly_it(acts: Acts) -> None:
    await acts.activates(guarded(2, allow="true"))
    asked = await acts.activates(guarded(2, allow="true", deny="true"), by="ann")
    assert asked.status == "waiting" and await acts.revision() == 1
    assert (await acts.activates(guarded(2, allow="true", deny="true"), by="ann")).review == asked.review
    with pytest.raises(NotEntitled, match="is the principal"):
        await acts.rule(asked.review, by="ann")
    await acts.rule(asked.review, by="bob")
    waits = await acts.activates(guarded(2, allow="true", deny="true"), by="olga")
    assert (waits.status, waits.review) == ("waiting", asked.review)
    await acts.rule(asked.review, by="cy")
    # For another set it is none; a review of that one is opened.
    other = await acts.activates(guarded(2, allow="args.amount < 5"), by="ann")
    assert other.status == "waiting" and other.review != asked.review
    with pytest.raises(Stale, match="not of this set"):
        await acts.activates(guarded(2, allow="args.amount < 5"), by="ann", review=asked.review)
    done = await acts.activates(guarded(2, allow="true", deny="true"), by="olga", reason="other words")
    assert (done.status, done.revision, done.review) == ("activated", 2, asked.review)
    async with await Journal.open(acts.url, keys=acts.keys) as journal:
        row = (await policy_log(journal))[-1]
    # Who asked, and why, is what the reviewers saw, whoever typed the command in the end.
    assert (row["by"], row["reason"], row["reviewers"]) == ("ann", "because", ["bob", "cy"])
    assert (await runs(acts)).status == "failed"
    # Used once: going back takes another approval.
    await acts.rule(other.review, by="bob")
    await acts.rule(other.review, by="cy")
    with pytest.raises(Stale, match="not of this set"):
        await acts.activates(guarded(2, allow="args.amount < 5"), by="ann", review=other.review)
    assert (await acts.activates(guarded(2, allow="true"), by="ann")).status == "waiting"
    assert await acts.verified()


async def test_four_eyes_are_not_dropped_without_four_eyes(acts: Acts) -> None:
    await acts.activates(guarded(allow="true"))
    for without in (ALL, guarded(queue="desk", allow="true")):
        asked = await acts.activates(without, by="olga")
        assert asked.status == "waiting"
        assert (await acts.state_of(asked.review)).queue == "owners"
    assert await acts.revision() == 1
    await acts.rule(asked.review, by="ann")
    assert (await acts.activates(guarded(queue="desk", allow="true"), by="olga")).revision == 2
    # From here on it is the other queue's.
    asked = await acts.activates(guarded(allow="true"), by="olga")
    assert (await acts.state_of(asked.review)).queue == "desk"
    assert await acts.verified()


async def test_a_no_is_final_and_what_expires_is_asked_again(acts: Acts) -> None:
    await acts.activates(guarded(allow="true"))
    asked = await acts.activates(ALL, by="olga")
    await acts.rule(asked.review, approved=False, by="ann")
    with pytest.raises(NotEntitled, match="denied by ann"):
        await acts.activates(ALL, by="olga")
    again = await acts.activates(SOME, by="olga")
    acts.clock.advance(3600 * 80)
    third = await acts.activates(SOME, by="olga")
    assert third.status == "waiting" and third.review != again.review
    assert (await acts.state_of(again.review)).status == "expired"
    await acts.rule(third.review, by="bob")
    acts.clock.advance(3600 * 80)
    fourth = await acts.activates(SOME, by="olga")  # an approval that has expired is none
    assert fourth.status == "waiting" and fourth.review != third.review
    assert await acts.revision() == 1
    assert await acts.verified()


async def test_an_approval_is_for_the_revision_it_was_asked_for_and_for_no_later_one(acts: Acts) -> None:
    await acts.activates(guarded(allow="true"))
    first, second = await acts.activates(SOME, by="olga"), await acts.activates(ALL, by="olga")
    await acts.rule(first.review, by="ann")
    with pytest.raises(NotEntitled, match="doesn't permit to answer"):
        await acts.rule(second.review, by="bob", answer=b"1")
    await acts.rule(second.review, by="bob")
    assert (await acts.activates(SOME, by="olga")).revision == 2
    with pytest.raises(Stale, match="not of this set"):  # it was approved as revision 2, after revision 1
        await acts.activates(ALL, by="olga", review=second.review)


async def test_a_forged_activation_without_its_approval_is_refused_and_found(acts: Acts) -> None:
    await acts.activates(guarded(allow="true"))
    asked = await acts.activates(guarded(2, allow="true"), by="olga")
    await acts.forged(lambda body: REPLACE(body, revision=2))  # signed by the journal's key, approved by nobody
    assert "must approve it, and nobody has" in await acts.starts()
    assert "must approve it, and nobody has" in await acts.problems()
    await acts.forged(lambda body: REPLACE(body, revision=3, review=asked.review, by="olga"))
    assert "is of another set" in await acts.starts()
    assert "is of another set" in await acts.problems()


# --- crashes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("kind", ["review.opened", "policy.activated"])
async def test_an_append_that_fails_leaves_all_of_it_or_nothing(
    acts: Acts, faults: Faults, kind: str, persisted: bool
) -> None:
    await acts.activates(guarded(allow="true"))
    if kind == "review.opened":
        faults.arm(kind, persisted=persisted)
        with pytest.raises(JournalError, match="disk I/O"):
            await acts.activates(SOME, by="olga")
    asked = await acts.activates(SOME, by="olga")
    assert asked.status == "waiting"
    await acts.rule(asked.review, by="ann")
    if kind == "policy.activated":
        faults.arm(kind, persisted=persisted)
        with pytest.raises(JournalError, match="disk I/O"):
            await acts.activates(SOME, by="olga")
        assert (await acts.state_of(asked.review)).status == ("consumed" if persisted else "approved")
    done = await acts.activates(SOME, by="olga")
    assert done.status == ("in force" if persisted and kind == "policy.activated" else "activated")
    assert await acts.revision() == 2
    assert sum(isinstance(entry.body, PolicyActivated) for entry in await acts.policy_entries()) == 2
    assert await acts.verified()


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("kind", ["policy.loaded", "policy.kept"])
async def test_a_worker_that_fails_to_record_what_it_runs_under_tries_again(
    acts: Acts, faults: Faults, kind: str, persisted: bool
) -> None:
    both = one(agent_of(acts.act()), acts.act(), acts.act("send"), name="both")
    await acts.activates(ALL)
    only = files({"id": "no", "tools": ["send"], "deny": "true"}, allow="true")
    async with acts.runtime(acts.graph) as runtime:
        run = await runtime.start(acts.graph, principal="me")
        await acts.activates(only if kind == "policy.kept" else SOME, graph=both)
        faults.arm(kind, persisted=persisted)
        with suppress(JournalError):
            await runtime.resume(run)
        assert faults.fired == 1
        assert (await runtime.resume(run)).status == "done"
    assert await acts.verified()


# --- pinned ----------------------------------------------------------------------------------------------


def pinned(act: Any, amounts: tuple[int, ...], between: Any = None) -> Graph:
    return Graph("pinned", [Task("work", agent_of(act, amounts, between))], tools=[act], policies="pinned")


async def test_a_pinned_run_is_decided_to_its_end_under_the_set_it_was_started_with(acts: Acts) -> None:
    act = acts.act()

    async def between() -> None:
        if await acts.revision() == 1:
            await acts.activates(SOME)

    graph = pinned(act, (7, 8), between)
    await acts.activates(ALL)
    assert (await runs(acts, graph)).status == "done"
    assert acts.did == ["pay 7", "pay 8"]
    assert (await runs(acts, graph)).status == "failed"  # that one began under the new set
    assert await acts.verified()


async def test_a_pinned_run_goes_on_in_another_process_under_its_set_from_the_journal(acts: Acts) -> None:
    act = acts.act()
    graph = pinned(act, (7,))
    async with acts.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
    acts.draft(NONE)
    async with acts.runtime(graph) as runtime:
        assert (await runtime.resume(run)).status == "done"
        assert (await runtime.run(graph, principal="me")).status == "failed"
    assert await acts.verified()


async def test_a_pinned_run_whose_tools_have_changed_stops(acts: Acts) -> None:
    graph = pinned(acts.act(), (7,))
    async with acts.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
    changed = pinned(acts.act(tags=["new"]), (7,))
    acts.draft(SOME)
    async with acts.runtime(changed) as runtime:
        with pytest.raises(RunError, match="checked against other tools"):
            await runtime.resume(run)
    assert acts.done == []


async def test_a_pinned_run_does_not_outlive_the_end_of_its_set(acts: Acts) -> None:
    graph = pinned(acts.act(), (7,))
    await acts.activates(ALL, expires="2026-01-05T10:00:00.000000Z")
    async with acts.runtime(graph) as runtime:
        run = await runtime.start(graph, principal="me")
        await acts.activates(SOME)
        acts.clock.advance(3600 * 24)
        with pytest.raises(PolicyError, match="expired"):
            await runtime.resume(run)
    assert acts.done == []


# --- what a liar writes, with every chain hashed anew ------------------------------------------------------


def _decided(**fields: Any) -> Callable[[Any], Any]:
    return lambda body: REPLACE(body, verdict=REPLACE(body.verdict, **fields))


ZERO = "00" * 32
LIES: dict[str, tuple[str, Callable[[Any], Any], str, str]] = {
    "decided under another set": (
        "call.decided", _decided(policies=ZERO), "another one was activated before",
        "another policy set than was in force",
    ),
    "a pinned run that was not": (
        "run.started", lambda body: REPLACE(body, pinned=True), "whether its graph pins its runs", "nothing"
    ),
    "a pin to a set that was not in force": (
        "run.started", lambda body: REPLACE(body, pinned=True, policies=ZERO), "it is pinned to policy set",
        "pinned to a policy set that was not in force",
    ),
    "who must approve": (
        "policy.loaded", lambda body: REPLACE(body, activation="desk"), "say truly who must approve", "nobody has"
    ),
    "another effect": (
        "policy.activated", lambda body: REPLACE(body, effect={}), "signature doesn't hold", "signature does not hold"
    ),
    "the same revision": (
        "policy.activated", lambda body: REPLACE(body, revision=0), "was activated before it", "was activated before it"
    ),
    "a review that is not there": (
        "policy.activated", lambda body: REPLACE(body, review="none"), "signature doesn't hold", "no unused approval"
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_about_what_was_in_force_is_found_by_both_verifiers(acts: Acts, lie: str) -> None:
    kind, change, ours, theirs = LIES[lie]
    assert (await runs(acts)).status == "done"
    await acts.activates(SOME)
    assert (await runs(acts)).status == "done"
    out = await acts.out("lied")
    path = out / "entries.jsonl"
    entries = path.read_bytes().splitlines()
    lines = resealed(entries, lambda entry: change(entry.body) if entry.kind == kind else entry.body)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    found = checked(out)
    assert found is not None and ours in "\n".join(map(str, found.problems))
    assert theirs == "nothing" or theirs in "\n".join(bundled_problems(out))


async def test_an_activation_that_was_used_for_two_is_found(acts: Acts) -> None:
    await acts.activates(guarded(allow="true"))
    asked = await acts.activates(SOME, by="olga")
    await acts.rule(asked.review, by="ann")
    assert (await acts.activates(SOME, by="olga")).revision == 2
    await acts.forged(lambda body: REPLACE(body, revision=3))
    assert "was used before" in await acts.problems()
    assert "is of another set" in await acts.starts()


# --- told ------------------------------------------------------------------------------------------------


async def test_the_log_says_who_changed_what_when_why_and_with_what_effect(acts: Acts) -> None:
    assert (await runs(acts)).status == "done"
    await acts.activates(SOME, by="olga", reason="limits")
    await acts.forged(lambda body: body)
    async with await Journal.open(acts.url, keys=acts.keys) as journal:
        loaded, activated, forged = await policy_log(journal)
        texts = await texts_of(journal, activated["digest"])
    assert (loaded["what"], loaded["revision"], loaded["actor"]) == ("loaded", 0, "tester")
    assert (activated["by"], activated["reason"], activated["effect"]["newly_denied"]) == ("olga", "limits", 1)
    assert activated["previous"] == loaded["digest"] and texts == dict(acts.candidate(SOME).policies.texts)
    assert "refused" in forged["refused"] and activated["refused"] == ""
    assert not [entry for entry in await acts.policy_entries() if type(entry.body) is PolicyLoaded][1:]
