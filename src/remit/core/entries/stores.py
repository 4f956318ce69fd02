"""What the stream `store` says."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.entries.facts import Commitment, Fact


class Exported(Fact, frozen=True):
    scope: tuple[str, ...]
    entries: int
    digest: str
    """SHA-256 of the exported `entries.jsonl`."""


class KeyAdded(Fact, frozen=True):
    """`key` (C2SP: `name+id+base64`) signs checkpoints and exports from here on."""

    key: str


class KeyRetired(Fact, frozen=True):
    """`key` signs nothing any more; what it signed before still holds."""

    key: str
    reason: Commitment | None = None


class Erased(Fact, frozen=True):
    """Payloads of a stream whose values and salts were deleted: entry number and path of each."""

    stream: str
    places: tuple[tuple[int, str], ...]
    by: str
    reason: Commitment | None = None


class CountingBegun(Fact, frozen=True):
    """The secret that names the streams of counters: without it, a name says nothing of what is counted apart."""

    secret: Commitment


class Adopted(Fact, frozen=True):
    """An operator answers for the store as it was: from here on it is authenticated by another journal key.

    Before, it was written without a key, its key was lost, or an older copy was put in its place.
    """

    size: int
    """Entries of the store before this one."""
    root: str
    """The root, in hex, of the Merkle tree (RFC 6962) over them."""
    by: str
    refused: str
    """Why nothing ran on it."""
    reason: Commitment


KINDS: Mapping[str, type[Fact]] = {
    "store.exported": Exported,
    "store.erased": Erased,
    "store.key_added": KeyAdded,
    "store.key_retired": KeyRetired,
    "store.counting_begun": CountingBegun,
    "store.adopted": Adopted,
}
