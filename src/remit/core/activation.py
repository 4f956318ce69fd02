"""Whether an activation puts a policy set in force: its signature, its revision, its files, and who approved it.

The same functions say so when somebody activates a set, when a worker is about to run under it, and when an auditor
looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remit.core import revoking
from remit.core.canonical import digest, digest_bytes, plain
from remit.core.entries import (
    Entry,
    KeyAdded,
    KeyRetired,
    PolicyActivated,
    PolicyKept,
    PolicyLoaded,
    PolicyRestored,
    PolicyRevoked,
)
from remit.core.notes import VerifierKey, unsigned
from remit.core.people import People
from remit.core.reviews import ReviewState, ReviewStatus
from remit.core.revoking import in_place
from remit.core.rulings import counts

KIND = "remit policy activation v1"
_PROPOSAL = "remit policy proposal v1"


def statement(body: PolicyActivated, seq: int, prev: str) -> str:
    """Returns what an activation's signature is over: all that its entry says but the signature, and its place."""
    return in_place(KIND, body, seq, prev)


def proposal(body: PolicyActivated) -> str:
    """Returns the digest that reviewers approve: of exactly this set, after exactly the one in force."""
    return digest(
        {
            "statement": _PROPOSAL,
            "digest": body.digest,
            "texts": body.texts,
            "types": body.types,
            "previous": body.previous,
            "revision": body.revision,
            "expires": body.expires,
            "by": body.by,
        }
    )


def unsound(entry: Entry, revision: int, keys: Sequence[VerifierKey]) -> str:
    """Returns why an activation doesn't count, whatever its files are; "" where it does.

    Args:
        revision: of the activation before it; 0 where there is none.
        keys: those that the journal had added, and not retired, before it.
    """
    body = entry.body
    if not isinstance(body, PolicyActivated):
        return "it is no activation"
    if body.revision <= revision:
        return f"it is revision {body.revision}, and revision {revision} was activated before it"
    return unsigned(statement(body, entry.seq, entry.prev), body.signature, keys)


def unlike(body: PolicyLoaded, texts: bytes | None) -> str:
    """Returns why the artifact with the files isn't the set that an entry names; "" where it is."""
    if texts is None:
        return "its files are not there"
    if digest_bytes(texts) != body.texts:
        return "its files are not the ones whose digest was recorded"
    try:
        files: Mapping[str, str] = plain(texts)["files"]
        sums = {name: digest_bytes(text.encode()) for name, text in files.items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        return "its files can't be read"
    return "" if sums == body.files and digest(sums) == body.digest else "its files are not those that it lists"


def unapproved(body: PolicyActivated, people: People, review: ReviewState | None, at: str) -> str:
    """Returns why an activation is not approved by whom it takes; "" where it is, or where nobody need.

    Args:
        people: of the set that was in force before it.
        review: the one that it names, as it stood then; None where there is none.
        at: when, as entries write times.
    """
    queue = people.activation
    if not queue and not body.review:
        return ""
    if not body.review:
        return f"the set in force says that queue `{queue}` must approve it, and nobody has"
    place = f"review `{body.review}`"
    if review is None or not review.opened.activation or review.opened.review != body.review:
        return f"{place} is not of an activation"
    opened = review.opened
    if opened.digest != proposal(body) or review.version != opened.digest:
        return f"{place} is of another set, or of another revision"
    if queue and opened.queue != queue:
        return f"{place} was in queue `{opened.queue}`, and the set in force names `{queue}`"
    if {opened.principal, opened.starter} != {body.by}:
        return f"{place} doesn't say truly who asked"
    if review.status not in (ReviewStatus.APPROVED, ReviewStatus.CONSUMED):
        return f"{place} is {review.status}"
    if review.status is ReviewStatus.APPROVED and at >= review.expires:
        return f"the approval in {place} had expired at {review.expires}"
    return "" if counts(people, review) else f"the approval in {place} doesn't count with those who are in charge"


class SetsInForce:
    """Which policy set is in force, as one reads a journal from its beginning."""

    def __init__(self) -> None:
        self._keys: dict[str, VerifierKey] = {}
        self._revision = 0
        self._now = ""
        self._kept: set[tuple[str, str]] = set()
        self._expires: dict[str, str] = {}
        self.revoked: frozenset[str] = frozenset()
        """Reviewers and keys that rule no more, whatever the set in force says."""

    def revoke(self, entry: Entry) -> str:
        """Revokes or restores a reviewer or key, or returns why that doesn't count."""
        body = entry.body
        if not isinstance(body, (PolicyRevoked, PolicyRestored)):
            return "it is no revocation"
        why = revoking.unsound(entry, list(self._keys.values()))
        if not why:
            self.revoked = revoking.after(self.revoked, body)
        return why

    def key(self, body: KeyAdded | KeyRetired) -> None:
        """Takes a key of the journal in, or out. Raises BadInput where it isn't one."""
        if isinstance(body, KeyAdded):
            self._keys[body.key] = VerifierKey.parse(body.key)
        else:
            self._keys.pop(body.key, None)

    def activate(self, entry: Entry, texts: bytes | None, people: People, review: ReviewState | None) -> str:
        """Puts an activation in force, or returns why it doesn't count; see `unsound`, `unlike` and `unapproved`."""
        body = entry.body
        if not isinstance(body, PolicyActivated):
            return "it is no activation"
        why = unsound(entry, self._revision, list(self._keys.values()))
        why = why or unlike(body, texts) or unapproved(body, people, review, entry.at)
        self._revision = max(self._revision, body.revision)
        if not why:
            self._now, self._kept = body.digest, set()
            self._expires[body.digest] = body.expires
        return why

    def kept(self, body: PolicyKept) -> None:
        """A worker stays under the set that it had."""
        if body.digest == self._now:
            self._kept.add((body.worker, body.kept))

    def may_load(self, digest: str) -> bool:
        """Whether a worker may load this set now."""
        return self._now in ("", digest)

    def may_decide(self, digest: str, worker: str = "") -> bool:
        """Whether a worker may decide under this set now."""
        return self._now in ("", digest) or (worker, digest) in self._kept

    def is_over(self, digest: str, at: str) -> bool:
        """Whether a set that was activated had expired at a moment."""
        expires = self._expires.get(digest, "")
        return bool(expires) and expires <= at
