"""Whose signatures on activations and revocations count for a process."""

from __future__ import annotations

from collections.abc import Sequence

from remit.core.notes import VerifierKey
from remit.runtime.keys import KeyRing
from remit.store.journal import Journal


async def trusted_keys(journal: Journal, ring: KeyRing, named: Sequence[str]) -> list[VerifierKey]:
    """Returns the public keys that the settings name, or those whose private halves are in the folder of keys."""
    if named:
        return [VerifierKey.parse(key) for key in named]
    return [known.key for known in await ring.known(journal) if known.here]
