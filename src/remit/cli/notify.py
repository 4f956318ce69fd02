"""`remit notify`: tells channels what happens in queues, and what it could not tell."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import click

from remit.cli.output import complaint, escaped, mark, moment, print_json, print_table, value
from remit.cli.settings import Settings, asynchronous, json_option, settings, store_option
from remit.cli.stores import open_store
from remit.core.canonical import canonical
from remit.errors import RemitError, SettingsError, UnknownId
from remit.runtime.ambient import System, new_id, stamp
from remit.runtime.channels import Channel, Undelivered, message_of, open_channels
from remit.runtime.notifying import Attempt, Notifier, retry
from remit.store.journal import Journal
from remit.store.outbox import Delivery, Outbox


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="Make the attempts that are due, and stop.")
@store_option
@json_option
@click.pass_context
def notify(ctx: click.Context, once: bool, store: str | None, as_json: bool) -> None:
    """Tell the channels of remit.toml what happens in the queues that name them, until stopped.

    `remit work` does so beside its work. With --once, prints each attempt. Exit codes: 0, or 1 where one failed.
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(_send(once, store, as_json))


@asynchronous
async def _send(once: bool, store: str | None, as_json: bool) -> int:
    found = settings(store=store)
    channels = channels_of(found)
    async with await open_store(found) as journal:
        notifier = Notifier(journal, System(), channels)
        if not once:
            if as_json:
                raise SettingsError("--json goes with --once")
            click.echo(escaped(f"telling {', '.join(channels) or 'nobody'}; stop with Ctrl-C"), err=True)
            await notifier.keep()
        attempts = await notifier.once()
    if as_json:
        print_json(_attempted(one) for one in attempts)
    else:
        for one in attempts:
            said = value(one.error, 200) if one.error else ""
            click.echo(f"{value(one.delivery.channel)}  {one.delivery.event}  {mark(one.state)}  {said}".rstrip())
    return int(not all(one.ok for one in attempts))


def _attempted(one: Attempt) -> dict[str, Any]:
    return {**_row(one.delivery), "attempts": one.delivery.attempts + 1, "state": one.state, "error": one.error}


def channels_of(found: Settings) -> dict[str, Channel]:
    """Returns the channels of the settings; says on stderr what is wrong with them: the others work."""
    channels, problems = open_channels(found.channels, os.environ)
    for problem in problems:
        click.echo(f"remit: {complaint(problem)}", err=True)
    return channels


@asynccontextmanager
async def telling(journal: Journal, channels: Mapping[str, Channel], *, once: bool) -> AsyncIterator[None]:
    """Tells channels beside the body; with `once`, after it what is due then. Nothing of it ends the body."""
    notifier = Notifier(journal, System(), channels)
    if not channels:
        yield
    elif once:
        await _try(notifier.work_out())
        yield
        await _try(notifier.once())
    else:
        async with notifier.beside():
            yield


async def _try(telling: Coroutine[Any, Any, object]) -> None:
    try:
        await telling
    except RemitError as error:
        click.echo(f"remit: nothing could be told: {complaint(str(error))}", err=True)


@notify.command("list")
@click.option("--all", "all_", is_flag=True, help="Also what was sent in the last 90 days.")
@store_option
@json_option
@asynchronous
async def list_(all_: bool, store: str | None, as_json: bool) -> None:
    """List what is still to be told, and what could not be: the oldest first."""
    async with await open_store(settings(store=store)) as journal:
        outbox = Outbox(journal)
        await outbox.begin()
        found = await outbox.rows(all_=all_)
    if as_json:
        return print_json(_row(one) for one in found)
    rows = [
        (
            one.id[:12], value(one.channel), one.event, one.state, moment(one.at), str(one.attempts),
            moment(one.next_at) if one.next_at and one.state == "pending" else "",
            value(one.error, 120) if one.error else "",
        )
        for one in found
    ]  # fmt: skip
    columns = ("DELIVERY", "CHANNEL", "EVENT", "STATE", "OF", "TRIES", "NEXT", "ERROR")
    print_table(columns, rows, "everything was told")
    return None


def _row(one: Delivery) -> dict[str, Any]:
    return {
        "delivery": one.id,
        "channel": one.channel,
        "event": one.event,
        "at": one.at,
        "state": one.state,
        "attempts": one.attempts,
        "next": one.next_at,
        "error": one.error,
        "done": one.done_at,
    }


@notify.command(name="retry")
@click.argument("deliveries", nargs=-1, metavar="[DELIVERY]...")
@store_option
@json_option
@asynchronous
async def retry_(deliveries: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Try what is dead again: all of it, or each DELIVERY (an id, or its beginning).

    Exit codes: 0, or 5 where there is no such dead delivery.
    """
    async with await open_store(settings(store=store)) as journal:
        count = await retry(journal, System(), deliveries)
    if as_json:
        return print_json([{"pending": count}])
    click.echo(f"{count} will be tried again")
    return None


@notify.command(name="test")
@click.argument("channel")
@json_option
@asynchronous
async def test_(channel: str, as_json: bool) -> int:
    """Send a message to CHANNEL that is about nothing, and say how it went. Exit codes: 0 heard, 1 not, 5 no such.

    Of a command it says how it ended, and nothing that the command wrote.
    """
    channels = channels_of(settings())
    if channel not in channels:
        known = ", ".join(f"`{name}`" for name in channels) or "none"
        raise UnknownId(f"there is no channel `{channel}` in remit.toml; there are {known}")
    ambient, error = System(), ""
    id, at = f"msg_{new_id(ambient)}", stamp(ambient.now())
    data = {
        "review": "test", "title": "", "queue": "test", "status": "open", "tool": "test", "run": "test",
        "call": "test#0", "expires": at, "approvals": 0, "needed": 1, "in_doubt": False, "priority": 0,
    }  # fmt: skip
    body = canonical({"data": data, "id": id, "timestamp": at, "type": "review.opened"})
    try:
        await channels[channel].tell(message_of(id, body), ambient)
    except Undelivered as failure:
        error = failure.brief  # what the channel itself wrote may be hostile, or a secret
    if as_json:
        print_json([{"channel": channel, "ok": not error, "error": error}])
    else:
        click.echo(f"{escaped(channel)}: {value(error, 300) if error else 'it was heard'}")
    return int(bool(error))
