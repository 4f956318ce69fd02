"""`remit review`: what waits for people, and what they say."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click
import msgspec

from remit.cli.output import print_json, print_table, until
from remit.cli.review_page import print_argument, print_review
from remit.cli.settings import asynchronous, json_option, key_option, settings, store_option
from remit.cli.sources import export_option, source
from remit.core.identity import identity
from remit.errors import BadInput, RemitError, Tampered, UnknownId
from remit.runtime.ambient import System
from remit.runtime.views import review_view, run_view
from remit.store.journal import Journal
from remit.store.projections import Projections, ReviewRow

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
@click.option("--queue", default="", metavar="NAME", help="Those in this queue only.")
@click.option("--tool", default="", metavar="NAME", help="Those of calls of this tool only.")
@click.option("--principal", default="", metavar="WHO", help="Those of runs for this principal only.")
@click.option("--text", default="", metavar="WORDS", help="Those with these words in title, id, run or call only.")
@click.option("--all", "all_", is_flag=True, help="Closed ones too, the oldest first.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, metavar="N", help="At most so many rows; 100 if not given."
)
@export_option
@store_option
@json_option
@asynchronous
async def list_(
    queue: str, tool: str, principal: str, text: str, all_: bool, limit: int, bundle: str | None, store: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """List the reviews that wait, the most urgent first: by priority, then by age. JSON has all of them."""
    async with source(store, bundle) as journal:
        rows = [
            row
            for row in await Projections(journal).reviews(open_only=not all_)
            if queue in ("", row.queue) and tool in ("", row.tool) and is_same(principal, row.principal)
        ]
        if not all_:
            rows.sort(key=lambda row: (-row.priority, row.opened, row.review))
        found: list[tuple[ReviewRow, str]] = []
        count = 0
        for row in rows:
            if text or as_json or count < limit:
                one = await titled(journal, row)
                if text and not is_in(text, *one):
                    continue
                found.append(one)
            count += 1
    if as_json:
        return print_json({**msgspec.to_builtins(row), "title": title} for row, title in found)
    now = System().now()
    print_table(
        ("REVIEW", "STATUS", "QUEUE", "RULED BY" if all_ else "EXPIRES", "FOR", "TITLE"),
        [
            (
                row.review,
                f"claimed by {row.claimed}" if row.status == "claimed" else row.status,
                row.queue,
                until(row.expires, now) if row.open else row.reviewer,
                row.principal,
                row.problem or title,
            )
            for row, title in found[:limit]
        ],
        "nothing waits for a review" if not (queue or tool or principal or text) else "no such review waits",
    )
    if count > limit:
        click.echo(f"and {count - limit:,} more: see --limit, or take the next with `remit review next`", err=True)
    return None


def is_same(wanted: str, principal: str) -> bool:
    """Whether a principal is the one that is looked for; any is, where none is looked for."""
    return not wanted or identity(wanted) == identity(principal)


def is_in(wanted: str, row: ReviewRow, title: str) -> bool:
    """Whether what is looked for is in what a reviewer sees of a review in a line, or in its ids."""
    places = (
        title,
        row.problem,
        row.review,
        row.queue,
        row.tool,
        row.run,
        row.call,
        row.principal,
        row.status,
        row.claimed,
    )
    return wanted.casefold() in " ".join(places).casefold()


async def titled(journal: Journal, row: ReviewRow) -> tuple[ReviewRow, str]:
    """Returns a review's row and title; where it can't be shown, the row says why, and there is no title."""
    if row.problem:
        return row, ""
    try:
        return row, str((await review_view(journal, row.review))["title"])
    except Tampered as error:
        return msgspec.structs.replace(row, problem=str(error)), ""


@review.command()
@click.argument("review_id", metavar="REVIEW")
@click.option("--full", is_flag=True, help="Cut nothing, however long it is.")
@click.option("--arg", "argument", metavar="NAME", help="This argument only, in full.")
@export_option
@key_option
@store_option
@json_option
@asynchronous
async def show(
    review_id: str, full: bool, argument: str | None, bundle: str | None, key: str | None, store: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Show REVIEW (an id, or its beginning): the call, why it waits, what either answer does, and what you may do.

    What others wrote is escaped where it isn't plainly visible. A value over 2,000 characters is cut; all of it,
    and the code that approving then takes, is shown by --arg or --full.
    """
    async with source(store, bundle) as journal:
        view = await review_view(journal, (await Projections(journal).find_review(review_id)).review)
        told = not (as_json or argument)
        run = await run_of(journal, view) if told else None
        rules = await rules_of(journal, view) if told else []
        you = await standing_of(journal, view, key) if told and bundle is None else ""
    if argument is not None and argument not in (view["args"] or {}):
        known = ", ".join(f"`{name}`" for name in view["args"] or {}) or "none"
        raise BadInput(f"the call has no argument `{argument}`; it has {known}")
    if as_json:
        print_json([view])
    elif argument is not None:
        print_argument(view, argument)
    else:
        print_review(view, run, rules, full=full, you=you)


async def standing_of(journal: Journal, view: dict[str, Any], key: str | None) -> str:
    """Returns in words whether whose key it is may rule on a review; "" where no key is named, or nobody can any more.

    A key that the settings name, and that is nobody's, keeps nobody from looking; one named with `--key` is an error.
    """
    from remit.cli.who import who_acts  # noqa: PLC0415 - it reads policy; who lists reviews waits for none
    from remit.runtime.rulings import why_not  # noqa: PLC0415

    name = settings(review_key=key).review_key
    if not name or view["status"] not in ("open", "claimed"):
        return ""
    try:
        reviewer = await who_acts(journal, name)
        why = await why_not(journal, System(), view["review"], reviewer)
    except RemitError:
        if key is not None:
            raise
        return ""
    return f"{reviewer.name}: {why}" if why else f"{reviewer.name}: you may rule on it"


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
