"""`remit grant`: approvals in advance, listed, shown and revoked. They are made by `remit review approve --grant`."""

from __future__ import annotations

import click

from remit.cli.output import escaped, fields, folded, heading, mark, moment, pretty, print_json, print_table, value
from remit.cli.settings import asynchronous, json_option, key_option, settings, store_option
from remit.cli.sources import export_option, source
from remit.cli.stores import open_store
from remit.cli.who import who_acts
from remit.errors import UnknownId
from remit.runtime.ambient import System, stamp
from remit.runtime.grants import revoke
from remit.runtime.grantviews import grant_rows, grant_view
from remit.store.journal import Journal

_ID = click.argument("grant_id", metavar="GRANT")


@click.group()
def grant() -> None:
    """Look at grants, and revoke them."""


@grant.command("list")
@click.option("--all", "all_", is_flag=True, help="Also those that are used up, over or revoked.")
@export_option
@store_option
@json_option
@asynchronous
async def list_(all_: bool, bundle: str | None, store: str | None, as_json: bool) -> None:
    """List the grants that can be used, the oldest first."""
    async with source(store, bundle) as journal:
        found = await grant_rows(journal, stamp(System().now()), all_=all_)
    if as_json:
        return print_json(found)
    rows = [
        (
            row["grant"], row["status"], value(row["queue"]), value(row["tool"]),
            f"{value(row['agent'])} {value(row['version'])}", value(row["principal"]),
            f"{row['used']} of {row['uses']}", moment(row["until"]),
        )
        for row in found
    ]  # fmt: skip
    print_table(("GRANT", "STATUS", "QUEUE", "TOOL", "AGENT", "FOR", "USED", "UNTIL"), rows, "nothing is granted")
    return None


@grant.command()
@_ID
@export_option
@store_option
@json_option
@asynchronous
async def show(grant_id: str, bundle: str | None, store: str | None, as_json: bool) -> None:
    """Show GRANT (an id, or its beginning): what it covers, who granted it, and what it was used for.

    Exit codes: 0 shown, 5 no such grant.
    """
    async with source(store, bundle) as journal:
        found = await grant_view(journal, await _find(journal, grant_id), stamp(System().now()))
    if as_json:
        return print_json([found])
    click.echo(f"{heading('grant ' + found['grant'])} in queue {escaped(found['queue'])} is {mark(found['status'])}")
    revoked = f"by {value(found['revoked_by'])} at {moment(found['revoked'])}: {value(found['reason'])}"
    fields(
        [
            ("tool", f"{value(found['tool'])}, version {found['tool_digest'][:12]}"),
            ("of agent", f"{value(found['agent'])}, version {value(found['version'])}"),
            ("for", value(found["principal"])),
            ("if", value(found["condition"], None) if found["condition"] is not None else found["gone"]),
            ("this.args", pretty(found["reviewed"]) if found["reviewed"] is not None else found["gone"]),
            ("used", f"{found['used']} of {found['uses']} times"),
            ("until", moment(found["until"])),
            ("granted by", ", ".join(value(name) for name in found["granted_by"])),
            ("made", f"{moment(found['made'])}, with call {value(found['call'])} of run {found['run']}"),
            ("answers", ", ".join(value(rule) for rule in found["rules"])),
            ("revoked", revoked if found["revoked"] else ""),
        ]
    )
    for use in found["calls"]:
        click.echo(folded(f"{use['number']}. {moment(use['at'])}  call {value(use['call'])} of run {use['run']}", "  "))
    return None


@grant.command(name="revoke")
@_ID
@click.option("--reason", required=True, help="Why; recorded.")
@key_option
@store_option
@json_option
@asynchronous
async def revoke_(grant_id: str, reason: str, key: str | None, store: str | None, as_json: bool) -> None:
    """End GRANT: no call is begun under it any more. Whoever rules in its queue may, and whoever granted it.

    Exit codes: 0 revoked, 2 refused, 4 not entitled, 5 no such grant, 7 used up, over or revoked before.
    """
    found = settings(store=store, review_key=key)
    async with await open_store(found) as journal:
        id = await _find(journal, grant_id)
        who = await who_acts(journal, found.review_key)
        await revoke(journal, System(), id, who.name, who.signer, reason)
        view = await grant_view(journal, id, stamp(System().now()))
    if as_json:
        return print_json([view])
    click.echo(f"{heading('grant ' + id)} is {mark('revoked')}; it was used {view['used']} of {view['uses']} times")
    return None


async def _find(journal: Journal, prefix: str) -> str:
    ids = [name.removeprefix("grant/") for name in await journal.streams(f"grant/{prefix}")]
    if not prefix:
        raise UnknownId("which grant? type its id, or the beginning of it")
    if prefix in ids or len(ids) == 1:
        return prefix if prefix in ids else ids[0]
    if not ids:
        raise UnknownId(f"there is no grant `{prefix}`: `remit grant list --all` names them")
    raise UnknownId(f"`{prefix}` fits {len(ids)} grants: {', '.join(ids[:5])}: type more of it")
