"""`remit run`, `resume` and `work`: what drives runs."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import asdict

import click

from remit.cli import code_of
from remit.cli.inputs import read_inputs
from remit.cli.logging import log_options
from remit.cli.notify import channels_of, telling
from remit.cli.output import complaint, escaped, heading, mark, pretty, print_json
from remit.cli.settings import Settings, asynchronous, json_option, policies_option, settings, store_option
from remit.cli.stores import open_store
from remit.errors import RunError, SettingsError, UnknownId
from remit.runtime.ambient import user
from remit.runtime.app import Runtime
from remit.runtime.load import load_run
from remit.runtime.scheduler import RunReport
from remit.runtime.secrets import kept_outside
from remit.runtime.target import load_app, load_graph
from remit.store.projections import Projections

_CODES = {"done": 0, "failed": 1, "waiting": 8}


@click.command()
@click.argument("target", required=False)
@click.option("--input", "inputs", multiple=True, metavar="K=V", help="Input: k=v, k:=JSON, or @file.json; repeatable.")
@click.option("--principal", metavar="P", help="Whom the run acts for; the machine's user if not given.")
@click.option(
    "--endorse",
    multiple=True,
    metavar="SOURCE",
    help="A source that the principal stands behind: its name, TOOL or TOOL/PART; repeatable.",
)
@click.option("--purpose", default="", metavar="NAME", help="What the run is for, of purposes.yaml.")
@click.option("--wait/--no-wait", default=False, help="Stay until people have ruled, or leave and be resumed.")
@policies_option
@store_option
@json_option
@log_options
@click.pass_context
@asynchronous
async def run(
    ctx: click.Context, target: str | None, inputs: tuple[str, ...], principal: str | None, endorse: tuple[str, ...],
    purpose: str, wait: bool, policies: str | None, store: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run the graph TARGET: `module:graph` or `path/file.py:graph`.

    Exit codes: 0 done, 1 failed, 2 bad input or policy, 8 waiting for reviews.
    """
    found = settings(store=store, policies=policies, app=target)
    if not found.app:
        raise SettingsError("run what? name a TARGET (`path/file.py:graph`), or set `app` in remit.toml")
    graph = load_graph(found.app)
    given = read_inputs(inputs)
    async with open_runtime(found.app, found) as runtime:
        id = await runtime.start(
            graph, given, principal=principal or user(), target=found.app, endorse=endorse, purpose=purpose
        )
        if not as_json:
            click.echo(f"run {id}", err=True)
        try:
            report = await runtime.resume(id, wait=wait)
        except asyncio.CancelledError:
            click.echo(f"stopped in the middle; go on with `remit resume {id}`", err=True)
            raise
    show([report], as_json)
    ctx.exit(_CODES[report.status])


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--app", metavar="TARGET", help="The code to go on with; what the run was started with if not given.")
@click.option("--wait/--no-wait", default=False, help="Stay until people have ruled.")
@policies_option
@store_option
@json_option
@log_options
@click.pass_context
@asynchronous
async def resume(
    ctx: click.Context, run_id: str | None, app: str | None, wait: bool, policies: str | None, store: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Go on with RUN from where it is, or with every run that can go on.

    Exit codes: 0 done, 1 failed, 5 no such run, 7 driven by somebody else, 8 still waiting for reviews; of
    several runs, the highest.
    """
    found = settings(store=store, policies=policies, app=app)
    reports: list[RunReport] = []
    codes = [0]
    for target, runs in (await _targets(found, run_id)).items():
        async with open_runtime(target, found) as runtime:
            for id in runs:
                try:
                    reports.append(await runtime.resume(id, wait=wait))
                except RunError as error:
                    if run_id is not None:
                        raise
                    click.echo(f"remit: {complaint(str(error))}", err=True)
                    codes.append(code_of(error))
    if len(codes) == 1 and not reports and not as_json:
        click.echo("no run is unfinished", err=True)
    show(reports, as_json)
    ctx.exit(max([*codes, *(_CODES[report.status] for report in reports)]))


@click.command()
@click.option("--app", metavar="TARGET", help="The app whose runs to drive: all graphs of its module.")
@click.option("--once", is_flag=True, help="Stop when nothing can go on any more.")
@policies_option
@store_option
@json_option
@log_options
@asynchronous
async def work(app: str | None, once: bool, policies: str | None, store: str | None, as_json: bool) -> None:
    """Drive runs as rulings come in and workers fail, until stopped (Ctrl-C or SIGTERM).

    Any number of workers may share a store: each run is driven by one at a time.
    """
    found = settings(store=store, policies=policies, app=app)
    if not found.app:
        raise SettingsError("work on what? name a graph with --app, or set `app` in remit.toml")
    channels = channels_of(found)
    async with open_runtime(found.app, found) as runtime, telling(runtime.journal, channels, once=once):
        if not once and not as_json:
            click.echo(escaped(f"working on {found.app} in {found.store}; stop with Ctrl-C"), err=True)
        try:
            async with aclosing(runtime.work(once=once)) as reports:
                async for report in reports:
                    show([report], as_json)
        except asyncio.CancelledError:
            click.echo("stopped", err=True)  # which is how this command ends: it is no failure


def open_runtime(target: str, found: Settings) -> Runtime:
    """Returns the runtime of the app at `target`, with its store, policies, keys and anchor."""
    return Runtime(
        *load_app(target).graphs,
        store=found.store,
        policies=found.policies,
        keys=found.keys,
        anchor=found.anchor,
        packs=found.packs,
        secrets=kept_outside(found.secrets),
        policy_keys=found.policy_keys,
        journal_key=found.journal_key,
    )


async def _targets(found: Settings, run: str | None) -> dict[str, list[str]]:
    """Returns which runs to go on with, by the target their code is found at.

    That is the app that the settings name. Only where they name none is it what the run was started with: then
    what the store says is imported.
    """
    async with await open_store(found) as journal:
        projections = Projections(journal)
        if run is not None:
            ids = [(await projections.find_run(run)).run]
        else:
            ids = [row.run for row in reversed(await projections.runs()) if row.status == "running"]
        targets: dict[str, list[str]] = {}
        for id in ids:
            state = await load_run(journal, id)
            target = found.app or state.started.target
            if not target:
                raise SettingsError(f"run `{id}` doesn't say where its code is: name it with --app")
            if all(graph.name != state.started.graph for graph in load_app(target).graphs):
                if run is None:
                    continue
                raise UnknownId(
                    f"run `{id}` is of graph `{state.started.graph}`, not one of `{target}`: name its code with --app"
                )
            targets.setdefault(target, []).append(id)
        return targets


def show(reports: list[RunReport], as_json: bool) -> None:
    """Prints how runs stand."""
    if as_json:
        print_json(asdict(report) for report in reports)
        return
    for report in reports:
        click.echo(f"{heading(f'run {report.run}')} is {mark(report.status)}")
        for error in report.errors:
            click.echo(escaped(f"  {error}"))
        if report.status == "waiting" and report.failed:
            click.echo("  it comes to no good end any more: what is approved now is done for a run that has failed")
        if report.status == "waiting":
            for review in report.reviews:
                click.echo(f"  waits for review {review}")
            click.echo(f"  look at them with `remit review list`, and go on with `remit resume {report.run}`")
        elif report.status == "failed":
            click.echo(f"  see `remit runs show {report.run}`")
        elif report.output is not None:
            click.echo(pretty(report.output))
