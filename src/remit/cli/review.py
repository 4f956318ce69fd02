"""`remit review`: what waits for people, and what they say."""

from __future__ import annotations

import importlib
from typing import Any

import click
import msgspec

from remit.cli.output import (
    escaped,
    fields,
    heading,
    mark,
    moment,
    pretty,
    print_json,
    print_table,
    until,
    value,
)
from remit.cli.settings import asynchronous, json_option, settings, store_option
from remit.runtime.ambient import System
from remit.runtime.views import review_view
from remit.store.journal import Journal
from remit.store.projections import Projections

_ACTING = ("approve", "claim", "comment", "deny", "edit", "handon", "release", "respond", "whoami")

class _Reviews(click.Group):
    """Looking is here; what rules is imported when it is used: it reads policy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name."""
        for module in _LATER:
            importlib.import_module(module)
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now if it isn't here."""
        if cmd_name not in self.commands:
            self.list_commands(ctx)
        return super().get_command(ctx, cmd_name)


_LATER = ("remit.cli.ruling",)


@click.group(cls=_Reviews)
def review() -> None:
    """Rule on escalated calls."""


@review.command("list")
@click.option("--all", "all_", is_flag=True, help="Closed ones too.")
@store_option
@json_option
@asynchronous
async def list_(all_: bool, store: str | None, as_json: bool) -> None:
    """List the reviews that wait, the oldest first."""
    async with await Journal.open(settings(store=store).store, create=False) as journal:
        found = await Projections(journal).reviews(open_only=not all_)
        if as_json:
            return print_json(msgspec.to_builtins(row) for row in found)
        rows = []
        now = System().now()
        for row in found:
            shown = None if row.problem else (await review_view(journal, row.review))["shown"]
            reasons = shown["reasons"] if shown else ["[erased]"]
            rest = until(row.expires, now) if row.open else row.reviewer
            rows.append((row.review, row.status, row.queue, row.tool, rest, row.problem or "; ".join(reasons)))
    columns = ("REVIEW", "STATUS", "QUEUE", "TOOL", "RULED BY" if all_ else "EXPIRES", "WHY")
    print_table(columns, rows, "nothing waits for a review")
    return None


@review.command()
@click.argument("review_id", metavar="REVIEW")
@store_option
@json_option
@asynchronous
async def show(review_id: str, store: str | None, as_json: bool) -> None:
    """Show REVIEW (an id, or its beginning): the call in full, and why it waits."""
    async with await Journal.open(settings(store=store).store, create=False) as journal:
        view = await review_view(journal, (await Projections(journal).find_review(review_id)).review)
    if as_json:
        return print_json([view])
    _print(view)
    return None


def _print(view: dict[str, Any]) -> None:
    """Everything there is to know before ruling; nothing is cut."""
    click.echo(f"{heading('review ' + view['review'])} in queue {escaped(view['queue'])} is {mark(view['status'])}")
    if view["shown"] is None:
        click.echo(f"  what its reviewers were shown was erased; it is of run {view['run']}, call {view['call']}")
    else:
        _print_shown(view, view["shown"])
    for said in view["rulings"]:
        word = "approved" if said["approved"] else "denied"
        how = " in single-operator mode" if said["single_operator"] else ""
        behalf = f" on behalf of {value(said['on_behalf'])}" if said["on_behalf"] else ""
        click.echo(f"\n{heading(word)} by {value(said['reviewer'])}{behalf} at {moment(said['at'])}{how}")
        changes = [(escaped(name), f"changed to {pretty(found)}") for name, found in said["edited"].items()]
        answer = [("answers", pretty(said["answer"]))] if said["answers"] else []
        fields([*changes, *answer, ("reason", value(said["reason"]) if said["reason"] else "")])
    for one in view["comments"]:
        click.echo(f"\n{value(one['reviewer'])} at {moment(one['at'])}: {value(one['comment'])}")
    if view["status"] in ("open", "claimed"):
        id = view["review"]
        if view["claimed_by"]:
            click.echo(f"\nclaimed by {value(view['claimed_by'])} until {moment(view['claimed_until'])}")
        click.echo(f"\nremit review approve {id} [--reason …]\nremit review deny {id} --reason …")


def _print_shown(view: dict[str, Any], shown: dict[str, Any]) -> None:
    facts = shown.get("facts", {})
    fields(("why", escaped(reason)) for reason in shown["reasons"])
    click.echo(f"\n{heading(shown['tool'])}  {escaped(shown['effect'])}, {escaped(shown['repeat'])}")
    fields([*((escaped(name), pretty(found)) for name, found in shown["args"].items())])
    click.echo(f"\n{heading('about the call')}")
    is_open = view["status"] in ("open", "claimed")
    expires = f"{moment(view['expires'])}, {until(view['expires'], System().now())}"
    fields(
        [
            ("does", escaped(shown["description"])),
            ("asked by", f"agent {escaped(shown['agent'])}, for {value(shown['principal'])}"),
            ("in", f"run {escaped(shown['run'])}, call {escaped(shown['call'])}"),
            ("rules", ", ".join(_hit(hit) for hit in view["rules"])),
            ("has read", ", ".join(escaped(label) for label in facts.get("labels", []))),
            ("facts", pretty(facts["facts"]) if facts.get("facts") else ""),
            ("run so far", _so_far(facts)),
            ("opened", moment(view["opened"])),
            ("expires", expires if is_open else moment(view["expires"])),
            ("digest", view["digest"]),
        ]
    )


def _hit(hit: dict[str, Any]) -> str:
    return escaped(hit["rule"]) + (f" (broken: {escaped(hit['broken'])})" if hit["broken"] else "")


def _so_far(facts: dict[str, Any]) -> str:
    if "spent" not in facts:
        return ""
    history = facts["history"]
    return (
        f"{facts['spent']['calls']} calls, cost {facts['spent']['cost']};"
        f" {history['allowed']} allowed, {history['escalated']} escalated, {history['denied']} denied"
    )
