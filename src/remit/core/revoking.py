"""Reviewers and keys that are revoked, at once and whatever the policy files say, until somebody restores them.

The same functions say whose word still counts when somebody rules, when a worker is about to act on it, and when an
auditor looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remit.core.canonical import canonical
from remit.core.entries import Entry, Fact, PolicyRestored, PolicyRevoked
from remit.core.identity import identity
from remit.core.notes import VerifierKey, unsigned

_KINDS = {PolicyRevoked: "remit revocation of a reviewer v1", PolicyRestored: "remit restoration of a reviewer v1"}


def in_place(kind: str, body: Fact, seq: int, prev: str) -> str:
    """Returns what the signature of an entry of the stream `policy` is over: all it says but that, and its place.

    So it holds for this place in this journal only: neither a copy of the entry in another journal, nor one that is
    appended again later, is signed.
    """
    said = {
        name: value for name, value in msgspec.json.decode(msgspec.json.encode(body)).items() if name != "signature"
    }
    return f"{kind}\n{canonical({**said, 'prev': prev, 'seq': seq}).decode()}\n"


def statement(body: PolicyRevoked | PolicyRestored, seq: int, prev: str) -> str:
    """Returns what the signature of a revocation, or of its end, is over."""
    return in_place(_KINDS[type(body)], body, seq, prev)


def unsound(entry: Entry, keys: Sequence[VerifierKey]) -> str:
    """Returns why a revocation, or its end, doesn't count; "" where it does.

    Args:
        keys: those that the journal had added, and not retired, before it.
    """
    body = entry.body
    if not isinstance(body, (PolicyRevoked, PolicyRestored)):
        return "it is no revocation"
    if bool(body.reviewer) == bool(body.key):
        return "it is of a reviewer, or of a key"
    return unsigned(statement(body, entry.seq, entry.prev), body.signature, keys)


def after(revoked: frozenset[str], body: PolicyRevoked | PolicyRestored) -> frozenset[str]:
    """Returns who is revoked after an entry that counts: names as they are compared, and keys as `.pub` files say."""
    who = frozenset((body.key or identity(body.reviewer),))
    return revoked - who if isinstance(body, PolicyRestored) else revoked | who
