"""`python -m remit.probes [--json] [--list] [NAME...]` makes the attacks on this installation, and prints a table.

Exit codes: 0 all held, 1 one failed, 2 no such probe.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import click

from remit.probes.suite import PROBES, Outcome, Probe, attempt


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an array of objects.")
@click.option("--list", "only_list", is_flag=True, help="Say which there are, and attack nothing.")
@click.pass_context
def probes(context: click.Context, names: Sequence[str], as_json: bool, only_list: bool) -> None:
    """Attack approvals, each time on a real runtime over a store of its own in a temporary folder.

    NAME is (the beginning of) a probe's name, or a group of them, such as `quorum`; all without one.

    Exit codes: 0 all held, 1 one failed, 2 no such probe.
    """
    chosen = _chosen(names)
    if only_list:
        for probe in chosen:
            click.echo(f"{probe.part:<10} {probe.name}\n{'':<10}   {probe.attack}")
        return
    outcomes = asyncio.run(_attack(chosen, quiet=as_json))
    failed = [one for one in outcomes if not one.held]
    if as_json:
        click.echo(json.dumps([_row(one) for one in outcomes], indent=2))
    else:
        seconds = sum(one.seconds for one in outcomes)
        click.echo(
            f"\n{len(outcomes) - len(failed)} of {len(outcomes)} attacks failed to get through ({seconds:.1f} s)"
        )
    for one in failed:
        trace = "\n".join(map(_plain, one.trace.splitlines()))
        click.echo(f"\n{one.probe.name}: {_plain(one.why)}\n{trace}", err=True)
    context.exit(1 if failed else 0)


def _chosen(names: Sequence[str]) -> list[Probe]:
    chosen = dict[str, Probe]()
    for name in names or ("",):
        found = [probe for probe in PROBES if probe.part == name or probe.name.startswith(name.replace(" ", "_"))]
        if not found:
            raise click.UsageError(f"there is no probe `{_plain(name)}`: --list says which there are")
        chosen |= {probe.name: probe for probe in found}
    return [probe for probe in PROBES if probe.name in chosen]


async def _attack(chosen: Sequence[Probe], quiet: bool) -> list[Outcome]:
    outcomes = []
    part = ""
    for probe in chosen:
        if not quiet and probe.part != part:
            part = probe.part
            click.echo(f"\n{part}")
        outcomes.append(await attempt(probe))
        if not quiet:
            word = "held" if outcomes[-1].held else "FAILED"
            click.echo(f"  {word:<6} {outcomes[-1].seconds:5.1f} s  {probe.guarantee}")
    return outcomes


def _row(outcome: Outcome) -> dict[str, Any]:
    probe = outcome.probe
    return {
        "name": probe.name, "group": probe.part, "guarantee": probe.guarantee, "attack": probe.attack,
        "held": outcome.held, "seconds": round(outcome.seconds, 3), "why": outcome.why,
    }  # fmt: skip


def _plain(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


if __name__ == "__main__":
    probes(prog_name="python -m remit.probes")
