"""`remit reviewers`: who may rule by the policy in force, and who may no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from remit.cli.drafts import says_what_is_in_force
from remit.cli.output import heading, moment, print_json, print_table, value
from remit.cli.settings import asynchronous, json_option, keys_option, settings, store_option
from remit.cli.stores import open_store
from remit.runtime.ambient import System, stamp, user
from remit.runtime.checkpoints import Checkpoints
from remit.runtime.force import look, people_of
from remit.runtime.keys import KeyRing
from remit.runtime.revoking import fingerprint, rows
from remit.runtime.revoking import revoke as revoke_now
from remit.runtime.textfiles import read_bounded
from remit.runtime.trust import trusted_keys

_LARGEST_KEY = 16_384


@click.group()
def reviewers() -> None:
    """Look at reviewers and their keys, and revoke them."""


@reviewers.command("list")
@says_what_is_in_force
@keys_option
@store_option
@json_option
@asynchronous
async def list_(keys: str | None, store: str | None, as_json: bool) -> None:
    """List the reviewers of the policy in force: their groups, queues and keys, and whom a revocation keeps out."""
    found = settings(store=store, keys=keys)
    async with await open_store(found) as journal:
        trusted = await trusted_keys(journal, KeyRing(found.keys), found.policy_keys)
        made = rows(await people_of(journal, await look(journal, trusted)), stamp(System().now()))
    if as_json:
        return print_json(made)
    cells = [
        (
            value(row["reviewer"]), "revoked" if row["revoked"] else "yes" if row["rules"] else "no",
            ", ".join(map(value, row["groups"])), ", ".join(map(value, row["queues"])),
            ", ".join(_key(key) for key in row["keys"]) or "none",
        )
        for row in made
    ]  # fmt: skip
    print_table(("REVIEWER", "RULES", "GROUPS", "QUEUES", "KEYS"), cells, "there is no reviewer")
    return None


def _key(key: dict[str, Any]) -> str:
    ends = f" until {moment(key['until'])}" if key["until"] else ""
    return f"{key['fingerprint']}{' (revoked)' if key['revoked'] else ends}"


@reviewers.command()
@click.argument("whom", metavar="NAME|KEY")
@click.option("--reason", default="", help="Why; recorded.")
@keys_option
@store_option
@json_option
@asynchronous
async def revoke(whom: str, reason: str, keys: str | None, store: str | None, as_json: bool) -> None:
    """Revoke a reviewer by NAME, or one KEY: its fingerprint, its `.pub` file, or that file's line.

    It counts at once, for every worker, whatever set of policies is in force or will be: they rule no more, and what
    they approved and has not run yet is asked about again. What has run stays as it was. It is an entry in the
    journal, signed by its key, until `remit reviewers restore`. Take them out of reviewers.yaml as well.

    Exit codes: 0 revoked, 5 no such reviewer or key, 7 revoked already.
    """
    await _act(whom, reason, keys, store, as_json, restore=False)


@reviewers.command()
@click.argument("whom", metavar="NAME|KEY")
@click.option("--reason", default="", help="Why; recorded.")
@keys_option
@store_option
@json_option
@asynchronous
async def restore(whom: str, reason: str, keys: str | None, store: str | None, as_json: bool) -> None:
    """End a revocation: whether NAME or KEY rules is again what the policy in force says.

    Exit codes: 0 restored, 5 no such reviewer or key, 7 not revoked.
    """
    await _act(whom, reason, keys, store, as_json, restore=True)


async def _act(whom: str, reason: str, keys: str | None, store: str | None, as_json: bool, *, restore: bool) -> None:
    found = settings(store=store, keys=keys)
    if whom.endswith(".pub"):
        whom = read_bounded(Path(whom), _LARGEST_KEY).strip()
    async with await open_store(found) as journal:
        ring = KeyRing(found.keys)
        trusted = await trusted_keys(journal, ring, found.policy_keys)
        done = await revoke_now(
            journal, System(), await ring.signer(journal), trusted, whom, user(), reason, restore=restore
        )
        await Checkpoints(journal, ring, System(), found.anchor).make()
    if as_json:
        return print_json([done])
    who = value(done["reviewer"]) if done["reviewer"] else f"key {fingerprint(done['key'])}"
    words = "is restored: the policy in force says whether it rules" if restore else "rules no more, from now on"
    click.echo(f"{heading(who)} {words}")
    for queue in done["unstaffed"]:
        click.echo(f"queue {value(queue)} has too few reviewers now: what waits there expires", err=True)
    return None
