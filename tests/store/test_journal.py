"""Appending and reading: what the journal promises while nothing fails."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from remit.core.canonical import digest_bytes
from remit.core.entries import Head, Payload, Sealed
from remit.errors import Conflict, JournalError
from remit.store.journal import Append, Artifact, Journal

Chain = Callable[..., tuple[Sealed, ...]]


def payload(entry: Sealed, path: str = "/value") -> Payload:
    return Payload(entry.stream, entry.seq, path, b"s" * 16, b'"v"')


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


async def test_what_was_appended_is_read_back_exactly(journal: Journal, chain: Chain) -> None:
    entries = chain("run/a", 3)
    data = b"policy text"
    artifact = Artifact(digest_bytes(data), "policies", data)
    await journal.append(Append(entries, (payload(entries[1]),), (artifact,)))
    assert [entry.hash for entry in await journal.read("run/a")] == [entry.hash for entry in entries]
    assert [entry.seq for entry in await journal.read("run/a", after=0)] == [1, 2]
    assert await journal.read("run/a", after=2) == []
    assert await journal.read("run/a", after=7) == []
    assert await journal.read_bytes("run/a") == [entry.bytes for entry in entries]
    assert await journal.since(1) == [(2, entries[1].bytes), (3, entries[2].bytes)]
    assert await journal.since(0, limit=1) == [(1, entries[0].bytes)]
    assert await journal.head("run/a") == entries[-1].head
    assert await journal.payloads("run/a") == {(1, "/value"): payload(entries[1])}
    assert await journal.artifact(artifact.digest) == artifact
    assert await journal.position() == 3


async def test_what_is_not_there_reads_as_nothing(journal: Journal) -> None:
    assert await journal.read("run/a") == []
    assert await journal.read_bytes("run/a") == []
    assert await journal.head("run/a") == Head()
    assert await journal.streams() == []
    assert await journal.payloads("run/a") == {}
    assert await journal.artifact("0" * 64) is None
    assert await journal.position() == 0
    assert await journal.since(0) == []


async def test_streams_are_listed_by_prefix_whatever_its_characters(journal: Journal, chain: Chain) -> None:
    for stream in ("run/b", "run/a", "review/a", "policy"):
        await journal.append(Append(chain(stream)))
    assert await journal.streams() == ["policy", "review/a", "run/a", "run/b"]
    assert await journal.streams("run/") == ["run/a", "run/b"]
    assert await journal.streams("%") == await journal.streams("r_n") == await journal.streams("*") == []


async def test_an_entry_already_written_is_refused_and_named(journal: Journal, chain: Chain) -> None:
    first, second = chain("run/a", 2)
    await journal.append(Append((first,)))
    with pytest.raises(Conflict, match=r"run/a.*expected its head at #-1.*found #0"):
        await journal.append(Append((first,)))
    (other,) = chain("run/a", 1, Head(0, "f" * 64))
    with pytest.raises(Conflict):
        await journal.append(Append((other,)))
    await journal.append(Append((second,)))
    assert await journal.head("run/a") == second.head


async def test_a_gap_within_an_append_stores_nothing(journal: Journal, chain: Chain) -> None:
    first, _, third = chain("run/a", 3)
    with pytest.raises(Conflict):
        await journal.append(Append((first, third)))
    with pytest.raises(Conflict):
        await journal.append(Append((third,)))
    assert await journal.position() == 0
    assert await journal.streams() == []


async def test_a_payload_of_another_entry_or_a_false_digest_is_refused_before_anything(chain: Chain) -> None:
    first, second = chain("run/a", 2)
    with pytest.raises(ValueError, match="run/a#1 /value"):
        Append((first,), (payload(second),))
    with pytest.raises(ValueError, match="twice"):
        Append((first,), (payload(first), payload(first)))
    with pytest.raises(ValueError, match="surrogates"):
        Append((first,), (payload(first, "/\ud800"),))
    with pytest.raises(ValueError, match="digest"):
        Append((), (), (Artifact("0" * 64, "policies", b"x"),))


async def test_a_conflict_stops_its_own_append_and_no_other_of_the_batch(
    journal: Journal, chain: Chain, executed: list[str]
) -> None:
    await journal.append(Append(chain("run/b", word="theirs")))
    release = await held(journal)
    before = len(executed)
    a, b = chain("run/a", 2), chain("run/b", 2, word="ours")
    futures = [
        journal.enqueue(Append(a[:1], (payload(a[0]),))),
        journal.enqueue(Append(b[:1], (payload(b[0]),))),
        journal.enqueue(Append(a[1:])),
        journal.enqueue(Append(b[1:])),
    ]
    release()
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), Conflict, type(None), Conflict]
    assert executed[before:].count("COMMIT") == 2  # the holder's and one for all
    assert [len(await journal.read(stream)) for stream in ("run/a", "run/b")] == [2, 1]
    assert await journal.payloads("run/b") == {}


async def test_what_builds_on_a_failed_append_fails_too(journal: Journal, chain: Chain) -> None:
    await journal.append(Append(chain("run/a", word="theirs")))
    ours = chain("run/a", 3, word="ours")
    futures = [journal.enqueue(Append((entry,))) for entry in ours]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Conflict] * 3
    assert len(await journal.read("run/a")) == 1


async def test_an_append_to_several_streams_is_all_or_nothing(journal: Journal, chain: Chain) -> None:
    run, review = chain("run/a"), chain("review/a")
    await journal.append(Append(review))
    with pytest.raises(Conflict):
        await journal.append(Append((*run, *review), (payload(run[0]),)))
    assert await journal.streams() == ["review/a"]
    (ruled,) = chain("review/a", 1, review[0].head)
    await journal.append(Append((*run, ruled), (payload(run[0]), payload(ruled))))
    assert [len(await journal.read(stream)) for stream in ("run/a", "review/a")] == [1, 2]


async def test_an_append_holds_only_while_the_streams_it_names_are_unchanged(journal: Journal, chain: Chain) -> None:
    first, second = chain("policy", 2)
    await journal.append(Append((first,)))
    run = chain("run/a")
    for wrong in (Head(), second.head, Head(0, "f" * 64)):
        with pytest.raises(Conflict, match="policy"):
            await journal.append(Append(run, unchanged=(("policy", wrong),)))
    assert await journal.head("run/a") == Head()
    await journal.append(Append(run, unchanged=(("policy", first.head), ("run/none", Head()))))
    assert await journal.head("run/a") == run[0].head
    # An earlier append of the same batch counts as a change.
    futures = (
        journal.enqueue(Append((second,))),
        journal.enqueue(Append(chain("run/b"), unchanged=(("policy", first.head),))),
    )
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], Conflict)


async def test_a_thousand_concurrent_appends_share_a_few_transactions(
    journal: Journal, chain: Chain, executed: list[str]
) -> None:
    release = await held(journal)
    futures = [journal.enqueue(Append(chain(f"run/{number}"))) for number in range(1000)]
    release()
    await asyncio.gather(*futures)
    assert executed.count("COMMIT") == 3  # the holder's, and 512 and 488 appends
    assert await journal.position() == 1000


async def test_a_hundred_appends_in_a_row_to_one_stream_need_no_retry(journal: Journal, chain: Chain) -> None:
    futures = [journal.enqueue(Append((entry,))) for entry in chain("run/a", 100)]
    await asyncio.gather(*futures)
    assert len(await journal.read("run/a")) == 100


async def test_one_number_of_a_stream_is_written_once_whoever_tries(url: str, chain: Chain) -> None:
    async with await Journal.open(url) as one, await Journal.open(url) as two:
        (shared,) = chain("run/a")
        await one.append(Append((shared,)))
        for turn in range(20):
            head = await one.head("run/a")
            outcomes = await asyncio.gather(
                one.append(Append(chain("run/a", 1, head, f"one {turn}"))),
                two.append(Append(chain("run/a", 1, head, f"two {turn}"))),
                return_exceptions=True,
            )
            assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "NoneType"]
        assert len(await two.read("run/a")) == 21


def test_one_number_of_a_stream_is_written_once_across_processes(url: str, script: Callable[..., list[str]]) -> None:
    processes = [
        subprocess.Popen(script("appender.py", url, "run/a", f"worker:{number}", 25), stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    won = [[int(line) for line in process.communicate(timeout=60)[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(seq for seqs in won for seq in seqs) == list(range(75))

    async def entries() -> list[str]:
        async with await Journal.open(url, create=False) as journal:
            return [entry.actor for entry in await journal.read("run/a")]

    actors = asyncio.run(entries())
    for number, seqs in enumerate(won):
        assert {actors[seq] for seq in seqs} == {f"worker:{number}"}


async def test_another_journal_reads_what_was_acknowledged(url: str, chain: Chain) -> None:
    async with await Journal.open(url) as one, await Journal.open(url) as two:
        head = Head()
        for turn in range(10):
            writer, reader = (one, two) if turn % 2 else (two, one)
            (entry,) = chain("run/a", 1, head)
            await writer.append(Append((entry,)))
            head = entry.head
            assert await reader.head("run/a") == await writer.head("run/a") == head


async def test_closing_waits_for_what_was_enqueued_and_refuses_what_comes_after(url: str, chain: Chain) -> None:
    journal = await Journal.open(url)
    futures = [journal.enqueue(Append((entry,))) for entry in chain("run/a", 50)]
    await journal.close()
    await asyncio.gather(*futures)
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await journal.append(Append(chain("run/b")))
    with pytest.raises(JournalError, match="closed"):
        await journal.read("run/a")
    with pytest.raises(JournalError, match="closed"):
        await journal.wait(0, 30)
    async with await Journal.open(url, create=False) as again:
        assert len(await again.read("run/a")) == 50


async def test_a_cancelled_waiter_takes_nothing_back_and_breaks_nothing(journal: Journal, chain: Chain) -> None:
    release = await held(journal)
    first, second = (journal.enqueue(Append((entry,))) for entry in chain("run/a", 2))
    first.cancel()
    release()
    await second
    assert len(await journal.read("run/a")) == 2


async def test_an_artifact_stored_twice_is_stored_once(journal: Journal, chain: Chain) -> None:
    artifact = Artifact(digest_bytes(b"x"), "graph", b"x")
    await journal.append(Append(chain("run/a"), artifacts=(artifact, artifact)))
    await journal.append(Append(chain("run/b"), artifacts=(artifact,)))
    await journal.append(Append((), artifacts=(artifact,)))
    assert await journal.artifact(artifact.digest) == artifact


# --- waiting -----------------------------------------------------------------------------------------


async def test_waiting_ends_at_once_when_it_already_happened(journal: Journal, chain: Chain) -> None:
    await journal.append(Append(chain("run/a", 2)))
    assert await journal.wait(0, 30) == 2
    assert await journal.wait(1, 30) == 2


async def test_waiting_ends_with_a_commit_of_this_process(journal: Journal, chain: Chain) -> None:
    waiters = [asyncio.ensure_future(journal.wait(seen, 30)) for seen in (0, 0, 1)]
    first, second = chain("run/a", 2)
    await journal.append(Append((first,)))
    assert [await waiter for waiter in waiters[:2]] == [1, 1]
    await journal.append(Append((second,)))
    assert await waiters[2] == 2


async def test_waiting_ends_with_a_commit_of_another_process(
    journal: Journal, url: str, chain: Chain, script: Callable[..., list[str]]
) -> None:
    await journal.append(Append(chain("run/b")))
    process = await asyncio.create_subprocess_exec(
        *script("appender.py", url, "run/a", "worker:else", 1), stdout=asyncio.subprocess.DEVNULL
    )
    assert await journal.wait(1, 60) == 2
    assert await process.wait() == 0


async def test_waiting_ends_with_a_commit_of_another_journal_after_an_idle_time(url: str, chain: Chain) -> None:
    async with await Journal.open(url) as one, await Journal.open(url) as two:
        assert await one.wait(0, 0.05) == 0
        await two.append(Append(chain("run/a", 3)))  # while nobody watches
        assert await one.wait(0, 30) == 3
        assert await one.wait(3, 0.01) == 3


async def test_closing_fails_those_who_wait(url: str) -> None:
    journal = await Journal.open(url)
    waiter = asyncio.ensure_future(journal.wait(0, 30))
    await asyncio.to_thread(lambda: None)
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await waiter
