"""What the streams `counter/<id>` say: one for each count of its own. The id doesn't say what is counted apart."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.entries.facts import Commitment, Fact


class CounterCounted(Fact, frozen=True):
    """In the append that records the intent of this call, or that opens its reviews. Counts are numbered from 1."""

    counter: str
    number: int
    run: str
    call: str
    amount: Commitment | None = None
    """What the call adds, a decimal as text; it adds one, if nothing is said."""
    reviews: tuple[str, ...] = ()
    """It counts while one of these waits."""


KINDS: Mapping[str, type[Fact]] = {
    "counter.counted": CounterCounted,
}
