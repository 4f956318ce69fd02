"""`remit policy shadow`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import click

from remit.bundles import Bundle
from remit.cli.drafts import says_what_is_in_force
from remit.cli.output import escaped, folded, heading, mark, moment, print_json, print_table
from remit.cli.policy.sources import since
from remit.cli.settings import asynchronous, json_option, settings, store_option
from remit.cli.stores import open_store
from remit.policykit.backtest import Loaded, Row
from remit.policykit.bundlerows import bundle_loaded, bundle_rows
from remit.policykit.shadow import Shadow, ShadowRule
from remit.store.decisions import with_decisions


@click.command()
@click.option("--since", "period", default="", metavar="TIME", help="Since then: 30d, 12h, or RFC 3339 in UTC.")
@click.option("--export", "bundle", metavar="FILE", help="Decisions of an export instead of the store's.")
@store_option
@json_option
@says_what_is_in_force
@asynchronous
async def shadow(period: str, bundle: str | None, store: str | None, as_json: bool) -> None:
    """Say what the rules in mode `shadow` would have done, from what was recorded.

    For each rule, those of the newest policy set first: how many calls there were of its tools, for how many it
    applied, how many verdicts it would have changed, and the newest of them. A call is counted once. An export is
    read as it is: verify it first.

    Exit codes: 0 done, 2 bad input, or entries that can't be read.
    """
    begin = since(period)

    def job(loaded: list[Loaded], rows: Iterable[Row]) -> list[ShadowRule]:
        shown = sys.stderr.isatty()
        made = Shadow(loaded, _tick if shown else None)
        made.feed(rows)
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)
        return made.rules()

    if bundle is not None:
        with closing(Bundle(Path(bundle))) as opened:
            rules = job(bundle_loaded(opened), bundle_rows(opened, begin))
    else:
        async with await open_store(settings(store=store)) as journal:
            rules = await with_decisions(journal, begin, job)
    if as_json:
        print_json(rule.row() for rule in rules)
    else:
        _show(rules)


def _tick(decisions: int) -> None:
    click.echo(f"\r{decisions:,} decisions", nl=False, err=True)


def _show(rules: list[ShadowRule]) -> None:
    rows = [
        (
            rule.name, f"{rule.calls:,}", f"{rule.would_have} {rule.applied:,}", f"{rule.changed:,}",
            f"{rule.broken:,}", "the newest" if rule.newest else rule.policies[:12],
        )
        for rule in rules
    ]  # fmt: skip
    print_table(
        ("RULE", "CALLS", "WOULD HAVE", "CHANGED", "BROKEN", "POLICY SET"), rows, "no rule is, or was, in mode shadow"
    )
    for rule in rules:
        if rule.examples:
            click.echo(f"\n{heading(rule.name)}")
        for one in rule.examples:
            then = "the same" if one.was == one.would_be else mark(one.would_be)
            line = f"{one.run}/{one.call} {one.tool}, {moment(one.at)}: was "
            click.echo(folded(f"{escaped(line)}{mark(one.was)}, would be {then}: {escaped(one.why)}", "  "))
