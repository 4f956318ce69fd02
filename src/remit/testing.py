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
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from types import TracebackType

BEGINNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""A Monday morning."""


class VirtualClock:
    """An `Ambient` whose time moves only when the test says so, and whose entropy is the same every time.

    With `jump`, a sleep moves the time itself instead of waiting, for retries with backoff. It moves only while nothing
    real is under way: while a tool, a fact provider or a detector works that isn't itself asleep on this clock, who
    sleeps waits for it. So work that takes real time doesn't run out of virtual time.
    """

    def __init__(self, start: datetime = BEGINNING, *, seed: int = 0, jump: bool = False) -> None:
        self._now = start
        self._start = start
        self._jump = jump
        self._random = random.Random(seed)
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._timeouts: list[tuple[datetime, int, asyncio.Timeout]] = []
        self._bodies: dict[_Limit, int] = {}

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
        """Waits until the test has moved the time on so far; with `jump`, moves it where nothing real is under way."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._order), future))
        within = _WITHIN.get()
        for limit in within:
            self._bodies[limit] = self._bodies.get(limit, 0) + 1
        try:
            self._may_jump()
            await asyncio.sleep(0)  # others have their turn, also where the time has moved already
            await future
        finally:
            for limit in within:
                if limit in self._bodies:
                    self._bodies[limit] -= 1

    def timeout(self, seconds: float) -> _Limit:
        """A timeout by the test's time."""
        limit = _Limit(self)
        heapq.heappush(self._timeouts, (self._now + timedelta(seconds=seconds), next(self._order), limit.timeout))
        return limit

    def entropy(self, size: int) -> bytes:
        """`size` bytes that are the same in every run of the test."""
        return self._random.randbytes(size)

    def _began(self, limit: _Limit) -> None:
        self._bodies[limit] = 0

    def _ended(self, limit: _Limit) -> None:
        self._bodies.pop(limit, None)
        self._may_jump()

    def _may_jump(self) -> None:
        """Moves the time to the next who sleeps, where everybody who works under a limit sleeps, too."""
        if self._jump and self._sleepers and all(self._bodies.values()):
            until = self._sleepers[0][0]
            self.advance(max((until - self._now).total_seconds(), 0.0))

    def _expire(self, timeout: asyncio.Timeout) -> None:
        try:
            timeout.reschedule(asyncio.get_running_loop().time())
        except RuntimeError:
            return  # its body has ended


_WITHIN: ContextVar[tuple[_Limit, ...]] = ContextVar("remit_virtual_limits", default=())


class _Limit:
    """A timeout that tells its clock while its body runs, and whoever sleeps in the body that they do."""

    def __init__(self, clock: VirtualClock) -> None:
        self.timeout = asyncio.timeout(None)
        self._clock = clock

    def expired(self) -> bool:
        """Whether the time has run out."""
        return self.timeout.expired()

    async def __aenter__(self) -> _Limit:
        await self.timeout.__aenter__()
        self._clock._began(self)
        self._token = _WITHIN.set((*_WITHIN.get(), self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _WITHIN.reset(self._token)
        self._clock._ended(self)
        await self.timeout.__aexit__(kind, error, trace)
