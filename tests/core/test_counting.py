"""What a counter stands at, and the life of its stream."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.counting import Counts, stand
from remit.core.entries import CounterCounted, Entry, Head, seal, unseal
from remit.core.lifecycle import apply, fold
from remit.errors import Tampered

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def at(seconds: int) -> str:
    moment = START + timedelta(seconds=seconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=6)


@given(st.lists(st.tuples(st.integers(0, 50), AMOUNTS), max_size=30), st.integers(0, 2_000), st.integers(0, 500))
def test_a_window_is_the_exact_sum_of_what_was_counted_in_it(
    steps: list[tuple[int, Decimal]], after: int, window: int
) -> None:
    counts, seconds, counted = Counts(), 0, []
    for step, amount in steps:
        seconds += step
        counts.add(at(seconds), amount, (), Head())
        counted.append((seconds, amount))
    now = seconds + after
    expected = sum((amount for when, amount in counted if not window or when > now - window), Decimal(0))
    assert Decimal(stand([counts], waits=False, window=window, now=at(now))) == expected


def counted(number: int, counter: str = "acts", head: Head | None = None) -> Entry:
    body = CounterCounted(counter, number, "r1", f"work#{number}")
    return unseal(seal("counter/c1", head or Head(), at(number), "gate", body).bytes)


def test_counts_follow_each_other_one_by_one_and_are_of_one_counter() -> None:
    first = counted(1)
    state = fold([first])
    assert fold([first, counted(2, head=first.head)]) is not None
    with pytest.raises(Tampered, match="count 3 after 1"):
        apply(state, counted(3, head=first.head))
    with pytest.raises(Tampered, match="it counts `others`, and the stream `acts`"):
        apply(state, counted(2, "others", head=first.head))
    with pytest.raises(Tampered, match="count 2 after 0"):
        fold([counted(2)])
