"""`remit policy`: what the policy files say, checked against the tools."""

from __future__ import annotations

import click

from remit.cli.output import heading, print_json, print_table
from remit.cli.settings import json_option, settings
from remit.core.policy import CompiledRule, PolicySet
from remit.errors import SettingsError
from remit.runtime.ambient import System
from remit.runtime.guards import load_governed
from remit.runtime.policyfolder import read_policies
from remit.runtime.registry import Registry
from remit.runtime.target import load_graph


@click.group()
def policy() -> None:
    """Check policies."""


@policy.command()
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--app", metavar="TARGET", help="The graph whose tools the rules speak of.")
@json_option
def check(folder: str | None, app: str | None, as_json: bool) -> None:
    """Check the policy files in DIR against the app's tools: every problem at once, each with its place.

    Exit codes: 0 they load, 2 they don't: nothing would run.
    """
    found = settings(policies=folder, app=app)
    if not found.app:
        raise SettingsError("rules are checked against tools: name the graph with --app, or set `app` in remit.toml")
    registry = Registry([load_graph(found.app)])
    policies, _ = load_governed(found.policies, read_policies(found.policies, found.packs), registry, System())
    tools = _tools_by_rule(policies, registry)
    rows = [
        {"rule": rule.name, "effect": rule.effect.value, "queue": rule.queue, "mode": mode, "tools": names}
        for (rule, mode), names in tools.items()
    ]
    if as_json:
        return print_json(rows)
    click.echo(f"{heading(found.policies)}: {len(rows)} rules for {len(registry.tools)} tools: they load")
    cells = [
        (rule.name, _effect(rule.effect.value, mode), rule.queue, ", ".join(names))
        for (rule, mode), names in tools.items()
    ]
    print_table(("RULE", "EFFECT", "TO", "TOOLS"), cells, "there is no rule: everything is denied")
    for name in sorted(name for name in registry.tools if not policies.rules_for(name)):
        click.echo(f"no rule speaks of tool `{name}`: it is always denied")
    click.echo(f"digest {policies.digest}")
    return None


def _effect(effect: str, mode: str) -> str:
    return effect if mode == "enforce" else f"{effect} ({mode})"


def _tools_by_rule(policies: PolicySet, registry: Registry) -> dict[tuple[CompiledRule, str], list[str]]:
    """A rule is compiled for each of its tools: this puts it together again, by its digest."""
    found: dict[str, tuple[CompiledRule, str, list[str]]] = {}
    for name in sorted(registry.tools):
        for mode, rules in (("enforce", policies.rules_for(name)), ("shadow", policies.shadow_for(name))):
            for rule in rules:
                found.setdefault(f"{rule.name} {rule.digest}", (rule, mode, []))[2].append(name)
    return {(rule, mode): names for rule, mode, names in found.values()}
