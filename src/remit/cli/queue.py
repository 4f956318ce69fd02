"""`remit queue`: what waits where, and how it is ruled on."""

from __future__ import annotations

from typing import Any, cast

import click

from remit.cli.drafts import says_what_is_in_force
from remit.cli.output import print_json, print_table, value
from remit.cli.settings import asynchronous, json_option, settings, store_option
from remit.cli.stores import open_store
from remit.runtime.ambient import System, stamp
from remit.runtime.queuestats import By, queue_rows, queue_stats
from remit.runtime.rulings import in_force
from remit.store.projections import Projections


@click.group()
def queue() -> None:
    """Look at queues."""


@queue.command("list")
@store_option
@json_option
@says_what_is_in_force
@asynchronous
async def list_(store: str | None, as_json: bool) -> None:
    """List the queues of the policy in force: who rules there, on which terms, and what waits."""
    async with await open_store(settings(store=store)) as journal:
        found = await Projections(journal).reviews(open_only=True)
        rows = queue_rows(await in_force(journal), found, stamp(System().now()))
    if as_json:
        return print_json(rows)
    columns = ("QUEUE", "OPEN", "CLAIMED", "OLDEST", "APPROVALS", "TIME TO LIVE", "THEN", "REVIEWERS")
    print_table(columns, [_listed(row) for row in rows], "there is no queue")
    return None


def _listed(row: dict[str, Any]) -> tuple[str, ...]:
    oldest = _time(row["oldest"]) if row["open"] else ""
    after = value(row["then_to"]) if row["then_to"] else "denied"
    who = ", ".join(value(name) for name in row["reviewers"]) or "single operator"
    counts = (str(row["open"]), str(row["claimed"]), oldest, str(row["approvals"]))
    return (value(row["queue"]), *counts, _time(row["ttl"]), after, who)


@queue.command()
@click.option(
    "--by",
    type=click.Choice(["queue", "reviewer", "rule"]),
    default="queue",
    show_default=True,
    help="What a row is of.",
)
@store_option
@json_option
@says_what_is_in_force
@asynchronous
async def stats(by: str, store: str | None, as_json: bool) -> None:
    """Show how reviews are ruled on: depth, age, breaches, time to rule, and approvals faster than anybody reads.

    Those are approvals for which there was less time than it takes to read what was shown, at 30 characters a
    second (300 words a minute): since the review came, its reviewer claimed it, or ruled on another. BREACHES are
    reviews that nobody settled in time.
    """
    async with await open_store(settings(store=store)) as journal:
        rows = await queue_stats(journal, System(), cast(By, by))
    if as_json:
        return print_json(rows)
    columns = (
        by.upper(), "OPEN", "CLAIMED", "OLDEST", "BREACHES", "APPROVED", "DENIED", "MEDIAN", "SLOWEST 10 %", "TOO FAST",
    )  # fmt: skip
    print_table(columns, [_counted(row) for row in rows], "nothing was ever reviewed")
    return None


def _counted(row: dict[str, Any]) -> tuple[str, ...]:
    fast = f"{row['too_fast']} ({_percent(row['too_fast_rate'])})" if row["too_fast"] else "0"
    return (
        value(row["name"]),
        str(row["open"]),
        str(row["claimed"]),
        _time(row["oldest"]) if row["open"] else "",
        str(row["breaches"]),
        f"{row['approved']} ({_percent(row['approval_rate'])})" if row["approved"] else "0",
        str(row["denied"]),
        _time(row["median"]),
        _time(row["slowest"]),
        fast,
    )


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.0%}"


def _time(seconds: float | None) -> str:
    """Two units at most: `2 d 3 h`, `40 s`."""
    if seconds is None:
        return ""
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole % 86_400 // 3_600, "h"), (whole % 3_600 // 60, "min"), (whole % 60, "s")]
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2]) or "0 s"
