"""For tests, ours and yours: a clock that belongs to the test.

clock = VirtualClock()
async with Runtime(graph, store=..., policies=..., ambient=clock) as runtime:
    ...
    clock.advance(3600)
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""A Monday morning."""


class VirtualClock:
    """An `Ambient` whose time moves only when the test says so, and whose entropy is the same every time.

    With `jump`, a sleep moves the time itself instead of waiting: for retries with backoff.
    """

    def __init__(self, start: datetime = BEGINNING, *, seed: int = 0, jump: bool = False) -> None:
        self._now = start
        self._start = start
        self._jump = jump
        self._random = random.Random(seed)
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._timeouts: list[tuple[datetime, int, asyncio.Timeout]] = []

    def now(self) -> datetime:
        """The test's time, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the start."""
        return (self._now - self._start).total_seconds()

    def advance(self, seconds: float) -> None:
        """Moves the time on, and wakes whoever slept until then or has run out of time."""
        self._now += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
        while self._timeouts and self._timeouts[0][0] <= self._now:
            timeout = heapq.heappop(self._timeouts)[2]
            # A timeout whose body has ended can't be moved any more, and needn't be.
            if timeout.when() is None and not timeout.expired():
                self._expire(timeout)

    async def sleep(self, seconds: float) -> None:
        """Waits until the test has moved the time on so far; with `jump`, moves it."""
        if self._jump:
            self.advance(seconds)
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._order), future))
        await future

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """A timeout by the test's time."""
        timeout = asyncio.timeout(None)
        heapq.heappush(self._timeouts, (self._now + timedelta(seconds=seconds), next(self._order), timeout))
        return timeout

    def entropy(self, size: int) -> bytes:
        """`size` bytes that are the same in every run of the test."""
        return self._random.randbytes(size)

    def _expire(self, timeout: asyncio.Timeout) -> None:
        try:
            timeout.reschedule(asyncio.get_running_loop().time())
        except RuntimeError:
            return  # its body has ended
