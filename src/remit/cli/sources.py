"""Where a command that only reads gets the journal from: the store, or an export."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from remit.cli.settings import settings
from remit.cli.stores import open_store
from remit.errors import BadInput
from remit.store.journal import Journal
from remit.store.reopening import reopened

export_option = click.option(
    "--export", "bundle", metavar="BUNDLE", help="Read this export, a folder or .zip, instead of the store."
)


@asynccontextmanager
async def source(store: str | None, bundle: str | None) -> AsyncIterator[Journal]:
    """Opens the store, or the export where one is named. Raises BadInput where both are."""
    if bundle is None:
        async with await open_store(settings(store=store)) as journal:
            yield journal
        return
    if store is not None:
        raise BadInput("name --export or --store, not both")
    async with reopened(Path(bundle)) as journal:
        yield journal
