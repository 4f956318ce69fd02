"""The counters that a worker knows: what each stands at, and counts as they are handed to the writer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

from remit.core.canonical import canonical, plain
from remit.core.counterfile import Counter
from remit.core.counting import CounterState, Counts, apply_counter, stand
from remit.core.entries import (
    CounterCounted,
    CountingBegun,
    Entry,
    Head,
    Outcome,
    Payload,
    Sealed,
    is_committed,
    unseal,
)
from remit.core.tools import Call
from remit.errors import Conflict, Tampered
from remit.logs import get
from remit.runtime.ambient import Ambient
from remit.runtime.load import load_review
from remit.runtime.stream import Draft
from remit.store.journal import Append, Journal

_log = get(__name__)
_SECRET = 32
_ID = 32
Roots = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counting:
    """The counters that matter to a call, each with the stream of its count: "" where that can't be said.

    `older` has the stream that an older Remit counted the same in, where there is one: it is read, and never written.
    """

    counters: Sequence[Counter]
    streams: Mapping[str, str]
    older: Mapping[str, str]


NOTHING: Final = Counting((), {}, {})


def is_counter(stream: str) -> bool:
    """Whether a stream is a counter's."""
    return stream.startswith("counter/")


class CounterBook:
    """What a worker has read of the journal's counters, and what it has enqueued itself since."""

    def __init__(self, journal: Journal, ambient: Ambient) -> None:
        self._journal = journal
        self._ambient = ambient
        self._counts: dict[str, Counts] = {}
        self._secret = b""

    async def read(self, counters: Sequence[Counter], tool: str, roots: Roots) -> Counting:
        """Reads what others have counted of that which a call belongs to."""
        streams, older = dict[str, str](), dict[str, str]()
        for one in counters:
            streams[one.name] = ""
            of = [await self._stream(key) for key in one.keys(tool, roots)]
            try:
                for stream in of:
                    await self._read_on(stream, one)
            except Tampered as error:
                _log.error("counter can't be read", counter=one.name, error=str(error))
                continue
            streams[one.name] = of[0] if of else ""
            older.update((one.name, stream) for stream in of[1:])
        return Counting(counters, streams, older)

    def stand(self, counting: Counting, tool: str, roots: Roots, now: str) -> dict[str, object]:
        """Returns what counters stand at without the call; one that can't be told, or can't count it, is absent."""
        found: dict[str, object] = {}
        for one in counting.counters:
            stream = counting.streams[one.name]
            if stream and one.adds(tool, roots) is not None:
                counts = [self._counts.get(name) or Counts() for name in (stream, counting.older.get(one.name)) if name]
                found[one.name] = stand(counts, waits=one.waits, window=one.window, now=now)
        return found

    def counted(
        self, counting: Counting, call: Call, roots: Roots, outcome: Outcome, reviews: Sequence[str]
    ) -> tuple[tuple[Draft, Sealed], ...]:
        """Returns the entries that count a call, for the append of its decision."""
        entries = []
        wanted = {Outcome.ALLOW: False, Outcome.ESCALATE: True}.get(outcome)
        for one in counting.counters:
            amount = one.adds(call.record.tool, roots)
            if one.waits is not wanted or not amount:
                continue
            stream = counting.streams[one.name]
            counts = self._counts.get(stream) or Counts()
            draft = Draft(stream, counts.head, self._ambient)
            said = draft.commit("/amount", canonical(f"{amount:f}")) if one.sums else None
            of = tuple(reviews) if one.waits else ()
            body = CounterCounted(one.name, counts.number + 1, call.run, call.id, said, of)
            entries.append((draft, draft.seal("gate", body)))
        return tuple(entries)

    def handed(self, counted: Sequence[tuple[Draft, Sealed]], written: asyncio.Future[None]) -> None:
        """Counts what was handed to the writer; where it isn't stored, it is read again."""
        for draft, sealed in counted:
            counts = self._counts.setdefault(sealed.stream, Counts())
            payloads = {payload.path: payload for payload in draft.payloads}
            _add(counts, unseal(sealed.bytes), payloads.get("/amount"))
            written.add_done_callback(partial(self._written, sealed.stream))

    def _written(self, stream: str, written: asyncio.Future[None]) -> None:
        if written.cancelled() or written.exception() is not None:
            self._counts.pop(stream, None)

    # --- reading ---

    async def _read_on(self, stream: str, counter: Counter) -> None:
        seen = self._counts.get(stream)
        counts = seen or Counts()
        before = counts.head
        entries = await self._journal.read(stream, before.seq)
        if entries:
            payloads = await self._journal.payloads(stream, before.seq) if counter.sums else {}
            if self._counts.get(stream) is not seen or counts.head != before:
                return  # this worker has counted meanwhile: what it knows is newer
            for entry in entries:
                _add(counts, entry, payloads.get((entry.seq, "/amount")))
            self._counts[stream] = counts
        for number, reviews in list(counts.waiting.items()):
            if not any([(await load_review(self._journal, review)).waits for review in reviews]):
                counts.waiting.pop(number, None)

    async def _stream(self, key: bytes) -> str:
        """Returns the stream of a count: its name says nothing of what is counted to those without the secret."""
        if not self._secret:
            self._secret = await self._begun()
        return f"counter/{hmac.new(self._secret, key, hashlib.sha256).hexdigest()[:_ID]}"

    async def _begun(self) -> bytes:
        """Returns the store's secret; the first who needs it makes it."""
        while True:
            entries = await self._journal.read("store")
            begun = [(entry.seq, entry.body) for entry in entries if isinstance(entry.body, CountingBegun)]
            if begun:
                seq, body = begun[0]
                payload = (await self._journal.payloads("store")).get((seq, "/secret"))
                if payload is None or not is_committed(payload, body.secret):
                    raise Tampered(f"store#{seq}: the secret that counters are named by is gone or another")
                return bytes.fromhex(str(plain(payload.value)))
            draft = Draft("store", entries[-1].head if entries else Head(), self._ambient)
            secret = draft.commit("/secret", canonical(self._ambient.entropy(_SECRET).hex()))
            sealed = draft.seal("gate", CountingBegun(secret))
            try:
                await self._journal.append(Append((sealed,), tuple(draft.payloads)))
            except Conflict:
                continue  # somebody else wrote there, or made it


def _add(counts: Counts, entry: Entry, payload: Payload | None) -> None:
    """Counts an entry. Raises Tampered."""
    body = entry.body
    before = CounterState(getattr(body, "counter", ""), counts.number, counts.head) if counts.number else None
    apply_counter(before, entry)
    assert isinstance(body, CounterCounted)  # apply_counter has seen to it
    amount = Decimal(1)
    if body.amount is not None:
        if payload is None or not is_committed(payload, body.amount):
            raise Tampered(f"{entry.stream}#{entry.seq} /amount: it was erased, or is not what was committed to")
        amount = Decimal(str(plain(payload.value)))
    counts.add(entry.at, amount, body.reviews, entry.head)
