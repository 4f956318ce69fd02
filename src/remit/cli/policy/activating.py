"""`remit policy activate`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from remit.cli.output import escaped, fields, heading, print_json
from remit.cli.policy.comparing import files_of, show_difference
from remit.cli.policy.sources import app_option, since, tools_for
from remit.cli.settings import (
    Settings,
    asynchronous,
    folder_argument,
    json_option,
    keys_option,
    settings,
    store_option,
)
from remit.cli.stores import open_store
from remit.errors import BadInput
from remit.logs import get
from remit.policykit.backtest import Backtest, Loaded, Report, Row
from remit.policykit.diff import Difference, compare
from remit.policykit.toolset import Toolset, recorded_tools, types_of
from remit.runtime.activating import Activated, Asked, Candidate, asked_in, files_in, propose
from remit.runtime.activating import activate as put_in_force
from remit.runtime.ambient import System, stamp, user
from remit.runtime.checkpoints import Checkpoints
from remit.runtime.force import Force, look
from remit.runtime.guards import Guards
from remit.runtime.keys import KeyRing
from remit.runtime.load import load_review
from remit.runtime.recordedcalls import recorded_texts
from remit.runtime.trust import trusted_keys
from remit.store.decisions import with_decisions
from remit.store.journal import Journal
from remit.store.projections import Projections

_WAITING = 8
_PERIOD = re.compile(r"([1-9][0-9]{0,4})([hd])")


@dataclass(frozen=True, slots=True)
class _Set:
    """What is to be activated: its files, and the tools that they are checked against."""

    files: Mapping[str, str]
    tools: Toolset
    guards: Guards | None = None
    expires: str = ""

    def candidate(self) -> Candidate:
        """Loads it. Raises PolicyError."""
        policies = self.tools.load(self.files)
        if self.guards is not None:
            self.guards.check(policies)
        return Candidate(policies, types_of(self.tools), self.expires)


@click.command()
@folder_argument
@click.option("--reason", default="", help="Why; recorded, and shown to reviewers.")
@click.option(
    "--expires", default="", metavar="TIME", help="Nothing runs under it from then on: 90d, 12h, or RFC 3339."
)
@click.option("--review", "review_id", default="", metavar="REVIEW", help="Activate what was approved in this review.")
@click.option("--dry-run", is_flag=True, help="Show what it would change, and write nothing.")
@click.option("--since", "period", default="", metavar="TIME", help="Count the effect on decisions since then only.")
@app_option
@keys_option
@store_option
@json_option
@click.pass_context
@asynchronous
async def activate(
    ctx: click.Context, policies: str | None, reason: str, expires: str, review_id: str, dry_run: bool, period: str,
    app: str | None, keys: str | None, store: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Put the policies of DIR (a folder, a git ref, or the digest of a recorded set) in force for every worker.

    From then on that set runs, from the journal, and the folder of policies is a draft. Shown first are what differs
    from the set in force, and the store's decisions made again. Where the set in force names a queue for it, a review
    is opened instead; once it is approved, the same command, or --review, activates the set. To go back, activate an
    older one.

    Exit codes: 0 in force, or shown, 2 it doesn't load, 4 denied or not approved by whom it takes, 7 another set was
    activated meanwhile, 8 waiting for a review.
    """
    found = settings(app=app, keys=keys, store=store)
    async with await open_store(found) as journal:
        ring = KeyRing(found.keys)
        trusted = await trusted_keys(journal, ring, found.policy_keys)
        force = await look(journal, trusted)
        if force.refused:
            get().error("the newest activation doesn't count", why=force.refused)
        chosen, review = await _chosen(journal, found, policies, app, _end(expires), review_id)
        candidate = chosen.candidate()
        differences = compare(await _in_force(journal, force), candidate.policies.texts)
        report = await with_decisions(journal, since(period), _backtest(chosen))
        effect = _effect(report)
        if review:
            asked = await asked_in(journal, await load_review(journal, review))
        else:
            changes = [f"{one.change} {one.name}: {one.direction.value}: {'; '.join(one.words)}" for one in differences]
            asked = Asked(user(), reason, changes, effect)
        if not as_json:
            _show(candidate, force, differences, effect)
        if dry_run:
            body = propose(force, candidate, user())
            done = Activated("dry run", body.revision, body.digest, body.previous)
        else:
            done = await put_in_force(
                journal, System(), await ring.signer(journal), trusted, candidate, asked, review, force
            )
            if done.status == "activated":
                await Checkpoints(journal, ring, System(), found.anchor).make()
    _tell(done, candidate, differences, effect, as_json)
    ctx.exit(_WAITING if done.status == "waiting" else 0)


async def _chosen(
    journal: Journal, found: Settings, name: str | None, app: str | None, expires: str, review_id: str
) -> tuple[_Set, str]:
    """Returns what is to be activated: what DIR names, or what a review is of."""
    review = (await Projections(journal).find_review(review_id)).review if review_id else ""
    if review and name is None:
        files, types, until = await files_in(journal, await load_review(journal, review))
        return _Set(files, recorded_tools(types), None, until), review
    files = await files_of(found, name or found.policies)
    tools, guards = tools_for(found, files, app)
    return _Set(files, tools, guards, expires), review


async def _in_force(journal: Journal, force: Force) -> Mapping[str, str]:
    return await recorded_texts(journal, force.said) if force.said else {}


def _backtest(chosen: _Set) -> Any:
    def job(loaded: list[Loaded], rows: Iterable[Row]) -> Report:
        made = Backtest(chosen.files, loaded, chosen.tools, _tick if sys.stderr.isatty() else None)
        made.feed(rows)
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)
        return made.done

    return job


def _tick(decisions: int) -> None:
    click.echo(f"\r{decisions:,} decisions", nl=False, err=True)


def _effect(report: Report) -> dict[str, int]:
    return {
        "decisions": report.decisions,
        "same": report.same,
        "newly_allowed": report.newly("allow"),
        "newly_escalated": report.newly("escalate"),
        "newly_denied": report.newly("deny"),
        "widened": report.widened,
        "narrowed": report.narrowed,
        "undecided": report.undecidable,
        "reviews_were": report.reviews,
        "reviews_would_be": report.reviews_then,
    }


def _end(text: str) -> str:
    """Returns when it expires, as entries write times."""
    if match := _PERIOD.fullmatch(text):
        return stamp(System().now() + timedelta(**{{"h": "hours", "d": "days"}[match[2]]: int(match[1])}))
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"--expires `{text}`: write 90d, 12h, or a time such as 2026-03-01T00:00:00Z") from None
    return stamp(moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC))


def words_of(effect: Mapping[str, int]) -> str:
    """Returns an effect in words."""
    if not effect.get("decisions"):
        return "no decision was made again"
    said = [f"{effect[f'newly_{how}']:,} newly {how}" for how in ("allowed", "escalated", "denied")]
    undecided = f", {effect['undecided']:,} can't be decided" if effect["undecided"] else ""
    return f"of {effect['decisions']:,} decisions made again {', '.join(said)}{undecided}"


def _show(candidate: Candidate, force: Force, differences: list[Difference], effect: Mapping[str, int]) -> None:
    before = force.said.digest[:12] if force.said else "none"
    click.echo(f"{heading('policy set ' + candidate.policies.digest[:12])}, in force is {before}")
    for one in differences:
        show_difference(one)
    if not differences:
        click.echo("  it means the same")
    reviews = f"{effect['reviews_were']:,} were opened, {effect['reviews_would_be']:,} would be"
    fields([("effect", words_of(effect)), ("reviews", reviews), ("expires", candidate.expires)])


def _tell(
    done: Activated, candidate: Candidate, differences: list[Difference], effect: Mapping[str, int], as_json: bool
) -> None:
    if as_json:
        row = {
            "status": done.status, "revision": done.revision, "digest": done.digest, "previous": done.previous,
            "review": done.review, "expires": candidate.expires, "effect": dict(effect),
            "differences": [one.row() for one in differences],
        }  # fmt: skip
        return print_json([row])
    if done.status == "waiting":
        click.echo(f"it waits for review {done.review}: look at it with `remit review show {done.review}`")
        return click.echo(f"  once it is approved: `remit policy activate --review {done.review}`")
    said = {
        "activated": f"revision {done.revision} is in force",
        "in force": f"it is in force already, as revision {done.revision}",
        "dry run": f"it would be revision {done.revision}; nothing was written",
    }
    return click.echo(escaped(said[done.status]))
