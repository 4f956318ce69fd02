"""Hints about which worker drives a run, so that workers don't take runs from each other.

A lease is never safety: it may be lost, doubled or wrong by any clock. What keeps two owners apart is
the journal, where (stream, seq) can be written once. Times are epoch seconds, handed in.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from remit.store.journal import Journal

_TAKE: Final = (
    "INSERT INTO leases (run, worker, until) VALUES (?, ?, ?) "
    "ON CONFLICT (run) DO UPDATE SET worker = excluded.worker, until = excluded.until "
    "WHERE leases.until <= ? OR leases.worker = excluded.worker"
)
_RENEW: Final = "UPDATE leases SET until = ? WHERE run = ? AND worker = ?"
_RELEASE: Final = "DELETE FROM leases WHERE run = ? AND worker = ?"
_HOLDER: Final = "SELECT worker FROM leases WHERE run = ?"
_LAPSED: Final = "SELECT run FROM leases WHERE until <= ? ORDER BY until, run"


class Leases:
    """The leases of a journal's store. Every method raises JournalError when the store can't be used."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def take(self, run: str, worker: str, now: float, ttl: float) -> bool:
        """Takes a run that is free, lapsed or its own, for `ttl` seconds. False: it is another worker's."""
        return await self._change(_TAKE, run, worker, now + ttl, now)

    async def renew(self, run: str, worker: str, now: float, ttl: float) -> bool:
        """Extends this worker's lease, lapsed or not. False: it was released, or another worker took it."""
        return await self._change(_RENEW, now + ttl, run, worker)

    async def release(self, run: str, worker: str) -> bool:
        """Gives this worker's lease up. False: it had none."""
        return await self._change(_RELEASE, run, worker)

    async def holder(self, run: str) -> str:
        """Returns the worker whose lease the run's is, lapsed or not; "" where nobody has one."""
        found = await self._journal.query(
            lambda connection: connection.exec_driver_sql(_HOLDER, (run,)).scalar_one_or_none()
        )
        return str(found or "")

    async def lapsed(self, now: float) -> list[str]:
        """Returns the runs whose lease ran out and that nobody took since, longest ago first."""
        return await self._journal.query(
            lambda connection: [row[0] for row in connection.exec_driver_sql(_LAPSED, (now,))]
        )

    async def _change(self, sql: str, *parameters: str | float) -> bool:
        def change(connection: Connection) -> bool:
            return connection.exec_driver_sql(sql, parameters).rowcount == 1

        return await self._journal.transact(change)
