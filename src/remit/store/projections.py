"""Runs and reviews in a line each: folds of the journal, brought up to date whenever they are read.

Nothing here is the truth. Every stream that got entries since the last time is folded again from its
first entry, by the one fold there is (`core.lifecycle`), and dropping it all changes nothing but time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, TypeVar

import msgspec
from sqlalchemy import Connection

from remit.core.lifecycle import RunState, State, failed_tasks, fold, is_quarantined
from remit.core.reviews import ReviewState, ReviewStatus
from remit.errors import NewerJournal, Tampered, UnknownId
from remit.store.journal import Journal

VERSION: Final = 7
"""Of the rows below: raise it whenever what they hold changes, and stores fold anew by themselves."""

QUARANTINED: Final = "quarantined"
"""The status of a run that workers leave alone; see `lifecycle.is_quarantined`."""

UNREADABLE: Final = "unreadable"
"""The status of what can't be folded; `problem` says why."""


class RunRow(msgspec.Struct, frozen=True):
    """A run in a line. Times are RFC 3339; `status` is a `RunStatus`, or `unreadable`."""

    run: str
    status: str
    graph: str = ""
    principal: str = ""
    started: str = ""
    ended: str = ""
    waiting: int = 0
    """How many of its calls wait for people."""
    calls: int = 0
    """How many were intended, and their cost in decimal digits."""
    cost: str = "0"
    worker: str = ""
    entries: int = 0
    problem: str = ""
    failed: int = 0
    """How many of its tasks failed so far: a run in which one failed comes to no good end any more."""


class ReviewRow(msgspec.Struct, frozen=True):
    """A review in a line. Times are RFC 3339; `status` is a `ReviewStatus`, or `unreadable`."""

    review: str
    status: str
    run: str = ""
    call: str = ""
    tool: str = ""
    queue: str = ""
    opened: str = ""
    expires: str = ""
    reviewer: str = ""
    ruled: str = ""
    in_doubt: bool = False
    problem: str = ""
    priority: int = 0
    claimed: str = ""
    """Who claimed it last, and until when that holds."""
    claimed_until: str = ""
    approvals: int = 0
    """How many have approved it as it stands, and how many must."""
    needed: int = 1
    activation: bool = False
    principal: str = ""
    """For whom its run acts; of an activation, nobody."""

    @property
    def open(self) -> bool:
        """Whether a person has to look: it waits for a ruling, or can't even be read."""
        return self.status in (ReviewStatus.OPEN, ReviewStatus.CLAIMED, UNREADABLE)


_Row = TypeVar("_Row", RunRow, ReviewRow)

_KINDS: Final[Mapping[str, type[RunRow] | type[ReviewRow]]] = {"run": RunRow, "review": ReviewRow}
_CURSOR: Final = "SELECT cursor FROM projection WHERE id = 1 AND version = ?"
_END: Final = "SELECT max(position) FROM entries"
_TOUCHED: Final = (
    "SELECT name FROM streams WHERE id IN "
    "(SELECT stream_id FROM entries WHERE position > ? AND position <= ?) ORDER BY name"
)
_PUT_CURSOR: Final = "INSERT OR REPLACE INTO projection (id, version, cursor) VALUES (1, ?, ?)"
_PUT_RUN: Final = "INSERT OR REPLACE INTO runs (run, summary) VALUES (?, ?)"
_PUT_REVIEW: Final = "INSERT OR REPLACE INTO reviews (review, open, summary) VALUES (?, ?, ?)"
_RUNS: Final = "SELECT summary FROM runs"
_REVIEWS: Final = "SELECT summary FROM reviews WHERE open >= ?"
_RUN_OF: Final = "json_extract(CAST(summary AS TEXT), '$.run')"
_EXPIRES: Final = "json_extract(CAST(summary AS TEXT), '$.expires')"
_RUNNING: Final = "json_extract(CAST(summary AS TEXT), '$.status') = 'running'"
_INDEXES: Final = (
    f"CREATE INDEX IF NOT EXISTS runs_running ON runs (run) WHERE {_RUNNING}",
    f"CREATE INDEX IF NOT EXISTS reviews_due ON reviews ({_EXPIRES}) WHERE open = 1",
)
"""So that what a worker asks costs by what it is told, and not by all there ever was."""
_SOME_RUNNING: Final = f"SELECT run FROM runs WHERE {_RUNNING} AND run > ? ORDER BY run LIMIT ?"
_DUE: Final = f"SELECT DISTINCT {_RUN_OF} FROM reviews WHERE open = 1 AND {_EXPIRES} <= ? LIMIT ?"
_REVIEWED: Final = f"SELECT {_RUN_OF} FROM reviews WHERE review = ?"


class Projections:
    """The folded tables of a journal. Every method raises JournalError when the store can't be used."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def runs(self) -> list[RunRow]:
        """Returns every run, the latest first."""
        rows = await self._load(RunRow, _RUNS)
        return sorted(rows, key=lambda row: (row.started, row.run), reverse=True)

    async def reviews(self, open_only: bool = False) -> list[ReviewRow]:
        """Returns every review, or those a person has to look at, the oldest first."""
        rows = await self._load(ReviewRow, _REVIEWS, int(open_only))
        return sorted(rows, key=lambda row: (row.opened, row.review))

    async def touched(self, position: int) -> tuple[int, list[str]]:
        """Returns how far the folds are, and the runs that got entries since, or whose reviews did.

        `position` -1 is now: nothing was touched since.
        """
        await self._refresh()
        return await self._journal.query(partial(_touched_since, position=position))

    async def running(self, after: str, limit: int) -> list[str]:
        """Returns up to `limit` ids of runs that are not over, in their order, past the id `after`."""
        return await self._ids(_SOME_RUNNING, after, limit)

    async def due(self, now: str, limit: int) -> list[str]:
        """Returns up to `limit` runs with an open review whose time is up at `now` (RFC 3339, UTC)."""
        return [run for run in await self._ids(_DUE, now, limit) if run]

    async def _ids(self, sql: str, *parameters: str | int) -> list[str]:
        return await self._journal.query(
            lambda connection: [row[0] for row in connection.exec_driver_sql(sql, parameters)]
        )

    async def find_run(self, prefix: str) -> RunRow:
        """Returns the run whose id is `prefix`, or the only one whose id begins with it.

        Raises:
            UnknownId: there is none, or several, which the message names.
        """
        rows = {row.run: row for row in await self.runs()}
        return rows[_only("run", prefix, rows)]

    async def find_review(self, prefix: str) -> ReviewRow:
        """Returns the review whose id is `prefix`, or the only one whose id begins with it.

        Raises:
            UnknownId: there is none, or several, which the message names.
        """
        rows = {row.review: row for row in await self.reviews()}
        return rows[_only("review", prefix, rows)]

    async def rebuild(self) -> None:
        """Drops every row and folds the whole journal anew."""
        await self._journal.transact(_drop)
        await self._refresh()

    async def _load(self, kind: type[_Row], sql: str, *parameters: int) -> list[_Row]:
        await self._refresh()
        return await self._journal.query(
            lambda connection: [
                msgspec.json.decode(row[0], type=kind) for row in connection.exec_driver_sql(sql, parameters)
            ]
        )

    async def _refresh(self) -> None:
        """Folds what was touched past the cursor, until the cursor is where the journal was on entry."""
        while True:
            cursor, end, touched = await self._journal.query(_pending)
            if cursor == end:
                return
            rows = [await self._row(stream) for stream in touched]
            found = [row for row in rows if row is not None]
            # Another process may have folded meanwhile, and further: then its rows stay.
            if await self._journal.transact(partial(_store, cursor=cursor, end=end, rows=found)):
                return

    async def _row(self, stream: str) -> RunRow | ReviewRow | None:
        family, _, name = stream.partition("/")
        if family not in _KINDS:
            return None  # only runs and reviews have a table here
        try:
            state = fold(await self._journal.read(stream))
        except (Tampered, NewerJournal) as error:
            problem = str(error)
            return _KINDS[family](name, UNREADABLE, problem=problem)
        return _summary(state)


def _summary(state: State | None) -> RunRow | ReviewRow | None:
    if isinstance(state, RunState):
        return RunRow(
            run=state.run,
            status=QUARANTINED if is_quarantined(state) else state.status,
            graph=state.started.graph,
            principal=state.started.principal,
            started=state.at,
            ended=state.ended,
            waiting=state.waiting,
            calls=state.spent.calls,
            cost=str(state.spent.cost),
            worker=state.worker,
            entries=state.head.seq + 1,
            failed=len(failed_tasks(state)),
        )
    if isinstance(state, ReviewState):
        return ReviewRow(
            review=state.opened.review,
            status=state.status,
            run=state.opened.run,
            call=state.opened.call,
            tool=state.opened.tool,
            queue=state.queue,
            opened=state.at,
            expires=state.expires,
            reviewer=state.ruled.reviewer if state.ruled else "",
            ruled=state.ruled_at,
            in_doubt=state.opened.in_doubt,
            priority=state.opened.priority,
            claimed=state.claimed.reviewer if state.claimed else "",
            claimed_until=state.claimed.until if state.claimed else "",
            approvals=len(state.approving),
            needed=state.terms.approvals,
            activation=state.opened.activation,
            principal=state.opened.principal,
        )
    return None


def _pending(connection: Connection) -> tuple[int | None, int, list[str]]:
    """Returns the cursor (None: to be folded from the start), the journal's end, and the streams between."""
    cursor: int | None = connection.exec_driver_sql(_CURSOR, (VERSION,)).scalar_one_or_none()
    end = int(connection.exec_driver_sql(_END).scalar_one() or 0)
    touched = connection.exec_driver_sql(_TOUCHED, (cursor or 0, end)) if cursor != end else ()
    return cursor, end, [row[0] for row in touched]


def _touched_since(connection: Connection, position: int) -> tuple[int, list[str]]:
    end = int(connection.exec_driver_sql(_CURSOR, (VERSION,)).scalar_one_or_none() or 0)
    runs: dict[str, None] = {}
    for (name,) in connection.exec_driver_sql(_TOUCHED, (position, end)).all() if 0 <= position < end else ():
        family, _, id = name.partition("/")
        if family == "run":
            runs[id] = None
        elif family == "review":
            runs |= dict.fromkeys(row[0] for row in connection.exec_driver_sql(_REVIEWED, (id,)) if row[0])
    return end, list(runs)


def _store(connection: Connection, cursor: int | None, end: int, rows: list[RunRow | ReviewRow]) -> bool:
    """Writes the rows if the cursor still is where they were folded from; says whether it did."""
    if connection.exec_driver_sql(_CURSOR, (VERSION,)).scalar_one_or_none() != cursor:
        return False
    if cursor is None:
        _drop(connection)  # of another version
        for index in _INDEXES:
            connection.exec_driver_sql(index)
    runs = [(row.run, msgspec.json.encode(row)) for row in rows if isinstance(row, RunRow)]
    reviews = [(row.review, int(row.open), msgspec.json.encode(row)) for row in rows if isinstance(row, ReviewRow)]
    for sql, values in ((_PUT_RUN, runs), (_PUT_REVIEW, reviews)):
        if values:
            connection.exec_driver_sql(sql, values)
    connection.exec_driver_sql(_PUT_CURSOR, (VERSION, end))
    return True


def _drop(connection: Connection) -> None:
    for table in ("runs", "reviews", "projection"):
        connection.exec_driver_sql(f"DELETE FROM {table}")


SHORTEST: Final = 4
"""Characters of an id that tell a review: acts on it are final, and one letter is typed by mistake."""


def _only(what: str, prefix: str, ids: Iterable[str]) -> str:
    if not prefix:  # which fits whatever there is: a script's variable was empty
        raise UnknownId(f"which {what}? type its id, or the beginning of it")
    found = [id for id in ids if id.startswith(prefix)]
    if prefix in found:
        return prefix
    if what == "review" and found and len(prefix) < SHORTEST:
        raise UnknownId(
            f"`{prefix}` is too short to name a review, which takes {SHORTEST} characters: do you mean {_named(found)}?"
        )
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownId(f"there is no {what} `{prefix}`")
    raise UnknownId(f"`{prefix}` fits {len(found)} {what}s: {_named(found)}: type more of it")


def _named(ids: list[str]) -> str:
    return ", ".join(sorted(ids)[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
