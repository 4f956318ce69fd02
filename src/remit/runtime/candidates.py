"""Which runs a worker should look at, so that a hundred thousand that wait for people cost it nothing.

A run can go on only when something has happened to it or its reviews, when a time is up, or when its worker has
died. Those are looked at first. That a wake-up may be lost does no harm: every running run is looked at in turn, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from remit.runtime.ambient import stamp
from remit.store.leases import Leases
from remit.store.projections import Projections

_IN_TURN: Final = 25
"""Running runs that are looked at in turn at once."""


class Candidates:
    """What one worker has to look at next. It remembers a place in the journal, and no run that is parked."""

    def __init__(self, projections: Projections, leases: Leases) -> None:
        self._projections = projections
        self._leases = leases
        self._seen = -1
        self._turn = ""
        self._busy: set[str] = set()
        self.all_seen = False
        """Whether every running run has been looked at once."""

    async def next(self, now: datetime) -> list[str]:
        """Returns runs to look at, each once; `look_later` keeps one for the next time."""
        position, touched = await self._projections.touched(self._seen)
        self._seen = position
        found = dict.fromkeys(self._busy)
        self._busy = set()
        found |= dict.fromkeys(touched)
        found |= dict.fromkeys(await self._leases.lapsed(now.timestamp()))
        found |= dict.fromkeys(await self._projections.due(stamp(now), _IN_TURN))
        turn = await self._projections.running(self._turn, _IN_TURN)
        self._turn = turn[-1] if len(turn) == _IN_TURN else ""
        self.all_seen = self.all_seen or not self._turn
        return list(found | dict.fromkeys(turn))

    def look_later(self, run: str) -> None:
        """Says that another worker drives it: what woke this one may come too late for that one."""
        self._busy.add(run)
