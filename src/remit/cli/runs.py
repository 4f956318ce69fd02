"""`remit runs`: what ran, what was decided, and where it waits."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from remit.cli.output import escaped, fields, folded, heading, mark, moment, pretty, print_json, print_table, value
from remit.cli.settings import asynchronous, json_option, settings, store_option
from remit.cli.stores import open_store
from remit.runtime.views import run_view
from remit.store.projections import Projections, RunRow


@click.group()
def runs() -> None:
    """Look at runs."""


@runs.command("list")
@store_option
@json_option
@asynchronous
async def list_(store: str | None, as_json: bool) -> None:
    """List runs, the latest first."""
    async with await open_store(settings(store=store)) as journal:
        found = await Projections(journal).runs()
    if as_json:
        return print_json({**msgspec.to_builtins(row), "status": _status(row)} for row in found)
    columns = ("RUN", "STATUS", "WAITING", "CALLS", "STARTED (UTC)", "GRAPH", "PRINCIPAL")
    rows = [
        (
            row.run,
            _shown(row),
            str(row.waiting or ""),
            str(row.calls),
            moment(row.started).removesuffix(" UTC"),
            row.graph,
            row.problem or row.principal,
        )
        for row in found
    ]
    print_table(columns, rows, "no run in this store yet: start one with `remit run`")
    return None


def _status(row: RunRow) -> str:
    return "waiting" if row.status == "running" and row.waiting else row.status


def _shown(row: RunRow) -> str:
    """The status; of a run that goes on though a task has failed, that too."""
    status = _status(row)
    return f"{status}, failing" if row.failed and status in ("waiting", "running") else status


@runs.command()
@click.argument("run")
@store_option
@json_option
@asynchronous
async def show(run: str, store: str | None, as_json: bool) -> None:
    """Show RUN (an id, or its beginning): tasks, calls, verdicts with reasons, and where it waits."""
    view = await _view(run, store)
    if as_json:
        return print_json([view])
    click.echo(f"{heading('run ' + view['run'])} is {mark(view['status'])}")
    if view["failed"] and view["status"] in ("waiting", "running"):
        click.echo(f"it comes to no good end any more: {escaped(', '.join(view['failed']))} failed")
    _about(view)
    for task in view["tasks"]:
        if task["instances"]:
            continue  # a fan-out: each of its tasks is told
        click.echo(f"\n{heading(task['task'])}  {mark(task['status'])}")
        if task["cause"]:
            click.echo(folded(_error(task["cause"], task["error"]), "  "))
        for call in view["calls"]:
            if call["task"] == task["task"]:
                _call(call)
    if view["output"] is not None:
        click.echo(f"\n{heading('output')}")
        click.echo(folded(pretty(view["output"], 8_000), "  "))
    return None


def _about(view: dict[str, Any]) -> None:
    fields(
        [
            ("graph", escaped(f"{view['graph']} ({view['target']})" if view["target"] else view["graph"])),
            ("principal", value(view["principal"])),
            *([("purpose", value(view["purpose"]))] if view["purpose"] else []),
            ("started", f"{moment(view['started'])} by {value(view['starter'])}"),
            ("ended", moment(view["ended"])),
            ("policies", view["policies"][:12]),
            ("input", value(view["input"], 500)),
            ("failed", ", ".join(escaped(task) for task in view["failed"])),
            ("spent", f"{view['spent']['calls']} calls, cost {view['spent']['cost']}"),
        ]
    )


def _call(call: dict[str, Any]) -> None:
    position = call["call"].rpartition("#")[2]
    click.echo(folded(f"{escaped(call['tool'])}({_args(call['args'])})", f"  #{position} "))
    rules = ", ".join(hit["rule"] + (" (broken)" if hit["broken"] else "") for hit in call["rules"]) or "no rule"
    broken = [hit for hit in call["broken"] if hit not in call["rules"]]
    fields(
        [
            ("verdict", f"{mark(call['outcome'])} by {escaped(rules)}" if call["outcome"] else ""),
            *(("because", escaped(reason)) for reason in call["reasons"] if call["outcome"] != "allow"),
            ("broken", ", ".join(escaped(hit["rule"]) for hit in broken)),
            ("changed", escaped(", ".join(call["changed"]))),
            ("obliged", escaped("; ".join(call["obliged"]))),
            ("shadow", ", ".join(escaped(f"would {hit['effect']}: {hit['rule']}") for hit in call["shadow"])),
            *(("review", _review(review)) for review in call["reviews"]),
            ("status", mark(call["status"]) + (f" ({escaped(call['because'])})" if call["because"] else "")),
            ("attempts", str(call["attempts"]) if call["attempts"] > 1 else ""),
            ("result", _lost(call) or (value(call["result"], 300) if call["ok"] else "")),
            ("error", _error(call["cause"], call["error"])),
        ],
        indent=5,
    )


def _review(review: dict[str, Any]) -> str:
    by = f" by {escaped(review['reviewer'])}" if review["reviewer"] else f", expires {moment(review['expires'])}"
    return f"{review['review']} in {escaped(review['queue'])}: {mark(review['status'])}{by}"


def _lost(call: dict[str, Any]) -> str:
    return "none: it is done, and what it returned can't be had" if call["lost"] else ""


def _error(cause: str, error: str) -> str:
    return ": ".join(escaped(part) for part in (cause, error) if part)


def _args(args: Any) -> str:
    if not isinstance(args, dict):
        return value(args, 200)
    return ", ".join(f"{escaped(name)}={value(found, 200, quoted=True)}" for name, found in args.items())


@runs.command()
@click.argument("run")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "dot", "mermaid"]),
    default="text",
    show_default=True,
    help="dot is for Graphviz; mermaid is for Markdown.",
)
@store_option
@json_option
@asynchronous
async def graph(run: str, form: str, store: str | None, as_json: bool) -> None:
    """Draw the graph of RUN with the status of its tasks."""
    view = await _view(run, store)
    tasks = view["graph_tasks"]
    if as_json:
        return print_json(tasks)
    counts = {task["task"]: task["instances"] for task in view["tasks"]}
    click.echo({"text": _text, "dot": _dot, "mermaid": _mermaid}[form](tasks, counts))
    return None


def _label(task: dict[str, Any], counts: dict[str, int]) -> str:
    return f"{task['id']} x{counts.get(task['id'], 0)}" if task["over"] else task["id"]


def _text(tasks: list[dict[str, Any]], counts: dict[str, int]) -> str:
    width = max(len(_label(task, counts)) for task in tasks)
    lines = []
    for task in tasks:
        after = f"  after {', '.join(task['after'])}" if task["after"] else ""
        lines.append(f"{_label(task, counts).ljust(width)}  {mark(task['status'])}{after}")
    return "\n".join(lines)


def _dot(tasks: list[dict[str, Any]], counts: dict[str, int]) -> str:
    nodes = [f'  "{task["id"]}" [label="{_label(task, counts)}\\n{task["status"]}"];' for task in tasks]
    edges = [f'  "{need}" -> "{task["id"]}";' for task in tasks for need in task["after"]]
    return "\n".join(["digraph run {", "  rankdir=LR;", "  node [shape=box];", *nodes, *edges, "}"])


def _mermaid(tasks: list[dict[str, Any]], counts: dict[str, int]) -> str:
    names = {task["id"]: f"t{index}" for index, task in enumerate(tasks)}
    nodes = [f'  {names[task["id"]]}["{_label(task, counts)}<br/>{task["status"]}"]' for task in tasks]
    edges = [f"  {names[need]} --> {names[task['id']]}" for task in tasks for need in task["after"]]
    return "\n".join(["flowchart LR", *nodes, *edges])


async def _view(run: str, store: str | None) -> dict[str, Any]:
    async with await open_store(settings(store=store)) as journal:
        return await run_view(journal, (await Projections(journal).find_run(run)).run)
