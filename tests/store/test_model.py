"""The journal against a dictionary: whatever is enqueued, by whichever journal, in whichever batches."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from remit.core.entries import Head, Payload, Recorded, Sealed, seal
from remit.errors import Conflict
from remit.store.journal import Append, Journal

STREAMS = ("run/a", "run/b", "review/a", "policy")

# Which streams get how many entries, whether the head is a stale one, and what must be unchanged.
part = st.tuples(
    st.sampled_from(STREAMS), st.integers(1, 3), st.sampled_from(["fresh", "fresh", "fresh", "stale", "gap"])
)
condition = st.tuples(st.sampled_from(STREAMS), st.booleans())
plan = st.tuples(
    st.lists(part, min_size=1, max_size=3, unique_by=lambda item: item[0]),
    st.lists(condition, max_size=1),
    st.booleans(),
)


class Oracle:
    """What a journal is: lists, and a rule for adding to them."""

    def __init__(self) -> None:
        self.streams: dict[str, list[Sealed]] = {}
        self.payloads: dict[str, dict[tuple[int, str], Payload]] = {}
        self.order: list[bytes] = []

    def head(self, stream: str) -> Head:
        entries = self.streams.get(stream)
        return entries[-1].head if entries else Head()

    def append(self, append: Append) -> bool:
        heads: dict[str, Head] = {}
        for entry in append.entries:
            head = heads.get(entry.stream, self.head(entry.stream))
            if (entry.seq, entry.prev) != (head.seq + 1, head.hash):
                return False
            heads[entry.stream] = entry.head
        if any(self.head(stream) != head for stream, head in append.unchanged):
            return False
        for entry in append.entries:
            self.streams.setdefault(entry.stream, []).append(entry)
            self.order.append(entry.bytes)
        for payload in append.payloads:
            self.payloads.setdefault(payload.stream, {})[payload.seq, payload.path] = payload
        return True


class JournalMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"sqlite:///{Path(self.folder.name) / 'remit.db'}"
        self.runner = asyncio.Runner()
        self.journals = [self.runner.run(Journal.open(self.url)) for _ in range(2)]
        self.oracle = Oracle()
        self.serial = 0

    @rule(which=st.integers(0, 1), plans=st.lists(plan, min_size=1, max_size=6))
    def enqueue(self, which: int, plans: list[tuple[list[tuple[str, int, str]], list[tuple[str, bool]], bool]]) -> None:
        appends, expected = [], []
        for parts, conditions, with_payload in plans:
            append = self._append(parts, conditions, with_payload)
            appends.append(append)
            expected.append(self.oracle.append(append))

        async def go() -> list[bool]:
            futures = [self.journals[which].enqueue(append) for append in appends]
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
            assert all(outcome is None or isinstance(outcome, Conflict) for outcome in outcomes)
            return [outcome is None for outcome in outcomes]

        assert self.runner.run(go()) == expected

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.runner.run(self.journals[which].close())
        self.journals[which] = self.runner.run(Journal.open(self.url, create=False))

    @rule(which=st.integers(0, 1), stream=st.sampled_from(STREAMS), after=st.integers(-1, 6))
    def read(self, which: int, stream: str, after: int) -> None:
        entries = self.runner.run(self.journals[which].read(stream, after))
        assert [entry.hash for entry in entries] == [
            entry.hash for entry in self.oracle.streams.get(stream, [])[after + 1 :]
        ]

    @invariant()
    def both_journals_say_what_the_oracle_says(self) -> None:
        async def state(journal: Journal) -> object:
            streams = await journal.streams()
            return (
                [data for _, data in await journal.since(0)],
                {stream: await journal.read_bytes(stream) for stream in streams},
                {stream: await journal.head(stream) for stream in streams},
                {stream: found for stream in streams if (found := await journal.payloads(stream))},
                await journal.position(),
            )

        oracle = self.oracle
        expected = (
            oracle.order,
            {stream: [entry.bytes for entry in entries] for stream, entries in oracle.streams.items()},
            {stream: oracle.head(stream) for stream in oracle.streams},
            oracle.payloads,
            len(oracle.order),
        )
        for journal in self.journals:
            assert self.runner.run(state(journal)) == expected

    def teardown(self) -> None:
        for journal in self.journals:
            self.runner.run(journal.close())
        self.runner.close()
        self.folder.cleanup()

    def _append(
        self, parts: list[tuple[str, int, str]], conditions: list[tuple[str, bool]], with_payload: bool
    ) -> Append:
        entries: list[Sealed] = []
        for stream, count, how in parts:
            head = self.oracle.head(stream)
            if how == "stale" and head.seq >= 0:
                head = Head(head.seq - 1, self.oracle.streams[stream][-1].prev)
            for number in range(count):
                self.serial += 1
                if how == "gap" and number == count - 1:
                    head = Head(head.seq + 1, head.hash)
                body = Recorded(id="t.1", task="t", what="random", value=str(self.serial))
                entry = seal(stream, head, "2026-01-01T00:00:00.000000Z", "worker:test", body)
                entries.append(entry)
                head = entry.head
        payloads = tuple(
            Payload(entry.stream, entry.seq, "/value", b"s" * 16, str(self.serial).encode())
            for entry in entries
            if with_payload and entry.seq >= 0
        )
        unchanged = tuple(
            (stream, self.oracle.head(stream) if holds else Head(0, "f" * 64)) for stream, holds in conditions
        )
        return Append(tuple(entries), payloads, unchanged=unchanged)


JournalMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=12, deadline=None)


TestTheJournalIsWhatADictionaryOfListsIs = JournalMachine.TestCase
