"""`remit policy check` and `schema`."""

from __future__ import annotations

import json
from importlib.metadata import version

import click

from remit.cli.drafts import says_what_is_in_force
from remit.cli.output import heading, print_json, print_table
from remit.cli.policy.sources import Folder, app_option, open_folder, placed, tools_option
from remit.cli.settings import folder_argument, json_option, settings
from remit.core.calendarfile import json_schema as calendars_schema
from remit.core.counterfile import json_schema as counters_schema
from remit.core.filenames import json_schema as folders_schema
from remit.core.policy import CompiledRule, PolicySet
from remit.core.policyfiles import json_schema
from remit.core.purposes import json_schema as purposes_schema
from remit.errors import PolicyError, Problem
from remit.policykit.casefiles import cases_schema, read_cases
from remit.policykit.reports import problem_row, sarif
from remit.policykit.situations import situation
from remit.policykit.toolset import tools_schema

FAILED, USAGE = 1, 2
_SCHEMAS = {
    "policy": lambda: json_schema("policy"),
    "queues": lambda: json_schema("queues"),
    "reviewers": lambda: json_schema("reviewers"),
    "cases": cases_schema,
    "tools": tools_schema,
    "purposes": purposes_schema,
    "calendars": calendars_schema,
    "counters": counters_schema,
    "folders": folders_schema,
}


@click.command()
@folder_argument
@app_option
@tools_option
@click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0, for code hosts and editors.")
@json_option
@click.pass_context
@says_what_is_in_force
def check(
    ctx: click.Context, policies: str | None, app: str | None, tools: str | None, as_sarif: bool, as_json: bool
) -> None:
    """Check the files in DIR against the tools: every problem at once, each with its place.

    The tools are the app's, or those that tools.yaml in DIR describes. Cases are checked as well, and not played:
    that is `remit policy test`. With --json: the rules, or what is wrong.

    Exit codes: 0 they load, 2 they don't: nothing would run.
    """
    found = settings(policies=policies, app=app)
    opened, loaded = None, None
    try:
        opened = open_folder(found, app, tools)
        problems, loaded = checked(opened)
    except PolicyError as error:
        problems = list(error.problems)
    if as_sarif:
        click.echo(json.dumps(sarif(problems, version("remit")), indent=2))
    elif problems and as_json:
        print_json(problem_row(problem) for problem in problems)
    elif problems:
        raise PolicyError(tuple(problems))
    elif opened is not None and loaded is not None:
        _show(found.policies, opened, loaded, as_json)
    ctx.exit(USAGE if problems else 0)


def checked(folder: Folder) -> tuple[list[Problem], PolicySet | None]:
    """Returns everything that is wrong with policies and cases, and the policy set if it loads."""
    problems: list[Problem] = []
    policies = None
    try:
        policies = folder.load()
    except PolicyError as error:
        problems += error.problems
    try:
        cases = read_cases(folder.files)
    except PolicyError as error:
        return [*problems, *(placed(folder.name, problem) for problem in error.problems)], policies
    for case in cases:
        try:
            situation(case, folder.tools)
        except PolicyError as error:
            problems += [placed(folder.name, problem) for problem in error.problems]
    return list(dict.fromkeys(problems)), policies  # what a file's cases begin with is wrong once


@click.command()
@click.argument("kind", type=click.Choice(list(_SCHEMAS)))
def schema(kind: str) -> None:
    """Print the JSON Schema of a kind of file, for editors that complete and check what you type.

    The YAML language server finds it by a comment at the head of a file:

    \b
    # yaml-language-server: $schema=policy.schema.json
    """
    click.echo(json.dumps(_SCHEMAS[kind](), indent=2, sort_keys=True))


def _show(name: str, folder: Folder, policies: PolicySet, as_json: bool) -> None:
    tools = _tools_by_rule(policies, sorted(folder.tools.specs))
    if as_json:
        return print_json(
            {"rule": rule.name, "effect": rule.effect.value, "queue": rule.queue, "mode": mode, "tools": names}
            for (rule, mode), names in tools.items()
        )
    click.echo(f"{heading(name)}: {len(tools)} rules for {len(folder.tools.specs)} tools: they load")
    cells = [
        (rule.name, _effect(rule.effect.value, mode), rule.queue, ", ".join(names))
        for (rule, mode), names in tools.items()
    ]
    print_table(("RULE", "EFFECT", "TO", "TOOLS"), cells, "there is no rule: everything is denied")
    for tool in sorted(tool for tool in folder.tools.specs if not policies.rules_for(tool)):
        click.echo(f"no rule speaks of tool `{tool}`: it is always denied")
    click.echo(f"digest {policies.digest}")
    return None


def _effect(effect: str, mode: str) -> str:
    return effect if mode == "enforce" else f"{effect} ({mode})"


def _tools_by_rule(policies: PolicySet, tools: list[str]) -> dict[tuple[CompiledRule, str], list[str]]:
    """A rule is compiled for each of its tools: this puts it together again, by its digest."""
    found: dict[str, tuple[CompiledRule, str, list[str]]] = {}
    for name in tools:
        for mode, rules in (("enforce", policies.rules_for(name)), ("shadow", policies.shadow_for(name))):
            for rule in rules:
                found.setdefault(f"{rule.name} {rule.digest}", (rule, mode, []))[2].append(name)
    return {(rule, mode): names for rule, mode, names in found.values()}
