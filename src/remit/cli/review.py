"""`remit review`: what waits for people, and what they say."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click
import msgspec

from remit.cli.output import print_json, print_table, until
from remit.cli.review_page import print_argument, print_review
from remit.cli.settings import asynchronous, json_option, store_option
from remit.cli.sources import export_option, source
from remit.errors import BadInput, Tampered, UnknownId
from remit.runtime.ambient import System
from remit.runtime.views import review_view, run_view
from remit.store.journal import Journal
from remit.store.projections import Projections

_ACTING = ("approve", "claim", "comment", "deny", "edit", "handon", "release", "respond", "whoami")


class _Reviews(click.Group):
    """Looking is here; what rules is imported when it is used: it reads policy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name."""
        for module in _LATER:
            importlib.import_module(module)
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now if it isn't here."""
        if cmd_name not in self.commands:
            self.list_commands(ctx)
        return super().get_command(ctx, cmd_name)


_LATER = ("remit.cli.ruling", "remit.cli.following")


@click.group(cls=_Reviews, invoke_without_command=True)
@click.pass_context
def review(ctx: click.Context) -> None:
    """Rule on escalated calls.

    Without a command, on a terminal: the whole screen, for a day of reviews (`pip install 'remit[tui]'`).
    """
    if ctx.invoked_subcommand is not None:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("the screen needs a terminal: name a command, such as `remit review list`", ctx)
    try:
        screen = importlib.import_module("remit.cli.screen")
    except ImportError as error:
        raise BadInput("the screen needs textual: `pip install 'remit[tui]'`, or name a command") from error
    screen.start()


@review.command("list")
@click.option("--all", "all_", is_flag=True, help="Closed ones too.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, metavar="N", help="At most so many rows; 100 if not given."
)
@export_option
@store_option
@json_option
@asynchronous
async def list_(all_: bool, limit: int, bundle: str | None, store: str | None, as_json: bool) -> None:
    """List the reviews that wait, the oldest first. JSON has all of them."""
    async with source(store, bundle) as journal:
        found = await Projections(journal).reviews(open_only=not all_)
        if as_json:
            return print_json(msgspec.to_builtins(row) for row in found)
        rows = []
        now = System().now()
        for row in found[:limit]:
            shown = None if row.problem else (await review_view(journal, row.review))["shown"]
            reasons = shown["reasons"] if shown else ["[erased]"]
            rest = until(row.expires, now) if row.open else row.reviewer
            rows.append((row.review, row.status, row.queue, row.tool, rest, row.problem or "; ".join(reasons)))
    columns = ("REVIEW", "STATUS", "QUEUE", "TOOL", "RULED BY" if all_ else "EXPIRES", "WHY")
    print_table(columns, rows, "nothing waits for a review")
    if len(found) > limit:
        click.echo(f"and {len(found) - limit:,} more: see --limit, or take the next with `remit review next`", err=True)
    return None


@review.command()
@click.argument("review_id", metavar="REVIEW")
@click.option("--full", is_flag=True, help="Cut nothing, however long it is.")
@click.option("--arg", "argument", metavar="NAME", help="This argument only, in full.")
@export_option
@store_option
@json_option
@asynchronous
async def show(
    review_id: str, full: bool, argument: str | None, bundle: str | None, store: str | None, as_json: bool
) -> None:
    """Show REVIEW (an id, or its beginning): the call, why it waits, and what either answer does.

    What others wrote is escaped where it isn't plainly visible. A value over 2,000 characters is cut; all of it,
    and the code that approving then takes, is shown by --arg or --full.
    """
    async with source(store, bundle) as journal:
        view = await review_view(journal, (await Projections(journal).find_review(review_id)).review)
        told = not (as_json or argument)
        run = await run_of(journal, view) if told else None
        rules = await rules_of(journal, view) if told else []
    if argument is not None and argument not in (view["args"] or {}):
        known = ", ".join(f"`{name}`" for name in view["args"] or {}) or "none"
        raise BadInput(f"the call has no argument `{argument}`; it has {known}")
    if as_json:
        print_json([view])
    elif argument is not None:
        print_argument(view, argument)
    else:
        print_review(view, run, rules, full=full)


async def run_of(journal: Journal, view: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the view of a review's run; None where it can't be read: that keeps nobody from saying no."""
    try:
        return await run_view(journal, view["run"])
    except (Tampered, UnknownId):
        return None


async def rules_of(journal: Journal, view: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the rules that brought a call to its reviewers, with the value of each part of their conditions.

    None where that can't be said, because a value was erased: that keeps nobody from saying no.
    """
    from remit.runtime.tracing import trace  # noqa: PLC0415 - it compiles the rules; who lists reviews waits for none

    if view["activation"] or view["in_doubt"]:
        return []
    try:
        (traced,) = await trace(journal, view["run"], view["call"])
    except (Tampered, UnknownId):
        return []
    shown = {rule["digest"] for rule in view["rules"]}
    return [rule for rule in traced["rules_considered"] if rule["digest"] in shown]
