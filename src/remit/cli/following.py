"""`remit review next`, `watch` and `wait`: a day of reviews, and scripts that need an answer."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing

import click
import msgspec

from remit.cli import DONE, FAILED, STALE, TIMED_OUT
from remit.cli.output import escaped, heading, mark, moment, print_json, until, value
from remit.cli.review import review, rules_of, run_of, titled
from remit.cli.review_page import print_review
from remit.cli.settings import asynchronous, json_option, key_option, settings, store_option
from remit.cli.stores import open_store
from remit.cli.who import who_acts
from remit.errors import BadInput
from remit.runtime.ambient import System
from remit.runtime.views import review_view
from remit.runtime.waiting import changes, claim_next, is_approved, is_denied, settled
from remit.store.projections import Projections, ReviewRow

_QUEUE = click.option("--queue", default="", metavar="NAME", help="Of this queue only.")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@review.command(name="next")
@_QUEUE
@key_option
@store_option
@json_option
@asynchronous
async def next_(queue: str, key: str | None, store: str | None, as_json: bool) -> int:
    """Claim the most urgent review that you may rule on, and show it: by priority, then by deadline.

    One that you hold already comes first. Exit codes: 0 yours, 1 there is none for you, 4 your key is no reviewer's.
    """
    found = settings(store=store, review_key=key)
    async with await open_store(found) as journal:
        reviewer = await who_acts(journal, found.review_key)
        state = await claim_next(journal, System(), reviewer, queue)
        view = await review_view(journal, state.opened.review) if state else None
        run = await run_of(journal, view) if view and not as_json else None
        rules = await rules_of(journal, view) if view and not as_json else []
    if as_json:
        print_json([view] if view else [])
    elif view is None:
        click.echo("nothing waits for you", err=True)
    else:
        print_review(view, run, rules)
    return DONE if view else FAILED


@review.command(name="watch")
@_QUEUE
@store_option
@json_option
@asynchronous
async def watch_(queue: str, store: str | None, as_json: bool) -> None:
    """Tell of the reviews that wait, and of whatever happens to any, until stopped (Ctrl-C or SIGTERM).

    While nothing happens, it does nothing. With --json, an array for each time that something happened.
    """
    async with await open_store(settings(store=store)) as journal:
        try:
            async with aclosing(changes(journal, queue)) as every:
                async for rows in every:
                    found = [await titled(journal, row) for row in rows]
                    if as_json:
                        print_json({**msgspec.to_builtins(row), "title": title} for row, title in found)
                    for row, title in [] if as_json else found:
                        click.echo(_line(row, title))
        except asyncio.CancelledError:
            click.echo("stopped", err=True)  # which is how this command ends: it is no failure


def _line(row: ReviewRow, title: str) -> str:
    if row.problem:
        return f"{row.review}  {mark(row.status)}  {escaped(row.problem)}"
    now = System().now()
    if not row.open:
        rest = f"by {value(row.reviewer)} at {moment(row.ruled)}" if row.reviewer else ""
    else:
        votes = f"{row.approvals} of {row.needed} approved" if row.approvals else ""
        held = f"{value(row.claimed)} until {moment(row.claimed_until)}" if row.status == "claimed" else ""
        rest = "  ".join(part for part in (f"expires {until(row.expires, now)}", votes, held) if part)
    return f"{row.review}  {mark(row.status)}  {value(row.queue)}  {escaped(title)}  {rest}".rstrip()


@review.command(name="wait")
@click.argument("review_id", metavar="REVIEW")
@click.option("--timeout", metavar="TIME", help="How long, such as `30s`, `5m` or `2h`; for ever if not given.")
@store_option
@json_option
@asynchronous
async def wait_(review_id: str, timeout: str | None, store: str | None, as_json: bool) -> int:
    """Wait until REVIEW is ruled on.

    Exit codes: 0 approved, 1 denied or withdrawn, 3 timed out, 5 no such review, 7 expired.
    """
    seconds = None if timeout is None else _duration(timeout)
    async with await open_store(settings(store=store)) as journal:
        id = (await Projections(journal).find_review(review_id)).review
        state = await settled(journal, System(), id, seconds)
        view = await review_view(journal, id)
    if as_json:
        print_json([view])
    elif state is None:
        click.echo(f"review {id} still waits", err=True)
    else:
        word = view["status"] if not state.waits else "expired"
        by = f" by {value(state.ruled.reviewer)}" if state.ruled else ""
        click.echo(f"{heading('review ' + id)} is {mark(word)}{by}")
    if state is None:
        return TIMED_OUT
    return DONE if is_approved(state) else FAILED if is_denied(state) else STALE


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise BadInput(f"`{text}` is no time to wait: say `30s`, `5m` or `2h`")
    return float(found[1]) * _UNITS[found[2]]
