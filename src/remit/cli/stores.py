"""Opens the store that the settings name, with its journal key."""

from __future__ import annotations

from remit.cli.settings import Settings
from remit.store.journal import Journal, JournalKeys


async def open_store(found: Settings, *, create: bool = False) -> Journal:
    """Returns the open store. What a command appends is authenticated where the store's key is in the folder `keys`.

    Raises what `Journal.open` raises.
    """
    return await Journal.open(found.store, create=create, keys=JournalKeys(found.keys, found.journal_key))
