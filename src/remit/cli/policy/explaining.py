"""`remit policy explain`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from remit.cli.drafts import says_what_is_in_force
from remit.cli.inputs import run_and_call
from remit.cli.output import escaped, fields, folded, heading, mark, print_json, value
from remit.cli.policy.sources import Folder, app_option, open_folder, tools_option
from remit.cli.settings import Settings, asynchronous, folder_argument, json_option, settings, store_option
from remit.cli.stores import open_store
from remit.core.obligations import in_words
from remit.errors import BadInput, UnknownId
from remit.policykit.casefiles import read_cases
from remit.policykit.cases import decided
from remit.policykit.explain import Considered, Explained, explain_fully, part_lines, part_row, words
from remit.policykit.situations import situation
from remit.policykit.toolset import recorded_tools
from remit.runtime.policyfolder import read_policies
from remit.runtime.recordedcalls import recorded_call
from remit.store.projections import Projections


@click.command()
@click.argument("call", metavar="[RUN/CALL]", required=False)
@click.option("--case", metavar="FILE#N", help="A case instead of a call: payments.cases.yaml#3.")
@folder_argument
@app_option
@tools_option
@store_option
@json_option
@says_what_is_in_force
@asynchronous
async def explain(
    call: str | None, case: str | None, policies: str | None, app: str | None, tools: str | None, store: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Explain a decision: every rule considered, the value of each part of its condition, and what would change it.

    CALL is RUN/TASK#N, explained under the policies it was decided under, or under those in DIR. What would
    change it: the fewest parts that would have to be true or false instead, each confirmed by deciding so. Parts are
    taken one by one: whether a call exists in which only they differ isn't asked.
    """
    if case is not None and call is not None:
        if policies is not None:
            raise BadInput("with --case the one argument is DIR, and the policies are named twice")
        call, policies = None, call
    if (call is None) == (case is None):
        raise BadInput("explain what? name a call as RUN/TASK#N, or a case with --case payments.cases.yaml#3")
    found = settings(policies=policies, app=app, store=store)
    if case is not None:
        explained = explain_case(open_folder(found, app, tools), case)
    else:
        explained = await _call(found, call or "", policies)
    if as_json:
        return print_json([explained.row()])
    return show(case or call or "", explained)


def explain_case(folder: Folder, case: str) -> Explained:
    """Returns the explanation of the case `FILE#N`. Raises UnknownId."""
    file, _, number = case.rpartition("#")
    cases = read_cases(folder.files)
    for one in cases:
        if one.source.name == file.rpartition("/")[2] and str(one.number) == number:
            seen = situation(one, folder.tools)
            rules = folder.load()
            return explain_fully(seen, rules, decided(seen, rules)[1])
    files = sorted({one.source.name for one in cases})
    raise UnknownId(f"there is no case `{case}`: name it as FILE#N; the files are {', '.join(files) or 'none'}")


async def _call(found: Settings, call: str, policies: str | None) -> Explained:
    run, id = run_and_call(call)
    async with await open_store(found) as journal:
        recorded = await recorded_call(journal, (await Projections(journal).find_run(run)).run, id)
    if policies is None:
        rules = recorded.policies.load()
    else:
        tools = recorded_tools(recorded.types)
        rules = Folder(found.policies, read_policies(found.policies, found.packs), tools).load()
    return explain_fully(recorded.situation, rules, recorded.approval)


def show(title: str, explained: Explained) -> None:
    """Prints an explanation."""
    click.echo(f"{heading(title)}  {escaped(explained.tool)}  {mark(explained.verdict.outcome.value)}")
    fields(
        [
            *(("because", escaped(reason)) for reason in explained.verdict.reasons),
            *(("obliged", escaped(in_words(one))) for one in explained.verdict.obliged),
            *(("changed", f"{escaped(name)}={value(found, 200)}") for name, found in explained.changed.items()),
        ]
    )
    for one in explained.rules:
        click.echo(escaped(f"  {'>' if one.decided else ' '} {one.rule.name}  {_effect(one)}"))
        for line in part_lines(part_row(one.condition), 6):
            click.echo(folded(escaped(line.lstrip()), " " * (len(line) - len(line.lstrip()))))
    if explained.otherwise:
        click.echo("  it would be")
        for line in _otherwise(explained):
            click.echo(line)


def _effect(one: Considered) -> str:
    effect = "require" if one.rule.negated else one.rule.effect.value
    queue = f" to {one.rule.queue}" if one.rule.queue else ""
    obliges = f", obliges to {', '.join(map(in_words, one.rule.oblige))}" if one.rule.oblige else ""
    return effect + queue + obliges + (" (shadow)" if one.shadow else "") + ("" if one.applies else ", does not apply")


def _otherwise(explained: Explained) -> Iterator[str]:
    for one in explained.otherwise:
        yield folded(f"if {escaped(words(one))}", f"    {mark(one.outcome.value)} ")
