"""`remit policy`: for those who own the policies. Each command is imported when it is used."""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "check": ("checking", "Check the policy files: every problem at once."),
    "schema": ("checking", "Print a JSON Schema for editors."),
    "test": ("testing", "Play the cases beside the policies."),
    "cases": ("testing", "Make cases of recorded decisions."),
    "explain": ("explaining", "Explain a decision, part by part."),
    "diff": ("comparing", "Say what differs between two policy sets."),
    "analyse": ("analysing", "Prove what rules do nothing."),
    "ask": ("analysing", "Ask whether there is a call for which a condition holds."),
    "backtest": ("backtesting", "Decide recorded calls again under other policies."),
    "shadow": ("shadowing", "Say what rules in mode shadow would have done."),
    "activate": ("activating", "Put a policy set in force."),
    "log": ("history", "Say who changed the policies, when and why."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"remit.cli.policy.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands)
def policy() -> None:
    """Check, test, explain and compare policies."""
