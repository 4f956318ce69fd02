"""What people type. Parsing and printing only.

Exit codes: 0 done; 1 failed or denied; 2 usage or bad input; 3 a wait timed out; 4 not entitled; 5 unknown id;
6 claimed by another; 7 changed, stale or expired; 8 waiting for
reviews. Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from contextlib import suppress

import click

from remit import errors
from remit.cli.output import complaint

DONE, FAILED, USAGE, TIMED_OUT, NOT_ENTITLED, UNKNOWN, CLAIMED, STALE, WAITING = range(9)
INTERRUPTED, TERMINATED = 130, 143

_COMMANDS = {
    "run": ("remit.cli.running", "run", "Run a graph under the policies."),
    "resume": ("remit.cli.running", "resume", "Go on with runs that waited or were interrupted."),
    "work": ("remit.cli.running", "work", "Drive runs as rulings come in, until stopped."),
    "runs": ("remit.cli.vouching", "runs", "Look at runs."),
    "review": ("remit.cli.review", "review", "Rule on escalated calls."),
    "notify": ("remit.cli.notify", "notify", "Tell channels what happens in queues."),
    "grant": ("remit.cli.grant", "grant", "Look at grants, and revoke them."),
    "queue": ("remit.cli.queue", "queue", "Look at queues."),
    "reviewers": ("remit.cli.reviewers", "reviewers", "Look at reviewers and their keys, and revoke them."),
    "policy": ("remit.cli.policy", "policy", "Check policies."),
    "audit": ("remit.cli.audit", "audit", "Export the journal and verify exports."),
    "store": ("remit.cli.store", "store", "Look at a store, and answer for it."),
    "keys": ("remit.cli.keys", "keys", "Manage the keys that sign checkpoints and exports."),
    "init": ("remit.cli.init", "init", "Make a working project in an empty folder."),
    "demo": ("remit.cli.demo", "demo", "Watch a governed run from end to end."),
}


class Commands(click.Group):
    """Imports a command when it is used: listing reviews doesn't load what runs graphs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="remit", prog_name="remit")
def cli() -> None:
    """Governed agent orchestration: an agent acts within its remit, or it does not act.

    Settings come from options, then variables (REMIT_STORE, REMIT_POLICIES, REMIT_APP, REMIT_KEYS, REMIT_ANCHOR,
    REMIT_REVIEW_KEY), then remit.toml.

    \b
    Exit codes: 0 done, 1 failed or denied, 2 usage or bad input,
                3 a wait timed out, 4 not entitled, 5 unknown id,
                6 claimed by another, 7 changed, stale or expired,
                8 waiting for reviews.
    """


def main() -> None:
    """Runs the command line and exits with its code."""
    _open_streams()
    code: object = DONE
    try:
        code = cli(prog_name="remit", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _misused(error)
        code = USAGE
    except click.Abort:
        click.echo("stopped", err=True)
        code = INTERRUPTED
    except errors.RemitError as error:
        _complain(str(error))
        code = code_of(error)
    except BrokenPipeError:
        _discard_output()  # who reads it, such as `head`, has what it wanted
    except SystemExit as error:
        # click ends so where the reader has gone: that is no failure of the command.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _discard_output()
    except OSError as error:
        _discard_output()
        place = f"`{error.filename}`" if error.filename else "its output can't be written"
        _complain(f"{place}: {error.strerror or error}")
        code = FAILED
    sys.exit(code if isinstance(code, int) else DONE)


def code_of(error: errors.RemitError) -> int:
    """Returns the exit code for what went wrong."""
    if isinstance(error, errors.UnknownId):
        return UNKNOWN
    if isinstance(error, errors.NotEntitled):
        return NOT_ENTITLED
    if isinstance(error, errors.Claimed):
        return CLAIMED
    if isinstance(error, (errors.Stale, errors.Conflict, errors.OwnershipLost)):
        return STALE
    return USAGE if isinstance(error, (errors.BadInput, errors.NewerJournal)) else FAILED


def _open_streams() -> None:
    """Leads closed streams nowhere, so that no store is opened in their place, and lets them take any character."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(text: str) -> None:
    with suppress(OSError):
        click.echo(f"remit: {complaint(text)}", err=True)


def _misused(error: click.ClickException) -> None:
    """Says what click says, as we say things; without a subcommand it says the help."""
    words = error.format_message()
    if words.startswith("Usage:"):
        click.echo(words, err=True)
        return
    _complain(re.sub(r"'([^']*)'", r"`\1`", words[:1].lower() + words[1:]).rstrip("."))
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"try `{error.ctx.command_path} --help`", err=True)


def _discard_output() -> None:
    """Lets the interpreter's last flush go nowhere: nobody reads any more."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())
    os.close(null)
