"""`remit policy backtest`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import click

from remit.bundles import Bundle
from remit.cli.drafts import says_what_is_in_force
from remit.cli.output import escaped, fields, heading, mark, moment, print_json, print_table
from remit.cli.policy.sources import app_option, placed, since, tools_of, tools_option
from remit.cli.settings import Settings, asynchronous, folder_argument, json_option, settings, store_option
from remit.cli.stores import open_store
from remit.errors import BadInput, PolicyError
from remit.policykit.backtest import Backtest, Loaded, Report, Row
from remit.policykit.bundlerows import bundle_loaded, bundle_rows
from remit.policykit.pages import page, summary
from remit.policykit.toolset import FILE, Toolset
from remit.runtime.policyfolder import read_policies
from remit.store.decisions import with_decisions


@click.command()
@folder_argument
@click.option(
    "--since", "period", default="", metavar="TIME", help="Decisions since then: 30d, 12h, or RFC 3339 in UTC."
)
@click.option("--export", "bundle", metavar="FILE", help="Decisions of an export instead of the store's.")
@click.option("--html", metavar="FILE", help="Write a page as well.")
@click.option(
    "--fail-on", type=click.Choice(["widening", "any"]), help="Exit with 1 if anything is less strict, or differs."
)
@app_option
@tools_option
@store_option
@json_option
@click.pass_context
@says_what_is_in_force
@asynchronous
async def backtest(
    ctx: click.Context, policies: str | None, period: str, bundle: str | None, html: str | None, fail_on: str | None,
    app: str | None, tools: str | None, store: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Decide recorded calls again under the policies in DIR, each from exactly the facts that it saw.

    What would have been allowed, escalated or denied and wasn't; what can't be decided, because the journal does not
    have it; how many reviews more or fewer; where people ruled otherwise. An export is read as it is: verify it first.

    Exit codes: 0 done, 1 what --fail-on names was found, 2 the policies don't load.
    """
    found = settings(policies=policies, app=app, store=store)
    files = read_policies(found.policies, found.packs)
    known = _tools(found, files, app, tools)
    begin = since(period)

    def job(loaded: list[Loaded], rows: Iterable[Row]) -> Report:
        shown = sys.stderr.isatty()
        made = Backtest(files, loaded, known, _tick if shown else None)
        made.feed(rows)
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)
        return made.done

    try:
        if bundle is not None:
            with closing(Bundle(Path(bundle))) as opened:
                report = job(bundle_loaded(opened), bundle_rows(opened, begin))
        else:
            async with await open_store(found) as journal:
                report = await with_decisions(journal, begin, job)
    except PolicyError as error:
        raise PolicyError(tuple(placed(found.policies, problem) for problem in error.problems)) from error
    if html is not None:
        _write(html, page(report, found.policies))
    if as_json:
        print_json([report.row()])
    else:
        _show(found.policies, report)
    differs = report.changes or report.undecidable
    ctx.exit(1 if (fail_on == "widening" and report.widened) or (fail_on == "any" and differs) else 0)


def _tools(found: Settings, files: dict[str, str], app: str | None, tools: str | None) -> Toolset | None:
    """Returns today's tools, where there are any; recorded ones are always as they were recorded."""
    return tools_of(found, files, app, tools) if tools or found.app or FILE in files else None


def _tick(decisions: int) -> None:
    click.echo(f"\r{decisions:,} decisions", nl=False, err=True)


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"`{file}` can't be written: {error.strerror}") from error


def _show(name: str, report: Report) -> None:
    if not report.decisions:
        click.echo("there is no decision in this period", err=True)
        return
    period = f"{moment(report.first)} to {moment(report.last)}"
    click.echo(f"{heading(name)}: {report.decisions:,} decisions made again, {period}")
    fields(summary(report))
    if report.by_rule:
        rows = [(was, then, f"{count:,}", rule) for (was, then, rule), count in report.by_rule.most_common()]
        print_table(("WAS", "WOULD BE", "DECISIONS", "RULE"), rows, "")
    for why, count in report.undecided.most_common():
        click.echo(escaped(f"can't be decided, {count:,} times: {why}"))
    for one in report.examples:
        then = mark(one.would_be) if one.would_be else "can't be decided"
        click.echo(f"{escaped(one.call)} {escaped(one.tool)}: was {mark(one.was)}, {then}: {escaped(one.why)}")
    click.echo(f"policy set {report.policies}")
