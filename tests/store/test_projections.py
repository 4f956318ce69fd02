"""Runs and reviews in a line each: folds that can be dropped and rebuilt at will."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core import entries as e
from remit.core.entries import Fact, Sealed, seal
from remit.errors import UnknownId
from remit.store import projections as module
from remit.store.journal import Append, Journal
from remit.store.projections import Projections, ReviewRow, RunRow

Chain = Callable[..., tuple[Sealed, ...]]
Raw = sqlite3.Connection
HASH = "a" * 64


def run_started(run: str) -> Fact:
    return e.RunStarted(
        run=run, graph="invoices", graph_digest=HASH, principal="ada", starter="ada", target="m:g",
        policies=HASH, input=HASH,
    )  # fmt: skip


def a_run(run: str) -> list[Fact]:
    return [
        run_started(run),
        e.Owned(epoch=1, worker="w1"),
        e.TaskStarted(task="t", agent="clerk"),
        e.Recorded(id="t.1", task="t", what="now", value="x"),
        e.Owned(epoch=2, worker="w2"),
        e.TaskFinished(task="t", ok=True, output=HASH),
        e.RunFinished(ok=True, output=HASH),
    ]


def a_review(review: str, approved: bool = True) -> list[Fact]:
    opened = e.ReviewOpened(
        review=review, run="r", call="t.1", digest=HASH, tool="pay", queue="finance",
        expires="2026-01-02T00:00:00.000000Z", shown=HASH,
    )  # fmt: skip
    ruled = e.ReviewRuled(review=review, digest=HASH, approved=approved, reviewer="bob")
    used = e.ReviewConsumed(review=review, run="r", call="t.1", digest=HASH)
    return [opened, ruled, used] if approved else [opened, ruled]


async def add(journal: Journal, stream: str, *bodies: Fact, minute: int = 0) -> None:
    head = await journal.head(stream)
    made = []
    for body in bodies:
        made.append(seal(stream, head, f"2026-01-01T00:{minute:02d}:00.000000Z", "worker:test", body))
        head = made[-1].head
    await journal.append(Append(tuple(made)))


async def test_a_run_and_a_review_are_shown_as_their_entries_say(journal: Journal) -> None:
    projections = Projections(journal)
    assert await projections.runs() == []
    assert await projections.reviews() == []
    await add(journal, "run/r", *a_run("r")[:4])
    await add(journal, "review/v", *a_review("v")[:1])
    started = "2026-01-01T00:00:00.000000Z"
    assert await projections.runs() == [
        RunRow("r", "running", graph="invoices", principal="ada", started=started, worker="w1", entries=4)
    ]
    (review,) = await projections.reviews(open_only=True)
    assert (review.review, review.status, review.queue, review.tool, review.open) == (
        "v",
        "open",
        "finance",
        "pay",
        True,
    )
    await add(journal, "run/r", *a_run("r")[4:], minute=1)
    await add(journal, "review/v", *a_review("v")[1:], minute=1)
    (run,) = await projections.runs()
    assert (run.status, run.worker, run.ended, run.entries) == (
        "done",
        "w2",
        "2026-01-01T00:01:00.000000Z",
        7,
    )
    assert await projections.reviews(open_only=True) == []
    (review,) = await projections.reviews()
    assert (review.status, review.reviewer, review.open) == ("consumed", "bob", False)


async def test_runs_come_latest_first_and_reviews_oldest_first(journal: Journal) -> None:
    for minute, name in enumerate("bac"):
        await add(journal, f"run/{name}", *a_run(name)[:1], minute=minute)
        await add(journal, f"review/{name}", *a_review(name)[:1], minute=minute)
    projections = Projections(journal)
    assert [row.run for row in await projections.runs()] == ["c", "a", "b"]
    assert [row.review for row in await projections.reviews()] == ["b", "a", "c"]


async def test_an_id_is_found_by_the_beginning_that_only_it_has(journal: Journal) -> None:
    for name in ("ab", "abc", "ax"):
        await add(journal, f"run/{name}", *a_run(name)[:1])
        await add(journal, f"review/{name}", *a_review(name)[:1])
    projections = Projections(journal)
    assert (await projections.find_run("abc")).run == "abc"
    assert (await projections.find_run("ab")).run == "ab"  # whole, though another begins with it
    assert (await projections.find_review("ax")).review == "ax"
    with pytest.raises(UnknownId, match="there is no run `z`"):
        await projections.find_run("z")
    with pytest.raises(UnknownId, match=r"`a` is too short to name a review, .*: do you mean ab, abc, ax"):
        await projections.find_review("a")


async def test_streams_of_other_kinds_are_passed_over(journal: Journal, raw: Raw) -> None:
    await add(journal, "policy", e.PolicyLoaded(digest=HASH, files={}))
    projections = Projections(journal)
    assert await projections.runs() == []
    assert raw.execute("SELECT cursor FROM projection").fetchone() == (1,)


async def test_nothing_is_written_when_nothing_was_appended(journal: Journal, executed: list[str]) -> None:
    await add(journal, "run/r", *a_run("r"))
    projections = Projections(journal)
    await projections.runs()
    executed.clear()
    assert len(await projections.runs()) == 1
    assert await projections.reviews() == []
    assert executed == []


async def test_a_run_that_was_tampered_with_is_shown_as_unreadable_beside_the_others(
    journal: Journal, raw: Raw
) -> None:
    for name in ("r", "s"):
        await add(journal, f"run/{name}", *a_run(name))
    await add(journal, "review/v", *a_review("v"))
    raw.execute("DROP TRIGGER entries_no_update")
    raw.execute("UPDATE entries SET bytes = x'00' WHERE position IN (3, 16)")
    projections = Projections(journal)
    rows = {row.run: row for row in await projections.runs()}
    assert (rows["r"].status, rows["s"].status) == ("unreadable", "done")
    assert "run/r#2" in rows["r"].problem
    (review,) = await projections.reviews(open_only=True)  # somebody has to look
    assert review.status == "unreadable"


async def test_an_entry_that_can_not_be_there_makes_its_run_unreadable(journal: Journal) -> None:
    await add(journal, "run/r", *a_run("r"), e.Owned(epoch=3, worker="w3"))
    (row,) = await Projections(journal).runs()
    assert row.status == "unreadable"
    assert "run/r#7" in row.problem


async def test_rows_of_another_version_are_folded_anew(
    journal: Journal, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(journal, "run/r", *a_run("r"))
    await Projections(journal).runs()
    raw.execute("UPDATE runs SET summary = '{}'")
    raw.execute("INSERT INTO runs VALUES ('ghost', '{}')")
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    (row,) = await Projections(journal).runs()
    assert row.status == "done"


async def test_a_fold_that_another_process_overtook_is_dropped(
    journal: Journal, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(journal, "run/r", *a_run("r")[:3])
    slow = Projections(journal)
    row_of = slow._row
    overtaken = False

    async def overtake(stream: str) -> RunRow | ReviewRow | None:
        nonlocal overtaken
        row = await row_of(stream)
        if not overtaken:
            overtaken = True
            await add(journal, "run/r", *a_run("r")[3:])
            async with await Journal.open(url) as other:
                assert (await Projections(other).runs())[0].status == "done"
        return row

    monkeypatch.setattr(slow, "_row", overtake)
    assert [row.status for row in await slow.runs()] == ["done"]


async def test_many_readers_at_once_agree(url: str) -> None:
    async with await Journal.open(url) as one, await Journal.open(url) as two:
        for number in range(10):
            await add(one, f"run/r{number}", *a_run(f"r{number}"))
        folds = [Projections(journal) for journal in (one, two) for _ in range(3)]
        results = await asyncio.gather(*(fold.runs() for fold in folds))
        assert all(result == results[0] for result in results)
        assert len(results[0]) == 10


step = st.tuples(st.sampled_from(["run/a", "run/b", "review/a", "review/b"]), st.integers(1, 3), st.booleans())


@given(st.lists(step, max_size=12), st.booleans())
@settings(max_examples=25, deadline=None)
def test_rebuilding_gives_what_following_along_gave(steps: list[tuple[str, int, bool]], approved: bool) -> None:
    async def go(url: str) -> None:
        left: dict[str, list[Fact]] = {
            "run/a": a_run("a"), "run/b": a_run("b"),
            "review/a": a_review("a"), "review/b": a_review("b", approved),
        }  # fmt: skip
        async with await Journal.open(url) as journal:
            projections = Projections(journal)
            for stream, count, look in steps:
                bodies, left[stream] = left[stream][:count], left[stream][count:]
                await add(journal, stream, *bodies)
                if look:
                    await projections.runs()
            followed = (await projections.runs(), await projections.reviews())
            await projections.rebuild()
            assert (await projections.runs(), await projections.reviews()) == followed
            assert len(followed[0]) + len(followed[1]) == len({stream for stream, _, _ in steps})

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(go(f"sqlite:///{Path(folder) / 'remit.db'}"))


def test_a_row_says_whether_a_person_has_to_look() -> None:
    assert [ReviewRow("v", status).open for status in ("open", "unreadable", "approved", "denied")] == [
        True,
        True,
        False,
        False,
    ]
