"""Whether a result's rows are good enough to go on with: there, complete, in range, fresh, and like they used to be.

A gate before the data, not after the damage: what fails is kept from the agent.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from remit.core.detectors import Detector, Finding, Places, Report
from remit.errors import BadInput

_MOST = 100
_FLOOR = 1e-4
"""A share of nothing would make the index infinite."""
_AHEAD = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Baseline:
    """How a number used to be spread: rising `edges` of bins, and the share of rows in each of `len(edges) + 1`."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float], bins: int = 10) -> Baseline:
        """Returns the baseline of `values`, in bins of equal shares.

        Raises:
            BadInput: fewer values than bins.
        """
        if len(values) < bins or bins < 2:
            raise BadInput(f"{len(values)} values are too few for {bins} bins")
        ordered = sorted(values)
        edges = tuple(sorted({ordered[len(ordered) * part // bins] for part in range(1, bins)}))
        return cls(edges, _shares(ordered, edges))


@dataclass(frozen=True, slots=True)
class Checks:
    """What rows must hold. A field is a name, or `a.b` for one inside another.

    Attributes:
        rows: fewest and most rows.
        required: fields that every row has, not null and not empty text.
        ranges: smallest and largest value of a number.
        one_of: the only values of a field.
        unique: fields that together name a row.
        nulls: largest share (0 to 1) of rows in which a field may be absent or null.
        fresh: a field with a time (RFC 3339), and how old the newest may be; a time to come fails too.
        drift: a number, and how it used to be spread.
        drift_limit: population stability index from which on it has changed; 0.2 is the customary limit.
    """

    rows: tuple[int, int | None] = (0, None)
    required: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    one_of: Mapping[str, Sequence[object]] = field(default_factory=dict)
    unique: tuple[str, ...] = ()
    nulls: Mapping[str, float] = field(default_factory=dict)
    fresh: Mapping[str, timedelta] = field(default_factory=dict)
    drift: Mapping[str, Baseline] = field(default_factory=dict)
    drift_limit: float = 0.2


class QualityFacts(msgspec.Struct, frozen=True):
    """How good the rows are."""

    passed: bool = True
    failed: tuple[str, ...] = ()
    """Checks that failed: `rows`, `required`, `ranges`, `one_of`, `unique`, `nulls`, `fresh`, `drift`."""
    fields: tuple[str, ...] = ()
    """Fields in which one failed."""
    rows: int = 0
    bad_rows: int = 0
    drift: float = 0.0
    """Largest population stability index of the fields with a baseline."""


def quality(checks: Checks, now: Callable[[], datetime], name: str = "quality") -> Detector[QualityFacts]:
    """Returns a detector of bad rows. Each value looked at is a list of objects, or one object.

    Args:
        checks: what rows must hold.
        now: the clock, for freshness; its time is aware.
    """

    def look(places: Places) -> Report[QualityFacts]:
        reading = _Reading(checks, now())
        for pointer, value in places:
            reading.value(pointer, value)
        return Report(reading.facts(), tuple(reading.findings))

    return Detector(name, QualityFacts, look)


class _Reading:
    def __init__(self, checks: Checks, now: datetime) -> None:
        self._checks = checks
        self._now = now
        self._rows = 0
        self._bad: set[tuple[str, int]] = set()
        self._failed: set[tuple[str, str]] = set()
        self._drift = 0.0
        self.findings: list[Finding] = []

    def value(self, pointer: str, value: object) -> None:
        """Checks one list of rows."""
        rows = list(value) if isinstance(value, (list, tuple)) else [value]
        self._rows += len(rows)
        fewest, most = self._checks.rows
        if len(rows) < fewest or (most is not None and len(rows) > most):
            self._fail("rows", "", pointer)
        for index, row in enumerate(rows):
            if isinstance(row, Mapping):
                self._row(pointer, index, row)
            else:
                self._fail("required", "", f"{pointer}/{index}", index)
        found = [row for row in rows if isinstance(row, Mapping)]
        self._unique(pointer, found)
        self._nulls(pointer, found)
        self._fresh(pointer, found)
        self._drifts(pointer, found)

    def facts(self) -> QualityFacts:
        """Returns all of it as facts."""
        return QualityFacts(
            passed=not self._failed,
            failed=tuple(sorted({check for check, _ in self._failed})),
            fields=tuple(sorted({name for _, name in self._failed if name})),
            rows=self._rows,
            bad_rows=len(self._bad),
            drift=round(self._drift, 4),
        )

    def _fail(self, check: str, name: str, pointer: str, row: int | None = None) -> None:
        self._failed.add((check, name))
        if row is not None:
            self._bad.add((pointer.rpartition("/")[0], row))
        if len(self.findings) < _MOST:
            self.findings.append(Finding(check, pointer))

    def _row(self, pointer: str, index: int, row: Mapping[str, object]) -> None:
        place = f"{pointer}/{index}"
        for name in self._checks.required:
            value = _at(row, name)
            if value is None or (isinstance(value, str) and not value.strip()):
                self._fail("required", name, place, index)
        for name, (least, most) in self._checks.ranges.items():
            value = _at(row, name)
            if value is not None and not ((number := _number(value)) is not None and least <= number <= most):
                self._fail("ranges", name, place, index)
        for name, allowed in self._checks.one_of.items():
            value = _at(row, name)
            # `True == 1` in Python, and in no data.
            if value is not None and not any(value == one and type(value) is type(one) for one in allowed):
                self._fail("one_of", name, place, index)

    def _unique(self, pointer: str, rows: Sequence[Mapping[str, object]]) -> None:
        if not self._checks.unique:
            return
        seen: set[str] = set()
        for index, row in enumerate(rows):
            key = repr([_at(row, name) for name in self._checks.unique])
            if key in seen:
                self._fail("unique", self._checks.unique[0], f"{pointer}/{index}", index)
            seen.add(key)

    def _nulls(self, pointer: str, rows: Sequence[Mapping[str, object]]) -> None:
        for name, share in self._checks.nulls.items():
            absent = sum(_at(row, name) is None for row in rows)
            if rows and absent / len(rows) > share:
                self._fail("nulls", name, pointer)

    def _fresh(self, pointer: str, rows: Sequence[Mapping[str, object]]) -> None:
        for name, oldest in self._checks.fresh.items():
            times = [_time(_at(row, name)) for row in rows]
            read = [time for time in times if time is not None]
            newest = max(read, default=None)
            # A few minutes to come are clocks that differ.
            if newest is None or len(read) < len(times) or not -_AHEAD <= self._now - newest <= oldest:
                self._fail("fresh", name, pointer)

    def _drifts(self, pointer: str, rows: Sequence[Mapping[str, object]]) -> None:
        for name, baseline in self._checks.drift.items():
            numbers = [number for row in rows if (number := _number(_at(row, name))) is not None]
            index = stability(baseline, numbers) if numbers else math.inf
            self._drift = max(self._drift, min(index, 1e6))
            if index > self._checks.drift_limit:
                self._fail("drift", name, pointer)


def stability(baseline: Baseline, values: Sequence[float]) -> float:
    """Returns the population stability index of `values` against the baseline: the sum over bins of
    `(share - was) * ln(share / was)`, as in credit scoring. 0 means the same; above 0.2 it is said to have changed."""
    shares = _shares(values, baseline.edges)
    return sum(
        (max(now, _FLOOR) - max(was, _FLOOR)) * math.log(max(now, _FLOOR) / max(was, _FLOOR))
        for now, was in zip(shares, baseline.shares, strict=True)
    )


def _shares(values: Sequence[float], edges: tuple[float, ...]) -> tuple[float, ...]:
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    return tuple(count / len(values) for count in counts)


def _at(row: Mapping[str, object], name: str) -> object:
    value: object = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _number(value: object) -> float | None:
    """Returns a number, or text that is one (money is written so); None for anything else, NaN included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
