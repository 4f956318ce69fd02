"""Guarantee 13, the store's half: no acknowledged entry is ever lost, and no append is there in part.

Every statement fails both ways, "not persisted" and "but persisted", and processes are killed at statements.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

import remit
from remit.core.canonical import digest_bytes
from remit.core.entries import Head, Payload, Recorded, Sealed, seal
from remit.errors import Conflict, JournalError
from remit.store.journal import Append, Artifact, Journal
from remit.store.leases import Leases

VICTIM = Path(__file__).parent / "store_victim.py"
ARTIFACT = Artifact(digest_bytes(b"graph"), "graph", b"graph")


def entry(stream: str, head: Head | None = None, word: str = "") -> Sealed:
    body = Recorded(id="t.1", task="t", what="now", value=word)
    return seal(stream, head or Head(), "2026-01-01T00:00:00.000000Z", "worker:test", body)


def with_payloads(*entries: Sealed) -> Append:
    payloads = tuple(Payload(one.stream, one.seq, "/value", b"s" * 16, b"1") for one in entries)
    return Append(entries, payloads, (ARTIFACT,))


class Died(BaseException):
    """What nobody expects a statement to raise."""


class Faults:
    """Fails one statement of the writer's next transaction, before or after SQLite has executed it."""

    def __init__(self) -> None:
        self.fired = ""
        self._at = -1
        self._when = ""
        self._count: int | None = None
        self._raises: BaseException | None = None

    def arm(self, at: int, when: str, raises: BaseException | None = None) -> None:
        self.fired, self._at, self._when, self._count, self._raises = "", at, when, None, raises

    def before(self, _c: object, _cursor: object, statement: str, *_: object) -> None:
        if threading.current_thread().name != "remit-writer" or self._at < 0:
            return
        if self._count is None:
            self._count = 0 if statement == "BEGIN IMMEDIATE" else None
        else:
            self._count += 1
        self._fire("before", statement)

    def after(self, _c: object, _cursor: object, statement: str, *_: object) -> None:
        if threading.current_thread().name == "remit-writer":
            self._fire("after", statement)

    def _fire(self, when: str, statement: str) -> None:
        if self._count == self._at >= 0 and when == self._when:
            self._at = -1
            self.fired = statement
            raise self._raises or OperationalError(statement, None, sqlite3.OperationalError("disk I/O error"))


@pytest.fixture
def faults() -> Iterator[Faults]:
    made = Faults()
    event.listen(Engine, "before_cursor_execute", made.before)
    event.listen(Engine, "after_cursor_execute", made.after)
    yield made
    event.remove(Engine, "before_cursor_execute", made.before)
    event.remove(Engine, "after_cursor_execute", made.after)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'remit.db'}"


async def held(journal: Journal) -> Callable[[], None]:
    """Holds the writer inside a transaction, so that what is enqueued now shares the next one."""
    inside, release = threading.Event(), threading.Event()

    def job(_: Connection) -> None:
        inside.set()
        release.wait(30)

    holder = asyncio.ensure_future(journal.transact(job))
    await asyncio.to_thread(inside.wait, 30)
    assert not holder.done()
    return release.set


async def everything(url: str) -> dict[str, int]:
    """Reads the whole store anew, checking every chain; returns the number of entries of each stream."""
    async with await Journal.open(url, create=False) as journal:
        counts = {}
        for stream in await journal.streams():
            entries = await journal.read(stream)
            counts[stream] = len(entries)
            payloads = await journal.payloads(stream)
            assert sorted(payloads) == [(one.seq, "/value") for one in entries]
        assert await journal.position() == sum(counts.values())
        return counts


# --- a statement fails -------------------------------------------------------------------------------


async def fail_a_batch(url: str, faults: Faults, at: int, when: str) -> bool:
    """Fails statement `at` of a batch of five; False when the batch has fewer statements."""
    async with await Journal.open(url) as journal:
        first = entry("run/a")
        await journal.append(with_payloads(first))
        release = await held(journal)
        second = entry("run/a", first.head)
        waiting: list[asyncio.Future[Any]] = [
            journal.enqueue(with_payloads(second)),
            journal.enqueue(with_payloads(entry("run/b"), entry("review/b"))),
            journal.enqueue(with_payloads(entry("run/a", word="a conflict"))),
            journal.enqueue(with_payloads(entry("run/a", second.head))),
            asyncio.ensure_future(Leases(journal).take("a", "one", 0.0, 1.0)),
        ]
        await asyncio.to_thread(lambda: None)  # lets the lease's task run as far as the queue
        faults.arm(at, when)
        release()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        if not faults.fired:
            assert [type(outcome) for outcome in outcomes] == [type(None)] * 2 + [Conflict] + [
                type(None),
                bool,
            ]
            return False
        assert [type(outcome) for outcome in outcomes] == [JournalError] * 5
        assert "disk I/O error" in str(outcomes[0])
        persisted = faults.fired == "COMMIT" and when == "after"
        expected = {"run/a": 3, "run/b": 1, "review/b": 1} if persisted else {"run/a": 1}
        assert await everything(url) == expected
        # Once the heads are read again, the same journal goes on.
        for stream in ("run/a", "run/b"):
            await journal.append(with_payloads(entry(stream, await journal.head(stream), "on")))
    assert sum((await everything(url)).values()) == sum(expected.values()) + 2
    return True


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_batch_that_fails_at_any_statement_fails_all_its_waiters_and_leaves_nothing_in_part(
    tmp_path: Path, faults: Faults, when: str
) -> None:
    fired: list[str] = []
    while await fail_a_batch(f"sqlite:///{tmp_path}/{len(fired)}.db", faults, len(fired), when):
        fired.append(faults.fired.split(" (")[0])
    assert fired[0] == "BEGIN IMMEDIATE"
    assert fired[-1] == "COMMIT"
    assert {
        "INSERT INTO streams",
        "INSERT INTO entries",
        "INSERT INTO payloads",
        "INSERT INTO artifacts",
    } <= set(fired)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_first_append_that_fails_at_any_statement_leaves_nothing_in_part(
    tmp_path: Path, faults: Faults, when: str
) -> None:
    fired: list[str] = []
    while True:
        url = f"sqlite:///{tmp_path}/{len(fired)}.db"
        async with await Journal.open(url) as journal:
            faults.arm(len(fired), when)
            outcome = (
                await asyncio.gather(
                    journal.append(with_payloads(entry("run/a"), entry("review/a"))), return_exceptions=True
                )
            )[0]
        persisted = outcome is None or (faults.fired == "COMMIT" and when == "after")
        assert await everything(url) == ({"run/a": 1, "review/a": 1} if persisted else {})
        if not faults.fired:
            break
        assert type(outcome) is JournalError
        fired.append(faults.fired)
    assert fired[-1] == "COMMIT"
    assert len(fired) == 10  # begin, version, ends, two heads, four inserts, commit


async def test_appends_on_top_of_one_that_was_not_persisted_fail_too(url: str, faults: Faults) -> None:
    async with await Journal.open(url) as journal:
        first = entry("run/a")
        faults.arm(0, "before")
        with pytest.raises(JournalError):
            await journal.append(with_payloads(first))
        with pytest.raises(Conflict):
            await journal.append(with_payloads(entry("run/a", first.head)))
        assert await journal.streams() == []


async def test_a_disk_that_is_full_fails_the_append_and_room_makes_it_work_again(url: str) -> None:
    big = b'"' + b"x" * 100_000 + b'"'

    def append(head: Head) -> Append:
        one = entry("run/a", head)
        return Append((one,), (Payload("run/a", one.seq, "/value", b"s" * 16, big),))

    async with await Journal.open(url) as journal:
        await journal.append(append(Head()))

        def no_more_pages(connection: Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        await journal.transact(no_more_pages)
        with pytest.raises(JournalError, match="is full: make room on its disk"):
            await journal.append(append(await journal.head("run/a")))
        assert (await journal.head("run/a")).seq == 0
        await journal.append(append(await journal.head("run/a")))  # a new connection has no such limit
    assert await everything(url) == {"run/a": 2}


async def test_a_lock_that_another_process_keeps_fails_the_append_with_the_remedy(url: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "remit.db", isolation_level=None)
    async with await Journal.open(url) as journal:
        await journal.transact(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout = 20").close())
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="another process held the store's write lock"):
            await journal.append(with_payloads(entry("run/a")))
        assert await journal.streams() == []  # readers don't mind
        other.execute("ROLLBACK")
        await journal.append(with_payloads(entry("run/a")))
    other.close()
    assert await everything(url) == {"run/a": 1}


async def test_nothing_is_acknowledged_into_a_file_that_was_moved_or_replaced(url: str, tmp_path: Path) -> None:
    path, aside = tmp_path / "remit.db", tmp_path / "aside.db"
    async with await Journal.open(url) as journal:
        await journal.append(with_payloads(entry("run/a")))
        path.rename(aside)
        for _ in range(2):
            with pytest.raises(JournalError, match="put the store's file back"):
                await journal.append(with_payloads(entry("run/b")))
            path.touch()  # the second time, something else is there
        path.unlink()
        aside.rename(path)
        await journal.append(with_payloads(entry("run/b")))
    assert await everything(url) == {"run/a": 1, "run/b": 1}


async def test_an_error_does_not_repeat_private_values(url: str, tmp_path: Path) -> None:
    async with await Journal.open(url) as journal:
        other = sqlite3.connect(tmp_path / "remit.db", isolation_level=None)
        other.execute("DROP TABLE payloads")
        other.close()
        one = entry("run/a")
        private = Payload("run/a", 0, "/value", b"s" * 16, b'"DE0212030000"')
        with pytest.raises(JournalError) as caught:
            await journal.append(Append((one,), (private,)))
        assert "DE0212" not in "".join(traceback.format_exception(caught.value))


async def test_a_store_that_can_not_be_opened_again_fails_loudly_until_it_can(url: str, faults: Faults) -> None:
    broken = False

    def connect(*_: object) -> None:
        if broken:
            raise sqlite3.OperationalError("unable to open database file")

    event.listen(Engine, "do_connect", connect)
    try:
        async with await Journal.open(url) as journal:
            faults.arm(0, "before")
            broken = True
            for said in ("disk I/O error", "unable to open", "unable to open"):
                with pytest.raises(JournalError, match=said):
                    await journal.append(with_payloads(entry("run/a")))
            with pytest.raises(JournalError, match="unable to open"):
                await journal.wait(0, 30)
            broken = False
            await journal.append(with_payloads(entry("run/a")))
            assert await journal.wait(0, 30) == 1
    finally:
        event.remove(Engine, "do_connect", connect)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_died_fails_its_waiters_and_all_that_come_later(url: str, faults: Faults) -> None:
    journal = await Journal.open(url)
    release = await held(journal)
    waiting = [journal.enqueue(with_payloads(entry(f"run/{number}"))) for number in range(600)]
    faults.arm(3, "before", Died())
    release()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"the journal's writer thread has died: open the journal again"}
    with pytest.raises(JournalError, match="died"):
        await journal.append(with_payloads(entry("run/a")))
    with pytest.raises(JournalError, match="died"):
        await Leases(journal).take("a", "one", 0.0, 1.0)
    assert await journal.streams() == []
    await journal.close()
    async with await Journal.open(url) as again:
        await again.append(with_payloads(entry("run/a")))
    assert await everything(url) == {"run/a": 1}


async def test_a_value_that_sqlite_refuses_fails_its_batch_and_not_the_writer(url: str) -> None:
    async with await Journal.open(url) as journal:
        wrong: Any = Payload("run/a", 0, "/value", b"s" * 16, object())  # type: ignore[arg-type]
        with pytest.raises(JournalError):
            await journal.append(Append((entry("run/a"),), (wrong,)))
        await journal.append(with_payloads(entry("run/a")))
    assert await everything(url) == {"run/a": 1}


# --- the process is killed ---------------------------------------------------------------------------


def victim(url: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(remit.__file__).parents[1])}
    command = [sys.executable, str(VICTIM), url, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def check_after_the_kill(url: str, acknowledged: list[str]) -> dict[str, int]:
    counts = asyncio.run(everything(url))
    for line in acknowledged:
        stream, seq = line.split()
        assert counts.get(stream, 0) > int(seq), f"{line} was acknowledged and is lost"
    for number in range(4):
        assert counts.get(f"run/{number}") == counts.get(f"review/{number}"), "an append is there in part"
    return counts


@pytest.mark.parametrize("lines", [1, 60, 333])
def test_killed_in_the_middle_of_appending_everything_acknowledged_is_there(url: str, lines: int) -> None:
    process = victim(url)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    # The kill may have cut the last line short.
    acknowledged += [line for line in process.stdout.readlines() if line.endswith("\n")]
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL
    counts = check_after_the_kill(url, acknowledged)
    assert sum(counts.values()) >= lines


@pytest.mark.parametrize(
    ("statement", "when"),
    [
        ("BEGIN", "after"),
        ("INSERT INTO entries", "after"),
        ("INSERT INTO payloads", "before"),
        ("COMMIT", "before"),
        ("COMMIT", "after"),
    ],
)
def test_killed_at_a_statement_the_transaction_is_there_whole_or_not_at_all(
    url: str, statement: str, when: str
) -> None:
    process = victim(url, statement, when)
    acknowledged = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == -signal.SIGKILL
    counts = check_after_the_kill(url, acknowledged)
    if when == "after" and statement == "COMMIT":
        assert sum(counts.values()) > len(acknowledged)  # committed, and nobody was told
    else:
        assert sum(counts.values()) >= len(acknowledged) > 0


async def test_after_a_kill_the_next_process_goes_on_where_the_journal_ends(url: str) -> None:
    process = await asyncio.to_thread(victim, url, "COMMIT", "after")
    await asyncio.to_thread(process.communicate)
    async with await Journal.open(url, create=False) as journal:
        head = await journal.head("run/0")
        await journal.append(with_payloads(entry("run/0", head, "recovered")))
        assert (await journal.read("run/0"))[-1].seq == head.seq + 1
