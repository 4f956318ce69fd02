"""Who acts at the command line: whose key it is, or who sits here."""

from __future__ import annotations

from remit.errors import BadInput
from remit.runtime.ambient import System, user
from remit.runtime.rulings import Reviewer, whoever_has
from remit.runtime.signing import open_key
from remit.store.journal import Journal


async def who_acts(journal: Journal, key: str, behalf: str = "") -> Reviewer:
    """Returns whose key it is, or in single-operator mode who sits here. Raises NotEntitled."""
    signer = await open_key(key) if key else None
    found = await whoever_has(journal, System(), signer, user())
    if behalf and signer is None:
        raise BadInput("--on-behalf-of takes a key: in single-operator mode nobody delegates")
    return Reviewer(found.name, signer, behalf)
