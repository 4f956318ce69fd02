"""The one thread that writes: everything enqueued meanwhile goes into one transaction (group commit).

A commit's cost is the disk's flush, so what piles up behind one flush shares the next. Inside the
transaction each append is checked against the heads of its streams; SQLite's write lock makes that
exact across processes too.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Final

from sqlalchemy import Connection, Engine, Insert, insert
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError

from remit.core.canonical import digest_bytes
from remit.core.entries import Head, Payload, Sealed
from remit.errors import Conflict, JournalError
from remit.store.authentic import JournalKey, MarkFile
from remit.store.opening import BUSY_SECONDS, identity, why
from remit.store.tables import ArtifactTable, EntryTable, PayloadTable, StreamTable

LARGEST_BATCH: Final = 512
"""How many appends share one transaction at most."""

_CACHED_STREAMS: Final = 8_192

_DIED: Final = "the journal's writer thread has died: open the journal again"
_MOVED: Final = "its file was replaced by another"
_LOG_MOVED: Final = "its write-ahead log (`-wal` or `-shm`) was removed or replaced"
_SHRUNK: Final = "entries were taken out of it meanwhile"
_FAILURES: Final = (
    SQLAlchemyError,
    sqlite3.Error,
    OSError,
    ValueError,
    TypeError,
    ArithmeticError,
    MemoryError,
)

Job = Callable[[Connection], Any]
"""Work of the store's own tables, done in the writer's transaction; it neither begins nor commits."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes that entries name by their SHA-256 in hex: a policy set, a tool, a graph."""

    digest: str
    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """What is stored all or nothing.

    `entries` are of one stream or several; each follows its stream's head, or the entry before it here.
    `payloads` are of these entries. `unchanged` names further streams whose head must be exactly this.

    Raises:
        ValueError: a payload of another entry, a payload twice, or an artifact whose digest isn't its own.
    """

    entries: tuple[Sealed, ...]
    payloads: tuple[Payload, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    unchanged: tuple[tuple[str, Head], ...] = ()

    def __post_init__(self) -> None:
        if self.payloads:
            ours = {(entry.stream, entry.seq) for entry in self.entries}
            seen = set()
            for payload in self.payloads:
                place = (payload.stream, payload.seq, payload.path)
                if place[:2] not in ours or place in seen:
                    name = f"{payload.stream}#{payload.seq} {payload.path}"
                    raise ValueError(f"{name}: a payload of another entry, or twice the same")
                payload.path.encode()  # a lone surrogate would fail the whole batch
                seen.add(place)
        for artifact in self.artifacts:
            if digest_bytes(artifact.data) != artifact.digest:
                raise ValueError(f"artifact `{artifact.digest}`: its bytes have another digest")


@dataclass(frozen=True, slots=True)
class _Item:
    work: Append | Job
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


def _sql(statement: Insert) -> str:
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark")))


# Compiled once from the tables; rows are tuples in the order of the tables' columns.
_INSERT_STREAM: Final = _sql(insert(StreamTable))
_INSERT_ENTRY: Final = _sql(insert(EntryTable))
_INSERT_PAYLOAD: Final = _sql(insert(PayloadTable))
_INSERT_ARTIFACT: Final = _sql(sqlite.insert(ArtifactTable).on_conflict_do_nothing())
_SELECT_HEAD: Final = (
    "SELECT id, seq, hash FROM streams JOIN entries ON entries.stream_id = streams.id "
    "WHERE name = ? ORDER BY seq DESC LIMIT 1"
)
_SELECT_ENDS: Final = "SELECT (SELECT max(position) FROM entries), (SELECT max(id) FROM streams)"


@dataclass(slots=True)
class _Ends:
    """Where things end, as the connection last saw it; true while `version` is the file's data version."""

    version: int = -1
    position: int = 0
    stream_id: int = 0
    heads: dict[str, tuple[int, Head]] = field(default_factory=dict)


class _Transaction:
    """The rows of one batch, from BEGIN IMMEDIATE to COMMIT."""

    def __init__(self, connection: Connection, ends: _Ends, key: JournalKey | None) -> None:
        self._connection = connection
        self._ends = ends
        self._key = key
        self.last = ""
        """The hash of the last entry."""
        self._streams: list[tuple[int, str]] = []
        self._entries: list[tuple[int, int, int, str, bytes, bytes, bytes | None]] = []
        self._payloads: list[tuple[int, int, str, bytes, bytes]] = []
        self._artifacts: dict[str, tuple[str, str, bytes]] = {}

    def begin(self) -> None:
        self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        # Exact under the write lock: it changes when, and only when, another connection has committed.
        version = int(self._connection.exec_driver_sql("PRAGMA data_version").scalar_one())
        ends = self._ends
        if version != ends.version or len(ends.heads) > _CACHED_STREAMS:
            position, stream_id = self._connection.exec_driver_sql(_SELECT_ENDS).one()
            if (position or 0) < ends.position:
                raise OSError(_SHRUNK)
            ends.version, ends.position, ends.stream_id = version, position or 0, stream_id or 0
            ends.heads.clear()

    def add(self, append: Append) -> None:
        """Takes the append's rows in, or raises Conflict and takes nothing."""
        heads: dict[str, Head] = {}
        for entry in append.entries:
            head = heads.get(entry.stream) or self._head(entry.stream)[1]
            if entry.seq != head.seq + 1 or entry.prev != head.hash:
                raise Conflict(_conflict(entry.stream, Head(entry.seq - 1, entry.prev), head), entry.stream)
            heads[entry.stream] = entry.head
        for stream, expected in append.unchanged:
            if (head := self._head(stream)[1]) != expected:
                raise Conflict(_conflict(stream, expected, head), stream)
        for stream, head in heads.items():
            self._ends.heads[stream] = (self._stream_id(stream), head)
        end = self._ends.position + len(append.entries)
        for entry in append.entries:
            self._ends.position = position = self._ends.position + 1
            hash = bytes.fromhex(entry.hash)
            mac = self._key.mac(position, hash, position == end) if self._key else None
            at = (position, self._ends.heads[entry.stream][0])
            self._entries.append((*at, entry.seq, entry.kind, entry.bytes, hash, mac))
            self.last = entry.hash
        for payload in append.payloads:
            stream_id = self._ends.heads[payload.stream][0]
            self._payloads.append((stream_id, payload.seq, payload.path, payload.salt, payload.value))
        for artifact in append.artifacts:
            self._artifacts[artifact.digest] = (artifact.digest, artifact.kind, artifact.data)

    def flush(self) -> None:
        for sql, rows in (
            (_INSERT_STREAM, self._streams),
            (_INSERT_ENTRY, self._entries),
            (_INSERT_PAYLOAD, self._payloads),
            (_INSERT_ARTIFACT, list(self._artifacts.values())),
        ):
            if rows:
                self._connection.exec_driver_sql(sql, rows)
        self._streams, self._entries, self._payloads, self._artifacts = [], [], [], {}

    def _head(self, stream: str) -> tuple[int, Head]:
        """Returns the stream's id (0: not there yet) and head, appends earlier in this batch included."""
        if (known := self._ends.heads.get(stream)) is None:
            row = self._connection.exec_driver_sql(_SELECT_HEAD, (stream,)).one_or_none()
            known = (row[0], Head(row[1], bytes(row[2]).hex())) if row else (0, Head())
            self._ends.heads[stream] = known
        return known

    def _stream_id(self, stream: str) -> int:
        if not (stream_id := self._head(stream)[0]):
            self._ends.stream_id += 1
            stream_id = self._ends.stream_id
            self._streams.append((stream_id, stream))
        return stream_id


class Writer:
    """Commits what is submitted, in order, on a thread of its own.

    Args:
        advanced: is told, on that thread, the last position after each commit that stored entries.
        key: authenticates what is stored; None without one.
        mark: notes how far the store has come, after each commit; None without a key.
    """

    def __init__(
        self, engine: Engine, advanced: Callable[[int], None], key: JournalKey | None = None,
        mark: MarkFile | None = None,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._key = key
        self._mark = mark
        self._path = engine.url.database or ""
        self._file = identity(self._path)
        self._logs: dict[str, tuple[int, int]] = {}
        self._advanced = advanced
        self._connection: Connection | None = None
        self._ends = _Ends()
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._batch: list[_Item] = []
        self._lock = Lock()
        self._stopped = ""
        self._thread = Thread(target=self._main, name="remit-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Append | Job) -> asyncio.Future[Any]:
        """Returns a future of the running loop: done after COMMIT (a job's with what it returned)."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:
            if not self._stopped and not self._thread.is_alive():
                self._stopped = _DIED  # as in the child of a fork, where threads aren't
            if self._stopped:
                future.set_exception(JournalError(self._stopped))
            else:
                self._queue.put(_Item(work, future, loop))
        return future

    def stop(self) -> None:
        """Refuses what comes now, and returns when what came before is done. Blocks."""
        with self._lock:
            if not self._stopped:
                self._stopped = "the journal is closed: open it again"
                self._queue.put(None)
        self._thread.join()

    def _main(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._bury()

    def _turn(self) -> bool:
        item = self._queue.get()
        while item is not None:
            self._batch.append(item)
            if len(self._batch) == LARGEST_BATCH:
                break
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
        if self._batch:
            outcomes = self._commit(self._batch)
            _deliver(self._batch, outcomes)
            self._batch = []
        return item is not None

    def _commit(self, batch: Sequence[_Item]) -> list[Any]:
        """Returns, for each item, what its future gets; an exception is raised there."""
        before = self._ends.position
        try:
            self._check_file()
            if self._connection is None:
                self._connection = self._engine.connect()
            transaction = _Transaction(self._connection, self._ends, self._key)
            transaction.begin()
            outcomes = [_perform(transaction, self._connection, item.work) for item in batch]
            transaction.flush()
            # THE COMMIT POINT. Before it nothing of the batch has happened; after it all of it has, and only
            # then is anybody told. If it raises, either may be so: heads must be read again.
            self._connection.exec_driver_sql("COMMIT")
        except _FAILURES as error:
            self._forget()
            return [_failure(error) for _ in batch]
        if self._ends.position != before:
            if self._mark is not None and transaction.last:
                with suppress(OSError):  # what is committed is committed: a mark that is behind notices less
                    self._mark.note(self._ends.position, transaction.last)
            self._advanced(self._ends.position)
        return outcomes

    def _check_file(self) -> None:
        """Raises OSError when a file of the store isn't at its place: what goes into it then, nobody finds again."""
        if identity(self._path) != self._file:
            raise OSError(_MOVED)
        if self._connection is None:
            self._logs = {}
            return
        for name in ("-wal", "-shm"):
            try:
                found = identity(self._path + name)
            except FileNotFoundError:
                if name in self._logs:
                    raise OSError(_LOG_MOVED) from None
                continue
            if self._logs.setdefault(name, found) != found:
                raise OSError(_LOG_MOVED)

    def _forget(self) -> None:
        """After a failure nothing believed here can be trusted: the connection goes, and all cached heads."""
        self._ends = _Ends()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*_FAILURES):  # it is of no more use; the waiters are told what led here
                connection.invalidate()  # closes the file, which rolls back what wasn't committed
                connection.close()

    def _bury(self) -> None:
        """Fails whatever still waits, so that a writer that died is loud and never a hang."""
        with self._lock:
            self._stopped = self._stopped or _DIED
            left = self._batch
            while not self._queue.empty():
                if (item := self._queue.get_nowait()) is not None:
                    left.append(item)
        _deliver(left, [JournalError(self._stopped) for _ in left])
        self._forget()


def _perform(transaction: _Transaction, connection: Connection, work: Append | Job) -> Any:
    if not isinstance(work, Append):
        transaction.flush()
        return work(connection)
    try:
        transaction.add(work)
    except Conflict as conflict:
        return conflict
    return None


def _deliver(items: Sequence[_Item], outcomes: Sequence[Any]) -> None:
    """Resolves the futures, with one call into each loop."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for item, outcome in zip(items, outcomes, strict=True):
        loops.setdefault(item.loop, []).append((item.future, outcome))
    for loop, settled in loops.items():
        with suppress(RuntimeError):  # the loop is closed, and everybody who waited in it is gone
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in settled:
        if future.done():
            continue  # its waiter was cancelled
        if isinstance(outcome, JournalError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _conflict(stream: str, expected: Head, found: Head) -> str:
    return (
        f"{stream}: somebody else appended first: expected its head at #{expected.seq} {expected.hash[:12]}, "
        f"found #{found.seq} {found.hash[:12]}"
    )


def _failure(error: BaseException) -> JournalError:
    """Returns a failure of its own for each waiter: they may be raised in different tasks."""
    said = why(error)
    if "locked" in said or "busy" in said:
        remedy = f"another process held the store's write lock for over {BUSY_SECONDS:g} s: find and stop it"
    elif isinstance(error, FileNotFoundError) or said == _MOVED:
        remedy = "put the store's file back, or stop this process"
    elif said in (_LOG_MOVED, _SHRUNK):
        remedy = (
            "what was acknowledged before may be lost: stop every process that uses the store, and compare it with its"
            " newest checkpoint (`remit audit verify`) before anything runs again"
        )
    elif "is full" in said:
        remedy = "make room on its disk"
    else:
        remedy = "read the stream's head before trying again: this may or may not have been stored"
    failure = JournalError(f"the journal couldn't be written: {said}: {remedy}")
    failure.__cause__ = error
    return failure
