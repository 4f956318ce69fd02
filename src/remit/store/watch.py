"""Tells waiters when the journal has grown, whichever process made it grow.

One thread and one connection serve all waiters of a journal, and only while there are any: SQLite's
`PRAGMA data_version` says, without reading a page, whether another connection has committed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from threading import Condition, Thread
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from remit.errors import JournalError
from remit.store.opening import why

POLL_SECONDS: Final = 0.03
IDLE_SECONDS: Final = 0.12
"""Between looks once nothing has happened for `_BUSY` of them."""
_BUSY: Final = 100

_Waiter = asyncio.Future[int]


class Watch:
    """Waits for positions. Wake-ups of this process are immediate, of others within `IDLE_SECONDS`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = Condition()
        self._waiters: dict[_Waiter, int] = {}
        self._known = 0
        self._stopped = False
        self._thread: Thread | None = None

    async def wait(self, seen: int, timeout: float) -> int:
        """Returns the last known position once it is past `seen`, or `seen` after `timeout` seconds.

        Raises:
            JournalError: the store can't be read, or the journal was closed.
        """
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._stopped:
                raise JournalError("the journal is closed: open it again")
            if self._known > seen:
                return self._known
            self._waiters[waiter] = seen
            if self._thread is None:
                self._thread = Thread(target=self._main, name="remit-watch", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            async with asyncio.timeout(timeout):
                return await waiter
        except TimeoutError:
            return max(self._known, seen)
        finally:
            with self._changed:
                self._waiters.pop(waiter, None)

    def advanced(self, position: int) -> None:
        """Wakes those that wait for less than `position`. From any thread."""
        with self._changed:
            self._known = max(self._known, position)
            woken = [waiter for waiter, seen in self._waiters.items() if seen < position]
            self._wake(woken, position)

    def stop(self) -> None:
        """Fails the waiters and ends the thread. Blocks."""
        with self._changed:
            self._stopped = True
            self._wake(list(self._waiters), JournalError("the journal is closed: open it again"))
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _main(self) -> None:
        connection: Connection | None = None
        version, quiet = -1, 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiters or self._stopped)
                if self._stopped:
                    break
            try:
                if connection is None:
                    connection, version = self._engine.connect(), -1
                # On the driver's own cursor, because this is all that an idle process does.
                now = connection.connection.cursor().execute("PRAGMA data_version").fetchone()[0]
                quiet += 1
                if now != version:
                    quiet = 0
                    position = connection.exec_driver_sql("SELECT max(position) FROM entries").scalar_one()
                    version = now
                    self.advanced(position or 0)
            except (SQLAlchemyError, sqlite3.Error, OSError) as error:
                failure = JournalError(f"the journal couldn't be read: {why(error)}")
                with self._changed:
                    self._wake(list(self._waiters), failure)
                if connection is not None:
                    connection.invalidate()
                    connection.close()
                    connection = None
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, POLL_SECONDS if quiet < _BUSY else IDLE_SECONDS)
        if connection is not None:
            connection.close()

    def _wake(self, waiters: list[_Waiter], outcome: int | JournalError) -> None:
        for waiter in waiters:
            self._waiters.pop(waiter, None)
            with suppress(RuntimeError):  # the loop is closed, and its waiters are gone
                waiter.get_loop().call_soon_threadsafe(_settle, waiter, outcome)


def _settle(waiter: _Waiter, outcome: int | JournalError) -> None:
    if waiter.done():
        return  # timed out or cancelled meanwhile
    if isinstance(outcome, JournalError):
        waiter.set_exception(outcome)
    else:
        waiter.set_result(outcome)
