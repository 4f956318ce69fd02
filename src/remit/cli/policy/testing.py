"""`remit policy test` and `cases`."""

from __future__ import annotations

from pathlib import Path

import click

from remit.cli.drafts import says_what_is_in_force
from remit.cli.output import escaped, folded, heading, is_coloured, mark, print_json
from remit.cli.policy.sources import Folder, app_option, open_folder, placed, tools_option
from remit.cli.settings import asynchronous, folder_argument, json_option, settings, store_option
from remit.cli.stores import open_store
from remit.core.policy import PolicySet
from remit.errors import BadInput, PolicyError
from remit.policykit.casefiles import cases_text, read_cases
from remit.policykit.cases import Played, play
from remit.policykit.coverage import Coverage, CoverageReport
from remit.policykit.reports import junit
from remit.runtime.recordedcases import recorded_cases

_SHOWN = 25


@click.command()
@folder_argument
@app_option
@tools_option
@click.option("--coverage", is_flag=True, help="Say what no case has tried.")
@click.option(
    "--threshold", type=click.FloatRange(0, 100), metavar="PERCENT", help="Fail below this percentage of coverage."
)
@click.option("--junit", "report", metavar="FILE", help="Write JUnit XML.")
@json_option
@click.pass_context
@says_what_is_in_force
def test(
    ctx: click.Context,
    policies: str | None,
    app: str | None,
    tools: str | None,
    coverage: bool,
    threshold: float | None,
    report: str | None,
    as_json: bool,
) -> None:
    """Play the cases in DIR's *.cases.yaml: each is decided as a call would be, and compared with what it expects.

    With --coverage: which rules were never true or never false, and which operands of &&, ||, ! and ?: were never
    both, each with its place.

    Exit codes: 0 all pass, 1 one fails or coverage is below --threshold, 2 a file is wrong.
    """
    found = settings(policies=policies, app=app)
    opened = open_folder(found, app, tools)
    rules = opened.load()
    watch = Coverage(rules, opened.tools)
    played = _play(opened, rules, watch)
    covered = watch.report() if coverage or threshold is not None else None
    if report is not None:
        _write(report, junit(played))
    failed = [one for one in played if not one.passed]
    # 99.99 is not 100, however it is shown.
    low = covered is not None and threshold is not None and covered.percent < threshold
    if as_json:
        rows = [one.row() for one in played]
        print_json([{"cases": rows, "failed": len(failed), "coverage": covered.row() if covered else None}])
    else:
        _show(found.policies, played, covered)
        if low and covered is not None:
            click.echo(f"coverage of {_percent(covered)} is below {threshold:g} %", err=True)
    ctx.exit(1 if failed or low else 0)


def _play(folder: Folder, rules: PolicySet, watch: Coverage) -> list[Played]:
    try:
        cases = read_cases(folder.files)
        if not cases:
            raise BadInput(f"there is no case in `{folder.name}`: write one in a file such as payments.cases.yaml")
        return play(cases, folder.tools, rules, watch.watch)
    except PolicyError as error:
        raise PolicyError(tuple(placed(folder.name, problem) for problem in error.problems)) from error


def _show(name: str, played: list[Played], covered: CoverageReport | None) -> None:
    for one in played:
        if one.passed:
            continue
        click.echo(f"{mark('failed')}  {heading(one.case.name)}  {escaped(one.case.place)}")
        for difference in one.differences:
            click.echo(f"  {difference.what}")
            click.echo(folded(_coloured(f"- {escaped(difference.expected)}", "red"), "    "))
            click.echo(folded(_coloured(f"+ {escaped(difference.found)}", "green"), "    "))
        for reason in one.verdict.reasons:
            click.echo(folded(escaped(reason), "  because  "))
    failed = sum(not one.passed for one in played)
    click.echo(f"{heading(name)}: {len(played) - failed} of {len(played)} cases pass")
    if covered is None:
        return
    for rule, part in covered.missing[:_SHOWN]:
        never = " nor ".join(str(one).lower() for one in part.missing)
        never = f"never {never}" if len(part.missing) == 1 else f"neither {never}"
        what = "rule" if part.whole else "part"
        click.echo(folded(escaped(f"{part.file}:{part.line}: {rule}: {what} {never}: {part.source}"), "  "))
    if len(covered.missing) > _SHOWN:
        click.echo(f"  and {len(covered.missing) - _SHOWN} more; see --json")
    click.echo(
        f"coverage {_percent(covered)}: {covered.tried} of {covered.branches} branches of {len(covered.rules)} rules"
    )


def _percent(covered: CoverageReport) -> str:
    """Cut, not rounded: 100 % is said of everything only."""
    return f"{int(covered.percent * 10) / 10:g} %"


def _coloured(text: str, colour: str) -> str:
    return click.style(text, fg=colour) if is_coloured() else text


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"`{file}` can't be written: {error.strerror}") from error


@click.command()
@click.option("--from", "source", required=True, metavar="RUN|REVIEWS", help="A run's id, or `reviews`: all ruled on.")
@click.option("-o", "--output", metavar="FILE", help="A new *.cases.yaml; standard output if not given.")
@store_option
@json_option
@asynchronous
async def cases(source: str, output: str | None, store: str | None, as_json: bool) -> None:
    """Make cases of recorded decisions: the calls of a run, or all that people ruled on (`--from reviews`).

    A call that was approved becomes two cases: that it escalates, and that it is allowed with the approval. Arguments
    and facts are in the file in full: look before you share it.
    """
    async with await open_store(settings(store=store)) as journal:
        found, left_out = await recorded_cases(journal, source)
    if left_out:
        click.echo(f"{left_out} decisions are left out: their arguments or facts are not there any more", err=True)
    if as_json:
        return print_json(found)
    text = cases_text(found)
    if output is None:
        click.echo(text.encode(), nl=False)
        return None
    if Path(output).exists():
        raise BadInput(f"`{output}` is there already: name a new file")
    _write(output, text)
    click.echo(f"{heading(output)}: {len(found)} cases")
    return None
