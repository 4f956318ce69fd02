"""`remit policy analyse` and `ask`."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from remit.cli.drafts import says_what_is_in_force
from remit.cli.output import escaped, folded, heading, mark, print_json
from remit.cli.policy.sources import app_option, open_folder, tools_option
from remit.cli.settings import folder_argument, json_option, settings
from remit.policykit import analyse as analysis
from remit.policykit.analyse import Example, Found, Weakness

_SAYS = {
    Found.NEVER: "no call makes it true",
    Found.OVERRULED: "it only applies where this denies or is in error: {by}",
    Found.COVERED: "it allows nothing by itself: wherever it applies, this asks for a review or denies: {by}",
    Found.REDUNDANT: "this does all that it does: {by}",
}


@click.command()
@folder_argument
@app_option
@tools_option
@json_option
@click.pass_context
@says_what_is_in_force
def analyse(ctx: click.Context, policies: str | None, app: str | None, tools: str | None, as_json: bool) -> None:
    """Prove what rules do nothing: they never apply, are overruled or covered, or say what another says.

    An allow rule is covered where it applies only to calls that an escalate rule asks about. Each is proved for every
    call of the tool and all facts of their types; z3 is asked (`pip install 'remit[analyse]'`). What isn't modelled,
    such as regexes and list macros, may be anything to it: a rule that does nothing because of such a part isn't
    found, and the part is named.

    Rules in mode shadow are not looked at, nor what rules oblige to, nor cases.

    Exit codes: 0 no such rule was found, 1 one was, 2 a file is wrong.
    """
    opened = open_folder(settings(policies=policies, app=app), app, tools)
    loaded = opened.load()
    found, unmodelled = analysis.weaknesses(loaded, opened.tools)
    if as_json:
        print_json([{"found": [weak.row() for weak in found], "unmodelled": unmodelled}])
    else:
        for weak in found:
            _show_weakness(weak)
        _show_unknown("may hide more", unmodelled)
        if not found:
            count = len({rule.name for tool in opened.tools.specs for rule in loaded.rules_for(tool)})
            click.echo(
                f"of {count} rules none was found that never applies, is overruled by a denial, allows only what is"
                " asked about anyway, or says what another one says",
                err=True,
            )
    ctx.exit(1 if found else 0)


@click.command()
@click.argument("condition", metavar="CONDITION")
@folder_argument
@app_option
@tools_option
@json_option
@click.pass_context
@says_what_is_in_force
def ask(
    ctx: click.Context, condition: str, policies: str | None, app: str | None, tools: str | None, as_json: bool
) -> None:
    """Ask whether there is a call for which CONDITION holds, as in

    \b
      remit policy ask 'args.amount > 1000 && outcome == ALLOW'

    CONDITION is one as in a rule, in which `outcome` is what is decided before anybody is asked: ALLOW, ESCALATE or
    DENY. It is asked of every tool that it fits. A call that is found is one that the real evaluator decides so,
    printed as the `given` of a case; where none is found and all of it is modelled, it is proved that there is none.

    Exit codes: 0 there is no such call, 1 there is one, 2 a file or CONDITION is wrong, 8 not known.
    """
    opened = open_folder(settings(policies=policies, app=app), app, tools)
    answer = analysis.ask(condition, opened.load(), opened.tools)
    if as_json:
        print_json([answer.row()])
    else:
        for one in answer.examples:
            show_example(one)
        _show_unknown("not known", answer.unknown)
        if answer.proved:
            click.echo(f"there is no such call of {_listed(answer.asked)}: proved")
    ctx.exit(1 if answer.examples else 0 if answer.proved else 8)


def show_example(one: Example) -> None:
    """Prints a call as the `given` of a case, under its verdict."""
    was = f"{mark(one.before.outcome.value)} before, now " if one.before is not None else ""
    click.echo(f"{heading(one.tool)}  {was}{mark(one.verdict.outcome.value)}")
    for key, value in one.given.items():
        click.echo(folded(escaped(f"{key}: {_flow(value)}"), "  "))
    for reason in one.verdict.reasons:
        click.echo(folded(escaped(reason), "  because  "))


def _show_weakness(weak: Weakness) -> None:
    click.echo(f"{heading(weak.rule)}  {weak.found.value} (tool {weak.tool})")
    click.echo(folded(escaped(_SAYS[weak.found].format(by=_listed(weak.by))), "  "))


def _show_unknown(words: str, unknown: Mapping[str, str]) -> None:
    for tool, why in unknown.items():
        click.echo(folded(escaped(f"{tool}: {words}: {why} isn't modelled"), ""), err=True)


def _flow(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
