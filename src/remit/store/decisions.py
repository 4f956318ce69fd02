"""The journal's decisions in big batches, straight from the file: for deciding a great many of them again.

Entries are read as they are stored, unchecked: `remit audit verify` checks them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec
import orjson
from sqlalchemy import Connection

from remit.core.entries import PolicyLoaded, unseal
from remit.errors import Tampered
from remit.policykit.backtest import KINDS, UNREAD, Loaded, Row
from remit.store.journal import Journal

_T = TypeVar("_T")
_BATCH: Final = 20_000
"""Positions that are read in one go: a read transaction that isn't held longer lets the log be emptied."""
_KINDS: Final = ", ".join(f"'{kind}'" for kind in KINDS)
# The values of an entry become one JSON object here: so there is one row an entry, and one thing to parse. A path is
# letters, digits, `_` and `/`, and values are JSON.
_ROWS: Final = (
    "SELECT kind, bytes, CASE WHEN kind IN ('call.decided', 'call.decided_again') THEN "
    "(SELECT CAST('{' || group_concat('\"' || path || '\":' || value) || '}' AS BLOB) FROM payloads"
    f" WHERE payloads.stream_id = entries.stream_id AND payloads.seq = entries.seq AND path NOT IN {UNREAD}) END"
    f" FROM entries WHERE position > ? AND position <= ? AND kind IN ({_KINDS}) ORDER BY position"
)
_LOADED: Final = (
    "SELECT bytes FROM entries WHERE stream_id = (SELECT id FROM streams WHERE name = 'policy') ORDER BY seq"
)
_ARTIFACT: Final = "SELECT bytes FROM artifacts WHERE digest = ?"
_END: Final = "SELECT coalesce(max(position), 0) FROM entries"
_NEXT: Final = "SELECT position, bytes FROM entries WHERE position >= ? ORDER BY position LIMIT 1"


class _At(msgspec.Struct):
    at: str


async def with_decisions(journal: Journal, since: str, job: Callable[[list[Loaded], Iterator[Row]], _T]) -> _T:
    """Runs `job` on every recorded policy set and the rows of decisions since a time, on a reader's thread.

    Args:
        since: RFC 3339, UTC; empty for all there are.
    """

    def run(connection: Connection) -> _T:
        # Nothing here goes in circles: looking for circles after every 700 new objects costs a quarter of the time.
        before = gc.get_threshold()
        gc.set_threshold(200_000, 20, 20)
        try:
            return job(_loaded(connection), _rows(connection, since))
        finally:
            gc.set_threshold(*before)

    return await journal.query(run)


def _loaded(connection: Connection) -> list[Loaded]:
    found = []
    for (data,) in connection.exec_driver_sql(_LOADED).all():
        body = unseal(data).body
        if isinstance(body, PolicyLoaded):
            types, texts = (
                connection.exec_driver_sql(_ARTIFACT, (name,)).scalar() for name in (body.types, body.texts)
            )
            if not isinstance(types, bytes) or not isinstance(texts, bytes):
                raise Tampered(f"policy set {body.digest[:12]}: its files, or its tools, are not there")
            found.append(Loaded(body.digest, types, orjson.loads(texts)["files"]))
    return found


def _rows(connection: Connection, since: str) -> Iterator[Row]:
    raw: Any = connection.connection.driver_connection  # SQLAlchemy's rows would take as long as deciding
    (end,) = raw.execute(_END).fetchone()
    start = _begin(raw, since, end) if since else 0
    for begin in range(start, end, _BATCH):
        for kind, data, values in raw.execute(_ROWS, (begin, min(begin + _BATCH, end))):
            yield Row(kind, data, values or b"{}")


def _begin(raw: Any, since: str, end: int) -> int:
    """Returns the position after which entries were written at `since` or later; they are written in that order."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        row = raw.execute(_NEXT, (middle + 1,)).fetchone()
        if row is None or msgspec.json.decode(row[1], type=_At).at >= since:
            high = middle
        else:
            low = row[0]
    return low
