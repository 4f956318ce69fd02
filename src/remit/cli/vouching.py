"""`remit runs endorse` and `declassify`: people's word on where a run's data comes from, while it goes on."""

from __future__ import annotations

from typing import Any

import click

from remit.cli.output import escaped, heading, print_json
from remit.cli.runs import runs
from remit.cli.settings import asynchronous, json_option, key_option, settings, store_option
from remit.cli.stores import open_store
from remit.cli.who import who_acts
from remit.runtime.ambient import System
from remit.runtime.vouching import vouch
from remit.store.projections import Projections

_REASON = click.option("--reason", required=True, help="Why; recorded.")


async def _vouch(run: str, source: str, reason: str, label: str, **common: Any) -> None:
    found = settings(store=common["store"], review_key=common["key"])
    async with await open_store(found) as journal:
        id = (await Projections(journal).find_run(run)).run
        who = await who_acts(journal, found.review_key, "")
        body = await vouch(journal, System(), id, who, source, reason, label)
    row = {
        "run": id, "source": source, "label": label, "by": body.by, "single_operator": body.single_operator,
    }  # fmt: skip
    if common["as_json"]:
        return print_json([row])
    what = f"`{escaped(label)}` is no label of what comes from" if label else "endorsed:"
    click.echo(f"{heading('run ' + id)} {what} {escaped(source)}, says {escaped(body.by)}")
    click.echo("  it counts from the run's next call on; what waits for a ruling goes on waiting")
    return None


@runs.command()
@click.argument("run")
@click.argument("source")
@_REASON
@key_option
@store_option
@json_option
@asynchronous
async def endorse(run: str, source: str, reason: str, **common: Any) -> None:
    """Endorse SOURCE for RUN while it goes on: a tool, a part of what it returns as tool/part, or a name.

    Only those whom `flow: {endorse: [...]}` in queues.yaml names may, and never the run's agents.

    Exit codes: 0 recorded, 2 refused, 4 not entitled, 5 no such run, 7 the run is over.
    """
    await _vouch(run, source, reason, "", **common)


@runs.command()
@click.argument("run")
@click.argument("label")
@click.argument("source")
@_REASON
@key_option
@store_option
@json_option
@asynchronous
async def declassify(run: str, label: str, source: str, reason: str, **common: Any) -> None:
    """Remove LABEL, for RUN, from what comes from SOURCE: a tool, or a part of what it returns as tool/part.

    Only those whom `flow: {declassify: [...]}` in queues.yaml names may. `untrusted` is not removed so: see `endorse`.

    Exit codes: as of `endorse`.
    """
    await _vouch(run, source, reason, label, **common)
