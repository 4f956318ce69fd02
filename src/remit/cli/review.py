"""`remit review`: what waits for people, and what they say."""

from __future__ import annotations

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
from remit.errors import Stale
from remit.runtime.ambient import System, user
from remit.runtime.rulings import rule
from remit.runtime.views import review_view
from remit.store.journal import Journal
from remit.store.projections import Projections


@click.group()
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


@review.command()
@click.argument("review_id", metavar="REVIEW")
@click.option("--reason", default="", help="Why; recorded.")
@click.option("--if-digest", metavar="HEX", help="Only if this is (the beginning of) the call's digest.")
@store_option
@json_option
@asynchronous
async def approve(review_id: str, reason: str, if_digest: str | None, store: str | None, as_json: bool) -> None:
    """Approve the call of REVIEW, exactly as shown, once.

    Exit codes: 0 approved, 2 refused, 5 no such review, 7 ruled on before, changed or expired.
    """
    await _rule(review_id, True, reason, if_digest, store, as_json)


@review.command()
@click.argument("review_id", metavar="REVIEW")
@click.option("--reason", required=True, help="Why; the agent is told, and it is recorded.")
@click.option("--if-digest", metavar="HEX", help="Only if this is (the beginning of) the call's digest.")
@store_option
@json_option
@asynchronous
async def deny(review_id: str, reason: str, if_digest: str | None, store: str | None, as_json: bool) -> None:
    """Deny the call of REVIEW. A no is final.

    Exit codes: 0 denied, 2 refused, 5 no such review, 7 ruled on before, changed or expired.
    """
    await _rule(review_id, False, reason, if_digest, store, as_json)


async def _rule(
    review_id: str, approved: bool, reason: str, if_digest: str | None, store: str | None, as_json: bool
) -> None:
    async with await Journal.open(settings(store=store).store, create=False) as journal:
        id = (await Projections(journal).find_review(review_id)).review
        view = await review_view(journal, id)  # what can't be shown can't be ruled on
        if if_digest and not view["digest"].startswith(if_digest.lower()):
            raise Stale(f"review `{id}` is of call {view['digest'][:12]}, not of {if_digest}: look again")
        await rule(journal, System(), id, approved=approved, reviewer=user(), reason=reason)
        view = await review_view(journal, id)
    if as_json:
        return print_json([view])
    word = mark(view["status"])
    click.echo(f"{heading('review ' + id)} is {word}: {escaped(view['tool'])} in run {view['run']}")
    click.echo(f"  the run goes on with `remit resume {view['run']}`, or by itself under `remit work`")
    return None


def _print(view: dict[str, Any]) -> None:
    """Everything there is to know before ruling; nothing is cut."""
    click.echo(f"{heading('review ' + view['review'])} in queue {escaped(view['queue'])} is {mark(view['status'])}")
    if view["shown"] is None:
        click.echo(f"  what its reviewers were shown was erased; it is of run {view['run']}, call {view['call']}")
    else:
        _print_shown(view, view["shown"])
    ruling = view["ruling"]
    if ruling:
        word = "approved" if ruling["approved"] else "denied"
        how = " in single-operator mode" if ruling["single_operator"] else ""
        click.echo(f"\n{heading(word)} by {value(ruling['reviewer'])} at {moment(ruling['at'])}{how}")
        fields([("reason", value(ruling["reason"]) if ruling["reason"] else "")])
    elif view["status"] == "open":
        id = view["review"]
        click.echo(f"\nremit review approve {id} [--reason …]\nremit review deny {id} --reason …")


def _print_shown(view: dict[str, Any], shown: dict[str, Any]) -> None:
    facts = shown.get("facts", {})
    fields(("why", escaped(reason)) for reason in shown["reasons"])
    click.echo(f"\n{heading(shown['tool'])}  {escaped(shown['effect'])}, {escaped(shown['repeat'])}")
    fields([*((escaped(name), pretty(found)) for name, found in shown["args"].items())])
    click.echo(f"\n{heading('about the call')}")
    is_open = view["status"] == "open"
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
