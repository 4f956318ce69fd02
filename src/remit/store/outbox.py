"""The outbox: what is to be told to whom, kept until it was. None of it is evidence; it follows from the journal.

A row is taken before it is sent and settled after it. Who dies in between leaves it taken, and once that has lapsed
it is sent again, under the same id: so a receiver can tell, and nothing else is ever sent twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import msgspec
from sqlalchemy import Connection
from sqlmodel import SQLModel

from remit.store.journal import Journal
from remit.store.tables import NotifiedTable, OutboxTable

PENDING: Final = "pending"
SENT: Final = "sent"
DEAD: Final = "dead"

_COLUMNS: Final = "id, channel, event, at, body, state, attempts, next_at, error, done_at"
_NEW: Final = (
    f"INSERT OR IGNORE INTO outbox ({_COLUMNS}, taken_until) VALUES (?, ?, ?, ?, ?, 'pending', 0, ?, '', '', '')"
)
_DUE: Final = (
    f"SELECT {_COLUMNS} FROM outbox WHERE state = 'pending' AND channel = ? AND next_at <= ? AND taken_until <= ? "
    "ORDER BY rowid LIMIT ?"
)
_TAKE: Final = (
    "UPDATE outbox SET taken_until = ?, attempts = attempts + 1 "
    "WHERE id = ? AND state = 'pending' AND next_at <= ? AND taken_until <= ?"
)
_SETTLE: Final = "UPDATE outbox SET state = ?, next_at = ?, error = ?, done_at = ?, taken_until = '' WHERE id = ?"
_AGAIN: Final = "UPDATE outbox SET state = 'pending', attempts = 0, next_at = ?, taken_until = '' WHERE state = 'dead'"
_NEXT: Final = "SELECT min(max(next_at, taken_until)) FROM outbox WHERE state = 'pending' AND channel = ?"
_LIST: Final = f"SELECT {_COLUMNS} FROM outbox WHERE state <> ? ORDER BY rowid"
_OLD: Final = "DELETE FROM outbox WHERE state = 'sent' AND done_at < ?"
_CURSOR: Final = "SELECT cursor FROM notified WHERE id = 1"
_BEGIN: Final = (
    "INSERT OR IGNORE INTO notified (id, cursor) VALUES (1, (SELECT coalesce(max(position), 0) FROM entries))"
)
_ADVANCE: Final = "UPDATE notified SET cursor = ? WHERE id = 1 AND cursor = ?"
_END: Final = "SELECT coalesce(max(position), 0) FROM entries"
_TOLD: Final = (
    "SELECT streams.name, entries.seq, entries.kind FROM entries JOIN streams ON streams.id = entries.stream_id "
    "WHERE position > ? AND position <= ? AND kind IN ({}) ORDER BY position"
)


class Delivery(msgspec.Struct, frozen=True):
    """A message to one channel. Times are RFC 3339 in UTC, "" for none; `state` is pending, sent or dead."""

    id: str
    """The same at every attempt: what a receiver tells repeats by."""
    channel: str
    event: str
    at: str
    body: bytes
    state: str = PENDING
    attempts: int = 0
    next_at: str = ""
    error: str = ""
    done_at: str = ""


class Happened(msgspec.Struct, frozen=True):
    """An entry that somebody may want to hear of."""

    stream: str
    seq: int
    kind: str


class Outbox:
    """The outbox of a journal's store. Every method raises JournalError when the store can't be used."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def begin(self) -> bool:
        """Sees to it that there is one, which knows nothing of what was before; says whether there was none."""
        return await self._journal.transact(_begin)

    async def news(self, kinds: Sequence[str]) -> tuple[int, int, list[Happened]]:
        """Returns from where to where was read, and the entries of these kinds in between."""
        return await self._journal.query(partial(_news, kinds=kinds))

    async def put(self, deliveries: Iterable[Delivery], *, since: int, until: int) -> bool:
        """Adds what entries up to `until` gave, unless somebody else has read on from `since`; says whether it did."""
        return await self._journal.transact(partial(_put, deliveries=list(deliveries), since=since, until=until))

    async def add(self, deliveries: Iterable[Delivery]) -> int:
        """Adds those that are not there yet; returns how many."""
        return await self._journal.transact(partial(_add, deliveries=list(deliveries)))

    async def due(self, channel: str, now: str, limit: int) -> list[Delivery]:
        """Returns what a channel is to be told now, the oldest first, and nobody is telling it."""
        return await self._rows(_DUE, channel, now, now, limit)

    async def take(self, id: str, now: str, until: str) -> bool:
        """Takes a delivery that is due, until a moment; False where another sender was faster."""
        return await self._change(_TAKE, until, id, now, now) == 1

    async def settle(self, id: str, state: str, *, now: str, next_at: str = "", error: str = "") -> None:
        """Says how an attempt ended: sent, pending until `next_at`, or dead."""
        await self._change(_SETTLE, state, next_at, error, now if state != PENDING else "", id)

    async def again(self, now: str, ids: Sequence[str] = ()) -> int:
        """Makes dead deliveries pending, all or these; returns how many."""
        if not ids:
            return await self._change(_AGAIN, now)
        return sum([await self._change(f"{_AGAIN} AND id = ?", now, id) for id in ids])

    async def next(self, channel: str) -> str:
        """Returns when a channel's next delivery is due; "" where nothing is pending."""
        found = await self._journal.query(
            lambda connection: connection.exec_driver_sql(_NEXT, (channel,)).scalar_one_or_none()
        )
        return str(found or "")

    async def rows(self, *, all_: bool) -> list[Delivery]:
        """Returns what is pending or dead, or all there is, the oldest first."""
        return await self._rows(_LIST, "" if all_ else SENT)

    async def forget(self, before: str) -> int:
        """Drops what was sent before a moment; returns how many."""
        return await self._change(_OLD, before)

    async def _rows(self, sql: str, *parameters: object) -> list[Delivery]:
        return await self._journal.query(
            lambda connection: [Delivery(*row) for row in connection.exec_driver_sql(sql, parameters)]
        )

    async def _change(self, sql: str, *parameters: object) -> int:
        return await self._journal.transact(lambda connection: connection.exec_driver_sql(sql, parameters).rowcount)


def _begin(connection: Connection) -> bool:
    # A store that an older Remit made has no such tables yet.
    tables = [SQLModel.metadata.tables[table.__tablename__] for table in (OutboxTable, NotifiedTable)]
    SQLModel.metadata.create_all(connection, tables=tables, checkfirst=True)
    return connection.exec_driver_sql(_BEGIN).rowcount == 1


def _news(connection: Connection, kinds: Sequence[str]) -> tuple[int, int, list[Happened]]:
    cursor = int(connection.exec_driver_sql(_CURSOR).scalar_one())
    end = int(connection.exec_driver_sql(_END).scalar_one())
    if cursor >= end:
        return cursor, cursor, []
    places = ", ".join("?" for _ in kinds)
    rows = connection.exec_driver_sql(_TOLD.format(places), (cursor, end, *kinds))
    return cursor, end, [Happened(*row) for row in rows]


def _put(connection: Connection, deliveries: Sequence[Delivery], since: int, until: int) -> bool:
    if connection.exec_driver_sql(_ADVANCE, (until, since)).rowcount != 1:
        return False
    _add(connection, deliveries)
    return True


def _add(connection: Connection, deliveries: Sequence[Delivery]) -> int:
    rows = [(one.id, one.channel, one.event, one.at, one.body, one.next_at) for one in deliveries]
    return sum(connection.exec_driver_sql(_NEW, row).rowcount for row in rows)
