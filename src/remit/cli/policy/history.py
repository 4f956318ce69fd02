"""`remit policy log`."""

from __future__ import annotations

from typing import Any

import click

from remit.cli.output import escaped, fields, heading, moment, print_json, value
from remit.cli.policy.activating import words_of
from remit.cli.policy.comparing import show_difference
from remit.cli.settings import asynchronous, json_option, keys_option, settings, store_option
from remit.cli.sources import export_option, source
from remit.errors import UnknownId
from remit.policykit.diff import Difference, compare
from remit.runtime.keys import KeyRing
from remit.runtime.policylog import policy_log, texts_of
from remit.runtime.trust import trusted_keys

_WORDS = {
    "loaded": "loaded", "activated": "activated", "kept": "not taken up", "revoked": "revoked", "restored": "restored",
}  # fmt: skip
_PEOPLE = ("revoked", "restored")


@click.command(name="log")
@click.argument("digest", metavar="[DIGEST]", required=False)
@keys_option
@export_option
@store_option
@json_option
@asynchronous
async def log(digest: str | None, keys: str | None, bundle: str | None, store: str | None, as_json: bool) -> None:
    """Say who changed the policies, when, why, and who approved it, the newest first.

    With DIGEST (of a set, its beginning, or a revision's number), that entry, and in words what differs from the set
    before it.

    Exit codes: 0 done, 5 no such set.
    """
    found = settings(store=store, keys=keys)
    async with source(store, bundle) as journal:
        trusted = await trusted_keys(journal, KeyRing(found.keys), found.policy_keys)
        differences: list[Difference] = []
        rows = [{**row, "differences": []} for row in reversed(await policy_log(journal, trusted))]
        if digest is not None:
            chosen = _one(rows, digest)
            differences = compare(
                await texts_of(journal, chosen["previous"]), await texts_of(journal, chosen["digest"])
            )
            rows = [{**chosen, "differences": [one.row() for one in differences]}]
    if as_json:
        return print_json(rows)
    for row in rows:
        _show(row)
    for one in differences:
        show_difference(one)
    if not rows:
        click.echo("no policy was ever in force in this store", err=True)
    return None


def _one(rows: list[dict[str, Any]], digest: str) -> dict[str, Any]:
    """Returns the newest entry that put a set in force: by its digest, or by its revision."""
    sets = [row for row in rows if row["what"] not in ("kept", *_PEOPLE)]
    exact = [row for row in sets if digest.isdecimal() and row["revision"] == int(digest)]
    found = exact or [row for row in sets if row["digest"].startswith(digest)] if digest else []
    if not found:
        raise UnknownId(f"no policy set of the store is `{digest}`; `remit policy log` has them all")
    if len({row["digest"] for row in found}) > 1:
        raise UnknownId(f"`{digest}`: several policy sets begin so: write more of it")
    return next((row for row in found if row["what"] == "activated"), found[-1])


def _show(row: dict[str, Any]) -> None:
    revision = f" as revision {row['revision']}" if row["revision"] else ""
    what = f"{_WORDS[row['what']]}{revision}"
    of = value(row["of"]) if row["what"] in _PEOPLE else row["digest"][:12]
    click.echo(f"{moment(row['at'])}  {heading(of)}  {what} by {escaped(row['actor'])}")
    fields(
        [
            ("REFUSED", value(row["refused"]) if row["refused"] else ""),
            ("asked by", value(row["by"]) if row["by"] else ""),
            ("reason", value(row["reason"]) if row["reason"] else ""),
            ("approved by", ", ".join(value(name) for name in row["reviewers"])),
            ("effect", words_of(row["effect"]) if row["effect"] else ""),
            ("expires", moment(row["expires"]) if row["expires"] else ""),
        ]
    )
