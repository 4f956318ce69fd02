"""What people want to know of grants, read from the journal: plain values, for printing."""

from __future__ import annotations

from typing import Any

from remit.core.canonical import plain
from remit.core.entries import GrantUsed, is_committed
from remit.core.grants import GrantState, GrantStatus, condition_of, read_condition
from remit.core.reviews import ReviewState
from remit.core.rulings import names_of
from remit.errors import Tampered
from remit.runtime.erasures import ERASED, values_of
from remit.runtime.force import look
from remit.runtime.load import condition_payload, load_grant, load_review
from remit.store.journal import Journal


async def grant_rows(journal: Journal, now: str, *, all_: bool) -> list[dict[str, Any]]:
    """Returns the grants that can be used at `now` (RFC 3339, UTC), or all of them, the oldest first."""
    said = (await look(journal)).said
    found = []
    for name in await journal.streams("grant/"):
        state = await load_grant(journal, name.removeprefix("grant/"))
        review = await load_review(journal, state.made.grant)
        row = _row(state, review, now, said.digest if said else "")
        if all_ or row["status"] == "open":
            found.append(row)
    return sorted(found, key=lambda row: (row["made"], row["grant"]))


async def grant_view(journal: Journal, grant: str, now: str) -> dict[str, Any]:
    """Returns a grant with its condition (None where it was erased), who granted it, and its uses.

    Raises:
        UnknownId: there is no such grant.
        Tampered: what is stored isn't what was recorded.
    """
    state, review = await load_grant(journal, grant), await load_review(journal, grant)
    payload = await condition_payload(journal, review)
    condition, reviewed = read_condition(payload.value) if payload else (None, None)
    uses = [
        {"number": one.number, "run": one.run, "call": one.call, "at": entry.at}
        for entry in await journal.read(f"grant/{grant}")
        if isinstance(one := entry.body, GrantUsed)
    ]
    said = (await look(journal)).said
    return {
        **_row(state, review, now, said.digest if said else ""),
        "condition": condition,
        "reviewed": reviewed,
        "gone": "" if payload else await _gone(journal, review),
        "run": state.made.run,
        "call": review.opened.call,
        "tool_digest": state.terms.tool_digest,
        "granted_by": list(names_of(review.approving)),
        "rules": [f"{hit.policy}/{hit.rule}" for hit in review.opened.disclosed],
        "calls": uses,
        "reason": await _reason(journal, state),
    }


def _row(state: GrantState, review: ReviewState, now: str, in_force: str) -> dict[str, Any]:
    made, terms = state.made, state.terms
    return {
        "grant": made.grant,
        "status": _status(state, review, now, in_force),
        "queue": made.queue,
        "agent": terms.agent,
        "version": terms.version,
        "tool": terms.tool,
        "principal": terms.principal,
        "uses": terms.uses,
        "used": state.used,
        "until": terms.until,
        "made": state.at,
        "policies": made.policies,
        "revoked_by": state.revoked.reviewer if state.revoked else "",
        "revoked": state.revoked_at,
    }


def _status(state: GrantState, review: ReviewState, now: str, in_force: str) -> str:
    """Returns open, used_up, revoked, expired, or ended: with the policy set that it was made under."""
    if state.status is not GrantStatus.OPEN:
        return state.status.value
    if not state.is_open(now):
        return "expired"
    limits = review.terms.grant
    outlives = limits is not None and limits.outlives_policies
    return "open" if outlives or state.made.policies == in_force else "ended"


async def _gone(journal: Journal, review: ReviewState) -> str:
    """Why its condition isn't there: `[erased]` or `[withheld]`."""
    place = condition_of(review)
    values = await values_of(journal, f"review/{review.opened.review}")
    return values.gone(place[0], "/grant") if place else ERASED


async def _reason(journal: Journal, state: GrantState) -> str | None:
    """Why it was revoked; "" where it wasn't, None where that was erased."""
    if state.revoked is None:
        return ""
    payload = (await journal.payloads(f"grant/{state.made.grant}")).get((state.head.seq, "/reason"))
    if payload is not None and not is_committed(payload, state.revoked.reason):
        raise Tampered(f"{payload.stream}#{payload.seq} /reason: the payload is not what the entry committed to")
    return str(plain(payload.value)) if payload is not None else None
