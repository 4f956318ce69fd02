"""The append-only record: conditional appends by group commit, and reads that check what they read."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from remit.core.canonical import digest_bytes, link
from remit.core.entries import Entry, Head, Payload, follow, unseal
from remit.errors import JournalError, NotAuthentic, Tampered
from remit.store.authentic import Authority, JournalKeys, MarkFile, check_whole, establish, needs_key
from remit.store.opening import prepare, why
from remit.store.watch import Watch
from remit.store.writer import Append, Artifact, Writer

__all__ = ["Append", "Artifact", "Journal", "JournalKeys"]

_NOBODY = Authority(None, "", "it was opened without a journal key")

_T = TypeVar("_T")

_OF_STREAM = "FROM entries JOIN streams ON streams.id = entries.stream_id WHERE streams.name = ?"
_READ = f"SELECT seq, kind, bytes, hash, position, mac {_OF_STREAM} AND seq >= ? ORDER BY seq"
_BYTES = f"SELECT bytes {_OF_STREAM} ORDER BY seq"
_HEAD = f"SELECT seq, hash {_OF_STREAM} ORDER BY seq DESC LIMIT 1"
_SINCE = "SELECT position, bytes FROM entries WHERE position > ? ORDER BY position LIMIT ?"
_STREAMS = "SELECT name FROM streams WHERE substr(name, 1, length(?)) = ? ORDER BY name"
_STREAMS_SINCE = "SELECT id, name FROM streams WHERE id > ? AND substr(name, 1, length(?)) = ? ORDER BY id"
_PAYLOADS = (
    "SELECT seq, path, salt, value FROM payloads JOIN streams ON streams.id = payloads.stream_id "
    "WHERE streams.name = ? AND seq > ? ORDER BY seq, path"
)
_PAYLOADS_BETWEEN = (
    "SELECT streams.name, payloads.seq, path, salt, value FROM entries "
    "JOIN payloads ON payloads.stream_id = entries.stream_id AND payloads.seq = entries.seq "
    "JOIN streams ON streams.id = entries.stream_id WHERE position > ? AND position <= ? ORDER BY position, path"
)
_ARTIFACT = "SELECT digest, kind, bytes FROM artifacts WHERE digest = ?"
_POSITION = "SELECT max(position) FROM entries"
_LATEST = "SELECT bytes FROM entries ORDER BY position DESC LIMIT 1"
_POSITION_OF = f"SELECT position {_OF_STREAM} AND seq = ?"
_EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"
_ERASE = "DELETE FROM payloads WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND seq = ? AND path = ?"


class Journal:
    """An open store. Any number may be open on one file, in any number of processes.

    Reads see whatever was committed before they began, this journal's own appends included. Use it as
    `async with await Journal.open(url) as journal`.
    """

    def __init__(self, engine: Engine, authority: Authority = _NOBODY, mark: MarkFile | None = None, *,
        authentic: bool = False,
    ) -> None:  # fmt: skip
        """Takes an engine that `opening.prepare` made; `open` is what people call."""
        self.authority = authority
        """What this process may say of the store's entries."""
        self.exported = False
        """Whether this is an export that was opened again: values that no entry erased may be withheld."""
        self._engine = engine
        self._authentic = authentic
        self._whole = 0
        self._mark = mark
        self._watch = Watch(engine)
        self._writer = Writer(engine, self._watch.advanced, authority.key, mark)
        self._readers = ThreadPoolExecutor(2, "remit-reader")
        self._closed = False

    @classmethod
    async def open(
        cls, url: str, *, create: bool = True, keys: JournalKeys | str | Path | None = None, authentic: bool = False
    ) -> Journal:
        """Opens the store at `url`: `sqlite:///relative.db` or `sqlite:////absolute.db`.

        Args:
            keys: where the store's journal key is; a new store's is made there. Without it entries are written without
                a code, and workers act on few of them.
            authentic: `read` refuses entries that a worker must not act on. For those who make something happen.

        Raises:
            SettingsError: another kind of url; no store there and not `create`; a file that isn't a store
                or can't be written; its key can't be read.
            NotAuthentic: with `authentic`: the key isn't here, or the store isn't the one that was written with it.
            Tampered: with `authentic`: entries are missing.
            NewerJournal: a newer Remit wrote the store.
        """
        found = JournalKeys(keys) if isinstance(keys, (str, Path)) else keys
        journal = await asyncio.to_thread(_opened, cls, url, create, found, authentic)
        if authentic:
            try:
                await journal.check_whole()
            except BaseException:
                await journal.close()
                raise
        return journal

    async def close(self) -> None:
        """Waits until what was enqueued is committed, then lets go of the file."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._release)

    async def __aenter__(self) -> Journal:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def path(self) -> str:
        """The absolute path of the store's file."""
        return str(Path(self._engine.url.database or "").resolve())

    # --- writing ---

    def enqueue(self, append: Append) -> asyncio.Future[None]:
        """Hands `append` to the writer, after all that was enqueued before it, and returns at once.

        Raises NotAuthentic where an entry needs the store's journal key, and it isn't here: no worker would act on it.

        The future is done after COMMIT. Cancelling it doesn't take the append back. It fails with:
            Conflict: another append came first; nothing of this one is stored, others of its batch are.
            JournalError: the store couldn't be written, or the journal is closed. Whether it was stored is
                then unknown (COMMIT may have happened before it failed): read the head before going on. If
                it was, what is enqueued on top of it is stored too; if not, that fails with Conflict.
        """
        self._check_key(append)
        return self._writer.submit(append)

    async def append(self, append: Append) -> None:
        """Enqueues `append` and waits for its commit. Raises what `enqueue` and its future do."""
        await self.enqueue(append)

    async def transact(self, job: Callable[[Connection], _T]) -> _T:
        """Runs `job` in the writer's next transaction: for the store's own mutable tables only.

        `job` is short, uses its connection from the writer's thread, and neither begins nor commits.

        Raises:
            JournalError: as `enqueue`.
        """
        result: _T = await self._writer.submit(job)
        return result

    # --- reading ---

    async def read(self, stream: str, after: int = -1) -> list[Entry]:
        """Returns the stream's entries past number `after`; none when there is no such stream.

        Raises:
            Tampered: an entry isn't what was hashed, or doesn't follow the one before it; in a journal that was opened
                `authentic`, also one that a worker must not act on.
            NewerJournal: an entry of a kind this Remit doesn't know.
        """
        authority = self.authority if self._authentic else None
        found = await self.query(partial(_read, stream=stream, after=after, authority=authority))
        return [entry for _, entry in found]

    async def merged(self, streams: Sequence[str], named: Callable[[Sequence[Entry]], Iterable[str]]) -> list[Entry]:
        """Returns the entries of several streams as they stood at one moment, in the order of their commits.

        `named` is given the entries of `streams`, and says which other streams to read beside them. Raises as `read`.
        """
        authority = self.authority if self._authentic else None

        def job(connection: Connection) -> list[Entry]:
            connection.exec_driver_sql("BEGIN")
            try:
                found = [row for name in streams for row in _read(connection, name, -1, authority)]
                more = set(named([entry for _, entry in found])) - {*streams}
                found += [row for name in sorted(more) for row in _read(connection, name, -1, authority)]
            finally:
                connection.exec_driver_sql("COMMIT")
            return [entry for _, entry in sorted(found, key=itemgetter(0))]

        return await self.query(job)

    async def read_bytes(self, stream: str) -> list[bytes]:
        """Returns the stream's entries exactly as stored, unchecked."""
        return [_bytes(row[0], stream) for row in await self._rows(_BYTES, stream)]

    async def since(self, position: int, limit: int = 10_000) -> list[tuple[int, bytes]]:
        """Returns up to `limit` entries of all streams past `position`, as stored and in commit order."""
        return [(row[0], _bytes(row[1], f"position {row[0]}")) for row in await self._rows(_SINCE, position, limit)]

    async def head(self, stream: str) -> Head:
        """Returns the stream's head, `Head()` when there is no such stream."""
        rows = await self._rows(_HEAD, stream)
        return Head(rows[0][0], _bytes(rows[0][1], stream).hex()) if rows else Head()

    async def streams(self, prefix: str = "") -> list[str]:
        """Returns the names of all streams that begin with `prefix`, sorted."""
        return [row[0] for row in await self._rows(_STREAMS, prefix, prefix)]

    async def streams_since(self, number: int, prefix: str) -> list[tuple[int, str]]:
        """Returns number and name of the streams that begin with `prefix` and came after number `number`."""
        return [(row[0], row[1]) for row in await self._rows(_STREAMS_SINCE, number, prefix, prefix)]

    async def payloads(self, stream: str, after: int = -1) -> dict[tuple[int, str], Payload]:
        """Returns the payloads of the stream's entries past number `after`, by that and path, without erased ones.

        They are as stored: `payloads.open_payload` checks one against its commitment.
        """
        found = {}
        for seq, path, salt, value in await self._rows(_PAYLOADS, stream, after):
            place = f"{stream}#{seq} {path}"
            found[seq, path] = Payload(stream, seq, path, _bytes(salt, place), _bytes(value, place))
        return found

    async def payloads_between(self, position: int, until: int) -> list[Payload]:
        """Returns the payloads of the entries past `position` up to `until`, in commit order and then by path."""
        found = []
        for stream, seq, path, salt, value in await self._rows(_PAYLOADS_BETWEEN, position, until):
            place = f"{stream}#{seq} {path}"
            found.append(Payload(stream, seq, path, _bytes(salt, place), _bytes(value, place)))
        return found

    async def artifact(self, digest: str) -> Artifact | None:
        """Returns the artifact of that SHA-256 (hex), None when there is none.

        Raises:
            Tampered: its bytes have another digest.
        """
        rows = await self._rows(_ARTIFACT, digest)
        if not rows:
            return None
        data = rows[0][2]
        if not isinstance(data, bytes) or digest_bytes(data) != digest:
            raise Tampered(f"artifact {digest}: its bytes are not what was hashed")
        return Artifact(rows[0][0], rows[0][1], data)

    async def check_whole(self) -> None:
        """Checks that no entry is missing among those that have come since the last time.

        Raises:
            NotAuthentic: nothing may run on the store.
            Tampered: entries are missing.
        """
        if self.authority.refusal or self.authority.key is None:
            raise NotAuthentic(
                f"nothing runs on `{self._engine.url.database}`: {self.authority.refusal}: put back what belongs there,"
                " or look at what is in it (`remit audit verify` of an export) and answer for it: `remit store adopt`"
            )
        key = self.authority.key
        self._whole = await self.query(lambda connection: check_whole(connection, key, self._whole))

    async def position_of(self, stream: str, seq: int) -> int:
        """Returns an entry's position among all entries, from 1; 0 when there is no such entry."""
        rows = await self._rows(_POSITION_OF, stream, seq)
        return int(rows[0][0]) if rows else 0

    async def erase(self, places: Sequence[tuple[str, int, str]]) -> int:
        """Deletes payloads, by stream, entry number and path, and all that is left of them in the file.

        Salt and value are overwritten, and the write-ahead log is emptied. Returns how many there were.

        Raises:
            JournalError: the store couldn't be written, or others read it all the while: then what was erased
                is still in the write-ahead log.
        """
        count: int = await self.transact(partial(_erase, places=places))
        busy = await self.query(lambda connection: connection.exec_driver_sql(_EMPTY_LOG).all()[0][0])
        if busy:
            raise JournalError(
                "the values are erased, but copies are in the write-ahead log while another process reads the store:"
                " they go when the last one closes it, or at the next erasure"
            )
        return count

    async def position(self) -> int:
        """Returns the position of the last committed entry of all streams; 0 when there is none."""
        return int((await self._rows(_POSITION))[0][0] or 0)

    async def latest(self) -> str:
        """Returns the time that the last committed entry of all streams says; "" when there is none.

        A clock that is behind it was set back, or is another machine's. Raises Tampered.
        """
        rows = await self._rows(_LATEST)
        return unseal(_bytes(rows[0][0], "the last entry")).at if rows else ""

    async def wait(self, seen: int, timeout: float) -> int:
        """Returns the last position as soon as it is past `seen`, or `seen` after `timeout` seconds.

        Wake-ups of this process are immediate, of other processes within some 30 ms, or 120 after a few quiet seconds.

        Raises:
            JournalError: the store can't be read, or the journal was closed meanwhile.
        """
        return await self._watch.wait(seen, timeout)

    async def query(self, job: Callable[[Connection], _T]) -> _T:
        """Runs `job`, which only reads, on a reader's thread and connection: for the store's own modules.

        Raises:
            JournalError: the store can't be read, or the journal is closed.
        """
        if self._closed:
            raise JournalError("the journal is closed: open it again")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._query, job)

    def _check_key(self, append: Append) -> None:
        if self.authority.key is not None or not self.authority.keyed:
            return
        for entry in append.entries:
            if needs_key(unseal(entry.bytes).body):
                raise NotAuthentic(
                    f"`{entry.kind}` is written with the store's journal key, and {self.authority.refusal}: name the"
                    " folder that has it with `keys`"
                )

    async def _rows(self, sql: str, *parameters: object) -> list[Any]:
        return await self.query(lambda connection: list(connection.exec_driver_sql(sql, parameters)))

    def _query(self, job: Callable[[Connection], _T]) -> _T:
        try:
            with self._engine.connect() as connection:
                return job(connection)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise JournalError(f"the journal couldn't be read: {why(error)}") from error

    def _release(self) -> None:
        self._writer.stop()
        self._watch.stop()
        self._readers.shutdown()
        self._engine.dispose()
        if self._mark is not None:
            self._mark.close()


def _opened(kind: type[Journal], url: str, create: bool, keys: JournalKeys | None, authentic: bool) -> Journal:
    engine = prepare(url, create)
    try:
        path = str(Path(engine.url.database or "").resolve())
        authority = establish(engine, path, keys)
        mark = None
        if keys is not None and authority.key is not None and not authority.refusal:
            mark = keys.open_mark(authority.key, path)
    except (SQLAlchemyError, sqlite3.Error) as error:
        engine.dispose()
        raise JournalError(f"`{engine.url.database}`: the store can't be read: {why(error)}") from error
    except BaseException:
        engine.dispose()
        raise
    return kind(engine, authority, mark, authentic=authentic)


def _read(
    connection: Connection, stream: str, after: int, authority: Authority | None = None
) -> list[tuple[int, Entry]]:
    # The entry at `after` is read too: the first one asked for must follow it.
    rows = connection.exec_driver_sql(_READ, (stream, max(after, 0))).all()
    head = Head()
    if after >= 0:
        if not rows:
            return []
        head = Head(after - 1, _unseal(stream, *rows[0][:4]).prev)
    entries: list[tuple[int, Entry]] = []
    for *row, position, mac in rows:
        entry = _unseal(stream, *row)
        head = follow(entry, head)
        if authority is not None:
            authority.check(entry, position, row[3], mac)
        entries.append((position, entry))
    return entries[1:] if after >= 0 else entries


def _erase(connection: Connection, places: Sequence[tuple[str, int, str]]) -> int:
    return sum(connection.exec_driver_sql(_ERASE, place).rowcount for place in places)


def _bytes(value: object, place: str) -> bytes:
    if not isinstance(value, bytes):
        raise Tampered(f"{place}: the store holds text or nothing where it wrote bytes")
    return value


def _unseal(stream: str, seq: int, kind: str, data: object, hash: object) -> Entry:
    """Returns the entry of a row whose every column agrees with the bytes that were hashed."""
    if not isinstance(data, bytes) or not isinstance(hash, bytes) or link(data) != hash.hex():
        raise Tampered(f"{stream}#{seq}: the bytes are not what was hashed")
    entry = unseal(data)
    if (entry.stream, entry.seq, entry.kind) != (stream, seq, kind):
        raise Tampered(f"{stream}#{seq} {kind}: the entry says it is {entry.stream}#{entry.seq} {entry.kind}")
    return entry
