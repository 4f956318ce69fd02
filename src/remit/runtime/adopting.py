"""An operator answers for a store that isn't authentic: one without a journal key, a restored one, a copy."""

from __future__ import annotations

import asyncio
from functools import partial

from remit.core.canonical import canonical
from remit.core.entries import Adopted
from remit.errors import BadInput, Conflict
from remit.runtime.ambient import Ambient
from remit.runtime.stream import Draft
from remit.store.authentic import Authority, adopt
from remit.store.integrator import Integrator
from remit.store.journal import Append, Journal, JournalKeys


async def adopt_store(url: str, keys: JournalKeys, ambient: Ambient, by: str, reason: str) -> Adopted:
    """Reads every stream of the store, records the adoption, and authenticates all of it under a new journal key.

    A crash between the two leaves a store on which still nothing runs: adopt it again.

    Returns:
        What was recorded.

    Raises:
        BadInput: no reason, or the store is authentic as it is.
        Tampered: a stream doesn't add up, or entries are missing: such a store is adopted by nobody.
        SettingsError: no key can be made.
    """
    if not reason.strip():
        raise BadInput("an adoption needs a reason: say where the store comes from, and who looked at it")
    async with await Journal.open(url, create=False, keys=keys) as journal:
        authority = journal.authority
        if not authority.refusal:
            raise BadInput(f"there is nothing to adopt: the store is authentic, by its journal key `{authority.keyed}`")
        for stream in await journal.streams():
            await journal.read(stream)
        journal.authority = Authority(None, "", authority.refusal)  # what is appended is authenticated with the rest
        size = await journal.position()
        root = await Integrator(journal).root_of_entries(size)
        while True:
            draft = Draft("store", await journal.head("store"), ambient)
            said = Adopted(size, root.hex(), by, authority.refusal, draft.commit("/reason", canonical(reason)))
            try:
                await journal.append(Append((draft.seal(by, said),), tuple(draft.payloads)))
                break
            except Conflict:
                continue
        key = await asyncio.to_thread(keys.make)
        await journal.transact(partial(adopt, keys=keys, key=key, path=journal.path))
        return said
