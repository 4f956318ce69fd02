"""How queues are doing: depth, age, breaches, how long rulings take, and which were made faster than anybody reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from remit.core.entries import (
    Entry,
    ReviewClaimed,
    ReviewExpired,
    ReviewHandedOn,
    ReviewOpened,
    ReviewRuled,
)
from remit.core.lifecycle import fold
from remit.core.reading import is_too_fast
from remit.core.reviews import ReviewState, ReviewStatus, is_expired
from remit.errors import NewerJournal, Tampered
from remit.runtime.ambient import Ambient, stamp
from remit.runtime.rulings import InForce
from remit.store.journal import Journal
from remit.store.projections import ReviewRow

By = Literal["queue", "reviewer", "rule"]
_SHOWN: Final = (0, "/shown")


@dataclass(frozen=True, slots=True)
class _Ruling:
    """One ruling: `since` is from when on its reviewer could have read it, `characters` what there was to read."""

    body: ReviewRuled
    queue: str
    rules: tuple[str, ...]
    opened: str
    since: str
    at: str
    characters: int | None


@dataclass(slots=True)
class _Tally:
    opened: int = 0
    open: int = 0
    claimed: int = 0
    oldest: float = 0.0
    breaches: int = 0
    rulings: list[_Ruling] = field(default_factory=list)


async def queue_stats(journal: Journal, ambient: Ambient, by: By) -> list[dict[str, Any]]:
    """Returns a row for each queue, reviewer or rule that any review ever had. What can't be read is left out.

    `breaches` are reviews that nobody settled in time; `oldest`, `median` and `slowest` (the 90th percentile) are in
    seconds. `too_fast` counts approvals for which there was less time than reading takes: since the review came,
    the reviewer claimed it, or they ruled on another, whichever was last.
    """
    now = stamp(ambient.now())
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    rulings: list[_Ruling] = []
    for stream in await journal.streams("review/"):
        entries = await journal.read(stream)
        try:
            state = fold(entries)
        except (Tampered, NewerJournal):
            continue
        if isinstance(state, ReviewState):
            shown = (await journal.payloads(stream)).get(_SHOWN)
            rulings += _rulings(entries, len(shown.value.decode()) if shown else None)
            for name in _names(state, by):
                _count(tallies[name], state, entries, now)
    for ruling in _in_order(rulings):
        names = {"queue": (ruling.queue,), "reviewer": (ruling.body.reviewer,), "rule": ruling.rules}[by]
        for name in names:
            tallies[name].rulings.append(ruling)
    return [_row(by, name, tally) for name, tally in sorted(tallies.items())]


def _names(state: ReviewState, by: By) -> tuple[str, ...]:
    if by == "queue":
        return (state.queue,)
    if by == "rule":
        return tuple(f"{hit.policy}/{hit.rule}" for hit in state.opened.disclosed)
    return (state.claimed.reviewer,) if state.claimed else ()


def _count(tally: _Tally, state: ReviewState, entries: Iterable[Entry], now: str) -> None:
    tally.opened += 1
    tally.breaches += sum(
        isinstance(entry.body, ReviewExpired) or (isinstance(entry.body, ReviewHandedOn) and not entry.body.reviewer)
        for entry in entries
    )
    if state.waits:
        tally.open += 1
        tally.claimed += bool(state.holder(now))
        tally.breaches += is_expired(state, now)
        tally.oldest = max(tally.oldest, _between(state.at, now))


def _rulings(entries: Iterable[Entry], characters: int | None) -> list[_Ruling]:
    found = []
    queue, came, opened = "", "", ""
    rules: tuple[str, ...] = ()
    claims: dict[str, str] = {}
    for entry in entries:
        body = entry.body
        if isinstance(body, ReviewOpened):
            queue, came, opened = body.queue, entry.at, entry.at
            rules = tuple(f"{hit.policy}/{hit.rule}" for hit in body.disclosed)
        elif isinstance(body, ReviewHandedOn):
            queue, came, claims = body.to, entry.at, {}
        elif isinstance(body, ReviewClaimed):
            claims[body.reviewer] = entry.at
        elif isinstance(body, ReviewRuled):
            since = max(came, claims.get(body.reviewer, ""))
            found.append(_Ruling(body, queue, rules, opened, since, entry.at, characters))
    return found


def _in_order(rulings: list[_Ruling]) -> list[_Ruling]:
    """Returns rulings by time; nobody reads one thing while they rule on another."""
    last: dict[str, str] = {}
    found = []
    for one in sorted(rulings, key=lambda ruling: ruling.at):
        since = max(one.since, last.get(one.body.reviewer, ""))
        found.append(_Ruling(one.body, one.queue, one.rules, one.opened, since, one.at, one.characters))
        last[one.body.reviewer] = one.at
    return found


def _row(by: By, name: str, tally: _Tally) -> dict[str, Any]:
    approved = [ruling for ruling in tally.rulings if ruling.body.approved]
    times = sorted(_between(ruling.opened, ruling.at) for ruling in tally.rulings)
    read = [ruling for ruling in approved if ruling.characters is not None]
    fast = [ruling for ruling in read if is_too_fast(ruling.characters or 0, _between(ruling.since, ruling.at))]
    return {
        "by": by,
        "name": name,
        "opened": tally.opened,
        "open": tally.open,
        "claimed": tally.claimed,
        "oldest": round(tally.oldest, 3),
        "breaches": tally.breaches,
        "approved": len(approved),
        "denied": len(tally.rulings) - len(approved),
        "approval_rate": _rate(len(approved), len(tally.rulings)),
        "median": _quantile(times, 0.5),
        "slowest": _quantile(times, 0.9),
        "too_fast": len(fast),
        "too_fast_rate": _rate(len(fast), len(read)),
    }


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _quantile(times: list[float], share: float) -> float | None:
    """The nearest rank; None of nothing."""
    return round(times[max(0, -(-int(share * 10) * len(times) // 10) - 1)], 3) if times else None


def _between(start: str, end: str) -> float:
    return max((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 0.0)


def queue_rows(force: InForce, reviews: Iterable[ReviewRow], now: str) -> list[dict[str, Any]]:
    """Returns a row for each queue of the policy in force, with its terms and what of `reviews` waits there now."""
    waiting: dict[str, list[ReviewRow]] = defaultdict(list)
    for row in reviews:
        if row.status in (ReviewStatus.OPEN, ReviewStatus.CLAIMED):
            waiting[row.queue].append(row)
    people = force.people
    rows = []
    for name in sorted({*people.queues, *waiting}):
        queue, here = people.queue(name), waiting[name]
        rows.append(
            {
                "queue": name,
                "description": queue.description if queue else "",
                "reviewers": sorted(people.members(queue)) if queue else [],
                "approvals": queue.terms.approvals if queue else 0,
                "ttl": queue.ttl if queue else 0,
                "then_to": queue.terms.next if queue else "",
                "open": len(here),
                "claimed": sum(now < row.claimed_until for row in here),
                "oldest": round(max((_between(row.opened, now) for row in here), default=0.0), 3),
            }
        )
    return rows
