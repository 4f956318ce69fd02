"""The fold of a counter's stream, and what it stands at.

That each count takes the stream one entry further is what makes a limit hold across processes: two workers that would
both take the last of it append at the same place, and only one of them can.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

import msgspec

from remit.core import entries as e
from remit.core.entries import Entry, Head
from remit.errors import Tampered


class CounterState(msgspec.Struct, frozen=True):
    """How far a counter's stream has come."""

    counter: str
    number: int
    head: Head


def apply_counter(state: CounterState | None, entry: Entry) -> CounterState:
    """Returns the counter after `entry`. Raises Tampered: such an entry can't be there."""
    body, place = entry.body, f"{entry.stream}#{entry.seq} {entry.kind}"
    if not isinstance(body, e.CounterCounted):
        raise Tampered(f"{place}: it does not belong in a counter's stream")
    before = state.number if state else 0
    if body.number != before + 1:
        raise Tampered(f"{place}: count {body.number} after {before}")
    if state is not None and body.counter != state.counter:
        raise Tampered(f"{place}: it counts `{body.counter}`, and the stream `{state.counter}`")
    return CounterState(body.counter, body.number, entry.head)


@dataclass(slots=True)
class Counts:
    """What was counted, oldest first, with running totals: a window is two look-ups, however much there is."""

    head: Head = field(default_factory=Head)
    number: int = 0
    times: list[str] = field(default_factory=list)
    totals: list[Decimal] = field(default_factory=list)
    waiting: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Number of a count to the reviews that it waits for."""

    def add(self, at: str, amount: Decimal, reviews: tuple[str, ...], head: Head) -> None:
        """Counts one more; `at` as entries write times."""
        with localcontext(prec=200):
            total = (self.totals[-1] if self.totals else Decimal(0)) + amount
        self.number += 1
        self.times.append(at)
        self.totals.append(total)
        if reviews:
            self.waiting[self.number] = reviews
        self.head = head

    def stands_at(self, window: int, now: str) -> Decimal:
        """Returns the sum of what was counted in the last `window` seconds; 0 seconds: ever."""
        if not self.totals:
            return Decimal(0)
        # A clock never runs back in a journal, so times are in order.
        out = bisect_right(self.times, _before(now, window)) if window else 0
        with localcontext(prec=200):
            return self.totals[-1] - (self.totals[out - 1] if out else Decimal(0))


def stand(counts: Iterable[Counts], *, waits: bool, window: int, now: str) -> str:
    """Returns what a counter stands at, in all the streams of its count, as facts hold it: a decimal as text."""
    if waits:
        return str(sum(len(one.waiting) for one in counts))
    with localcontext(prec=200):
        return f"{sum((one.stands_at(window, now) for one in counts), Decimal(0)):f}"


def _before(now: str, seconds: int) -> str:
    moment = datetime.fromisoformat(now) - timedelta(seconds=seconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
