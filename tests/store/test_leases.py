"""Leases: hints about who drives a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from remit.core.entries import Sealed
from remit.store.journal import Append, Journal
from remit.store.leases import Leases

Chain = Callable[..., tuple[Sealed, ...]]


async def test_a_run_is_one_workers_until_its_lease_lapses(journal: Journal) -> None:
    leases = Leases(journal)
    assert await leases.take("a", "one", 100.0, 10.0)
    assert not await leases.take("a", "two", 105.0, 10.0)
    assert await leases.take("a", "one", 105.0, 10.0)  # its own, extended
    assert not await leases.take("a", "two", 114.9, 10.0)
    assert await leases.take("a", "two", 115.0, 10.0)
    assert not await leases.renew("a", "one", 116.0, 10.0)


async def test_a_lapsed_lease_can_be_renewed_until_another_takes_it(journal: Journal) -> None:
    leases = Leases(journal)
    await leases.take("a", "one", 100.0, 10.0)
    assert await leases.renew("a", "one", 200.0, 10.0)
    assert not await leases.take("a", "two", 205.0, 10.0)
    assert not await leases.renew("b", "one", 200.0, 10.0)


async def test_a_released_run_is_free_and_not_lapsed(journal: Journal) -> None:
    leases = Leases(journal)
    await leases.take("a", "one", 100.0, 10.0)
    assert not await leases.release("a", "two")
    assert await leases.release("a", "one")
    assert not await leases.release("a", "one")
    assert await leases.lapsed(1e9) == []
    assert await leases.take("a", "two", 101.0, 10.0)


async def test_lapsed_leases_are_listed_longest_ago_first(journal: Journal) -> None:
    leases = Leases(journal)
    for run, until in (("a", 30.0), ("b", 10.0), ("c", 20.0)):
        await leases.take(run, "one", 0.0, until)
    assert await leases.lapsed(9.9) == []
    assert await leases.lapsed(20.0) == ["b", "c"]
    assert await leases.lapsed(1e9) == ["b", "c", "a"]


async def test_of_many_who_take_a_run_at_once_one_gets_it(url: str) -> None:
    async with await Journal.open(url) as one, await Journal.open(url) as two:
        taken = await asyncio.gather(
            *(Leases(journal).take("a", f"{n} {m}", 0.0, 1.0) for n, journal in enumerate((one, two)) for m in range(9))
        )
    assert sum(taken) == 1


async def test_leases_and_appends_keep_their_order_and_do_not_disturb_each_other(
    journal: Journal, chain: Chain
) -> None:
    leases = Leases(journal)
    outcomes = await asyncio.gather(
        *(journal.append(Append((entry,))) for entry in chain("run/a", 20)),
        *(leases.take(f"r{number}", "one", 0.0, 1.0) for number in range(20)),
        *(journal.append(Append((entry,))) for entry in chain("run/b", 20)),
    )
    assert outcomes == [None] * 20 + [True] * 20 + [None] * 20
    assert await journal.position() == 40
