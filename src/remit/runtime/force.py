"""What the journal says is in force: the newest activation that counts, or what was loaded last."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import orjson

from remit.core.activation import unapproved, unlike, unsound
from remit.core.entries import (
    Entry,
    Head,
    KeyAdded,
    KeyRetired,
    PolicyActivated,
    PolicyLoaded,
    PolicyRestored,
    PolicyRevoked,
)
from remit.core.notes import VerifierKey
from remit.core.people import People, read_people
from remit.core.revoking import after as after_revoking
from remit.core.revoking import unsound as unsound_revocation
from remit.errors import Tampered, UnknownId
from remit.runtime.load import load_review
from remit.store.journal import Journal


@dataclass(frozen=True, slots=True)
class Force:
    """What the stream `policy` says is in force.

    Attributes:
        head: the stream's, when this was read.
        said: the newest activation that counts; without any, what was loaded last; None where nothing was.
        place: the number of its entry.
        revision: the highest that was seen, whether or not its activation counts.
        refused: why an activation after `said` doesn't count; "" where there is none.
        revoked: reviewers and keys that rule no more, whatever the set says.
        ignored: why the newest revocation doesn't count; "" where it does.
    """

    head: Head = field(default_factory=Head)
    said: PolicyLoaded | None = None
    place: int = -1
    revision: int = 0
    refused: str = ""
    revoked: frozenset[str] = frozenset()
    ignored: str = ""

    @property
    def activated(self) -> PolicyActivated | None:
        """The activation in force, if there is one."""
        return self.said if isinstance(self.said, PolicyActivated) else None


async def look(journal: Journal, trusted: Sequence[VerifierKey] = (), seen: Force | None = None) -> Force:
    """Returns what is in force, from the journal; `seen` is what was known before.

    Args:
        trusted: keys whose activations count; where none are named, all that the journal has.

    Raises:
        Tampered: the journal's chain is broken.
    """
    force = seen or Force()
    for entry in await journal.read("policy", force.head.seq):
        force = await after(journal, force, entry, trusted)
    return force


async def after(journal: Journal, force: Force, entry: Entry, trusted: Sequence[VerifierKey]) -> Force:
    """Returns what is in force after an entry of the stream `policy`. Raises as `look`."""
    body = entry.body
    if isinstance(body, PolicyActivated):
        why = await _refusal(journal, entry, force, trusted)
        revision = max(force.revision, body.revision)
        if why:
            refused = f"revision {body.revision} is refused: {why}"
            return replace(force, head=entry.head, revision=revision, refused=refused)
        return Force(entry.head, body, entry.seq, revision, "", force.revoked, force.ignored)
    if isinstance(body, (PolicyRevoked, PolicyRestored)):
        if why := unsound_revocation(entry, await _keys_before(journal, entry, trusted)):
            return replace(force, head=entry.head, ignored=f"{entry.kind} #{entry.seq}: {why}")
        return replace(force, head=entry.head, revoked=after_revoking(force.revoked, body), ignored="")
    if isinstance(body, PolicyLoaded) and force.activated is None:
        return replace(force, head=entry.head, said=body, place=entry.seq)
    return replace(force, head=entry.head)


async def _refusal(journal: Journal, entry: Entry, force: Force, trusted: Sequence[VerifierKey]) -> str:
    body = entry.body
    assert isinstance(body, PolicyActivated)  # of no other is it asked
    if why := unsound(entry, force.revision, await _keys_before(journal, entry, trusted)):
        return why
    artifact = None
    with suppress(Tampered):
        artifact = await journal.artifact(body.texts)
    if why := unlike(body, artifact.data if artifact else None):
        return why
    review = None
    if body.review:
        with suppress(UnknownId):
            review = await load_review(journal, body.review)
    return unapproved(body, await people_of(journal, force), review, entry.at)


async def _keys_before(journal: Journal, at: Entry, trusted: Sequence[VerifierKey]) -> list[VerifierKey]:
    """Returns the keys that count of those that the journal had before an entry, without the ones retired then."""
    position = await journal.position_of(at.stream, at.seq)
    found: dict[str, VerifierKey] = {}
    for entry in await journal.read("store"):
        body = entry.body
        if not isinstance(body, (KeyAdded, KeyRetired)) or await journal.position_of("store", entry.seq) > position:
            continue
        if isinstance(body, KeyAdded):
            found[body.key] = VerifierKey.parse(body.key)
        else:
            found.pop(body.key, None)
    return [key for key in found.values() if not trusted or key in trusted]


async def people_of(journal: Journal, force: Force) -> People:
    """Returns who is in charge by the recorded set in force; nobody where there is none. Raises Tampered."""
    said = force.said
    if said is None:
        return People()
    artifact = await journal.artifact(said.texts)
    if artifact is None:
        raise Tampered(f"policy set {said.digest[:12]}: its files are not in the store")
    return read_people(orjson.loads(artifact.data)["files"]).without(force.revoked)
