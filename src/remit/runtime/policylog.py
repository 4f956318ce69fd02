"""Who changed the policies, when and why: the stream `policy` in words."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson

from remit.core.entries import (
    Entry,
    PolicyActivated,
    PolicyKept,
    PolicyLoaded,
    PolicyRestored,
    PolicyRevoked,
    is_committed,
)
from remit.core.notes import VerifierKey
from remit.core.rulings import names_of
from remit.errors import Tampered, UnknownId
from remit.runtime.erasures import Values, values_of
from remit.runtime.force import Force, after
from remit.runtime.load import load_review
from remit.store.journal import Journal


async def policy_log(journal: Journal, trusted: Sequence[VerifierKey] = ()) -> list[dict[str, Any]]:
    """Returns a row for each entry of the stream `policy`, the oldest first.

    Args:
        trusted: keys whose activations count; where none are named, all that the journal has.

    Raises:
        Tampered: what is stored isn't what was recorded.
    """
    payloads = await values_of(journal, "policy")
    force, rows = Force(), []
    previous = ""
    for entry in await journal.read("policy"):
        before, force = force, await after(journal, force, entry, trusted)
        body = entry.body
        row: dict[str, Any] = {
            "at": entry.at, "actor": entry.actor, "what": entry.kind.removeprefix("policy."), "digest": "",
            "previous": "", "revision": 0, "by": "", "reason": "", "reviewers": [], "review": "", "effect": {},
            "expires": "", "refused": "", "of": "",
        }  # fmt: skip
        if isinstance(body, (PolicyRevoked, PolicyRestored)):
            row |= {
                "of": body.reviewer or body.key, "by": body.by,
                "reason": _value(payloads, entry, body.reason) if body.reason else "",
                "refused": force.ignored if force.ignored != before.ignored else "",
            }  # fmt: skip
        elif isinstance(body, PolicyKept):
            row |= {"digest": body.kept, "previous": body.digest, "reason": _value(payloads, entry, body.reason)}
        elif isinstance(body, PolicyLoaded):
            row |= {"digest": body.digest, "previous": previous}
            previous = body.digest
        if isinstance(body, PolicyActivated):
            row |= {
                "previous": body.previous, "revision": body.revision, "by": body.by, "review": body.review,
                "effect": dict(body.effect), "expires": body.expires,
                "reason": _value(payloads, entry, body.reason),
                "reviewers": await _reviewers(journal, body.review),
                "refused": force.refused if force.refused != before.refused else "",
            }  # fmt: skip
        rows.append(row)
    return rows


async def texts_of(journal: Journal, digest: str) -> dict[str, str]:
    """Returns the files of a recorded set; none for no digest. Raises UnknownId, Tampered."""
    if not digest:
        return {}
    for entry in reversed(await journal.read("policy")):
        if isinstance(entry.body, PolicyLoaded) and entry.body.digest == digest:
            artifact = await journal.artifact(entry.body.texts)
            if artifact is None:
                raise Tampered(f"policy set {digest[:12]}: its files are not in the store")
            texts: dict[str, str] = orjson.loads(artifact.data)["files"]
            return texts
    raise UnknownId(f"no policy set of the store is {digest[:12]}")


async def _reviewers(journal: Journal, review: str) -> list[str]:
    with suppress(UnknownId):
        return list(names_of((await load_review(journal, review)).approving)) if review else []
    return []


def _value(payloads: Values, entry: Entry, said: str | None) -> str:
    payload = payloads.get((entry.seq, "/reason"))
    if said is None:
        return ""
    if payload is None:
        return payloads.gone(entry.seq, "/reason")
    if not is_committed(payload, said):
        raise Tampered(f"policy#{entry.seq} /reason: the payload is not what the entry committed to")
    return str(orjson.loads(payload.value))
