"""The stream of a run that this worker owns: the state as it stands, enqueued entries included.

An entry is folded into the state in the same step of the event loop in which it is handed to the writer:
so a fan-out of a hundred calls sees every one of its own decisions. If an append fails, the state has
run ahead of the journal: the stream is broken, everything on it stops, and the run is driven again from
what the journal really holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from remit.core.canonical import plain
from remit.core.entries import (
    Commitment,
    Entry,
    Fact,
    Head,
    Payload,
    Sealed,
    as_entry,
    follow,
    is_committed,
    seal,
    unseal,
)
from remit.core.lifecycle import RunState, apply
from remit.core.origins import Lineage
from remit.core.reviews import ReviewState
from remit.errors import Conflict, JournalError, RemitError, Tampered
from remit.runtime.ambient import Ambient, stamp
from remit.store.journal import Append, Artifact, Journal
from remit.store.payloads import commit


class Draft:
    """An entry about to be written at the end of a stream, and the payloads it commits to."""

    def __init__(self, stream: str, head: Head, ambient: Ambient) -> None:
        self.stream = stream
        self._head = head
        self._ambient = ambient
        self.payloads: list[Payload] = []

    def commit(self, path: str, value: bytes) -> Commitment:
        """Adds a payload at JSON pointer `path`: canonical bytes. Returns what the entry says of it."""
        said, payload = commit(self.stream, self._head.seq + 1, path, value, self._ambient.entropy(16))
        self.payloads.append(payload)
        return said

    def keep(self, path: str, said: Commitment, payload: Payload) -> Commitment:
        """Adds a value of another entry with its salt: so what that one committed to is what this one does."""
        self.payloads.append(Payload(self.stream, self._head.seq + 1, path, payload.salt, payload.value))
        return said

    def seal(self, actor: str, body: Fact) -> Sealed:
        """Returns the entry's bytes. Raises JournalError where it would be too large."""
        return self.write(actor, body)[0]

    def write(self, actor: str, body: Fact) -> tuple[Sealed, Entry]:
        """Returns the entry's bytes, and the entry as it will be read. Raises as `seal`."""
        at = stamp(self._ambient.now())
        sealed = seal(self.stream, self._head, at, actor, body)
        return sealed, as_entry(sealed, at, actor, body)


class RunStream:
    """A run's state, its reviews' states and its payloads, and the only way to append to it."""

    def __init__(
        self,
        journal: Journal,
        ambient: Ambient,
        state: RunState,
        reviews: Mapping[str, ReviewState],
        payloads: Mapping[tuple[int, str], Payload],
    ) -> None:
        self.journal = journal
        self.ambient = ambient
        self.state = state
        self.reviews = dict(reviews)
        self.broken: RemitError | None = None
        self.lineage: Lineage | None = None
        self.rechecked: set[str] = set()
        """Calls that others began, and whose decisions this worker has checked."""
        self.flow_read = -1
        """The last entry of `flow/<run>` that was looked at."""
        self._last: asyncio.Future[None] | None = None
        self._tried: asyncio.Future[None] | None = None
        self._payloads = dict(payloads)

    @property
    def name(self) -> str:
        """The stream's name."""
        return f"run/{self.state.run}"

    def now(self) -> str:
        """The time, as entries write it."""
        return stamp(self.ambient.now())

    def draft(self) -> Draft:
        """Begins the next entry. Raises what broke the stream, if anything did."""
        self.check()
        return Draft(self.name, self.state.head, self.ambient)

    def check(self) -> None:
        """Raises what broke the stream, if anything did: nothing more happens on it."""
        if self.broken is not None:
            raise self.broken

    def enqueue(
        self,
        draft: Draft,
        actor: str,
        body: Fact,
        *,
        others: tuple[tuple[Draft, Sealed], ...] = (),
        artifacts: tuple[Artifact, ...] = (),
        unchanged: tuple[tuple[str, Head], ...] = (),
        keep: bool = False,
        tries: bool = False,
    ) -> asyncio.Future[None]:
        """Folds the entry in and hands it to the writer, in one step; the future is done after COMMIT.

        Args:
            others: entries of review and grant streams, all or nothing with this one.
            unchanged: streams whose head must be this for it to be stored.
            keep: remember this entry's payloads, for a later `value`.
            tries: where somebody was faster on the stream of a grant or counter, the future fails with Conflict and
                nothing has happened; the stream goes on from where it was. It takes `ready` before it.

        Raises:
            JournalError: the entry is too large; nothing was changed.
        """
        sealed, entry = draft.write(actor, body)
        before = self.state, dict(self.reviews) if tries else {}
        state = apply(self.state, entry)
        if not isinstance(state, RunState):
            raise JournalError(f"{self.name} does not hold a run")
        streams = {other.stream: other for _, other in others}
        for name, other in streams.items():
            family, _, id = name.partition("/")
            if family != "review":
                continue  # a grant's or a counter's state is its book's
            review = apply(self.reviews.get(id), unseal(other.bytes))
            if isinstance(review, ReviewState):
                self.reviews[id] = review
        self.state = state
        payloads = (*draft.payloads, *(payload for other, _ in others for payload in other.payloads))
        if keep:
            self._payloads.update({(payload.seq, payload.path): payload for payload in draft.payloads})
        future = self.journal.enqueue(Append((sealed, *streams.values()), payloads, artifacts, unchanged))
        if tries:
            self._tried = future
            future.add_done_callback(partial(self._was_tried, before=before, last=self._last, head=state.head))
        else:
            future.add_done_callback(self._written)
        self._last = future
        return future

    async def ready(self) -> None:
        """Waits while an append is under way that may fail without breaking the stream: nothing is built on it."""
        while self._tried is not None:
            await asyncio.wait([self._tried])

    async def flushed(self) -> None:
        """Returns once everything that was enqueued is in the journal. Raises what broke the stream."""
        if self._last is not None:
            await asyncio.shield(self._last)
        self.check()

    async def read_on(self, id: str) -> bool:
        """Folds in what others have written to a review. Returns whether they have.

        What was read is older than what this worker has enqueued itself meanwhile, and is then left alone.
        """
        seen = self.reviews[id]
        review, head = seen, seen.head
        for entry in await self.journal.read(f"review/{id}", seen.head.seq):
            head = follow(entry, head)
            found = apply(review, entry)
            review = found if isinstance(found, ReviewState) else review
        if head == seen.head:
            return False
        await self.reload()  # first: who sees the ruling goes on at once, and needs what it parked with
        if self.reviews[id].head != seen.head:
            return False
        self.reviews[id] = review
        return True

    async def reload(self) -> None:
        """Reads the payloads again: a task that goes on needs the results it had before it parked."""
        self._payloads.update(await self.journal.payloads(self.name))

    def break_(self, error: RemitError) -> None:
        """Stops everything on this stream; the first reason stays."""
        self.broken = self.broken or error

    def _was_tried(
        self, future: asyncio.Future[None], before: tuple[RunState, dict[str, ReviewState]],
        last: asyncio.Future[None] | None, head: Head,
    ) -> None:  # fmt: skip
        self._tried = None
        error = None if future.cancelled() else future.exception()
        lost = isinstance(error, Conflict) and error.stream.startswith(("grant/", "counter/"))
        if lost and self.state.head == head:
            (self.state, self.reviews), self._last = before, last
        else:  # something was built on it all the same, or run or policy moved on
            self._written(future)

    def _written(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self.break_(error if isinstance(error, RemitError) else JournalError(f"{self.name}: {error}"))

    def has(self, seq: int, path: str) -> bool:
        """Whether a payload is there; one that was erased is not."""
        return (seq, path) in self._payloads

    def value(self, seq: int, path: str, expected: Commitment | None) -> bytes:
        """Returns a payload's canonical bytes, checked against what the entry committed to.

        Raises:
            Tampered: it isn't what the journal says it was, or it is gone.
        """
        payload = self._payloads.get((seq, path))
        if payload is None:
            raise Tampered(f"{self.name}#{seq} {path}: the payload is not there: it was erased or removed")
        if not is_committed(payload, expected):
            raise Tampered(f"{self.name}#{seq} {path}: the payload is not what the entry committed to")
        return payload.value

    def args(self, id: str) -> dict[str, object]:
        """Returns the recorded arguments of a call. Raises Tampered."""
        call = self.state.calls[id]
        if call.record is None:
            raise Tampered(f"{self.name}: call `{id}` was never decided")
        return {
            name: plain(self.value(call.seq, f"/args/{name}", expected)) for name, expected in call.record.args.items()
        }
