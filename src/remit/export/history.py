"""What an export's page tells beside the runs: policy changes, grants, erasures. Derived, never evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from remit.core.canonical import plain
from remit.core.entries import (
    Entry,
    Erased,
    GrantUsed,
    Payload,
    PolicyActivated,
    PolicyKept,
    PolicyLoaded,
    PolicyRestored,
    PolicyRevoked,
    ReviewOpened,
    is_committed,
)
from remit.core.grants import GrantState, read_condition
from remit.core.lifecycle import fold
from remit.core.reviews import ReviewState
from remit.core.rulings import names_of
from remit.errors import Tampered
from remit.export.rows import ReviewRow, review_row
from remit.export.withhold import Withhold, nothing
from remit.store.journal import Journal

Until = Mapping[str, tuple[int, int]]
"""Of each stream, its last entry's number (and place): what comes after it, is left out."""


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A change of the policies, or of who may rule. Times are RFC 3339.

    Attributes:
        what: the entry's kind: `loaded`, `activated`, `kept`, `revoked` or `restored`.
        by: who asked for it, or the worker that wrote it.
        of: the person or key that was revoked or restored.
        reason: None where it is not disclosed.
    """

    at: str
    what: str
    digest: str
    by: str
    entry: str
    revision: int = 0
    review: str = ""
    of: str = ""
    reason: str | None = ""
    effect: Mapping[str, int] | None = None
    expires: str = ""


@dataclass(frozen=True, slots=True)
class GrantRow:
    """An approval in advance. `condition` is None where it is not disclosed; `calls` are its uses: time, run, call."""

    grant: str
    queue: str
    tool: str
    agent: str
    principal: str
    granted_by: tuple[str, ...]
    made: str
    until: str
    uses: int
    status: str
    condition: str | None
    calls: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ErasureRow:
    """Values that were erased: `places` as `stream#entry path`; `reason` is None where it is not disclosed."""

    at: str
    by: str
    places: tuple[str, ...]
    reason: str | None
    entry: str


@dataclass(frozen=True, slots=True)
class History:
    """Everything beside the runs, the oldest first."""

    policies: tuple[PolicyRow, ...] = ()
    grants: tuple[GrantRow, ...] = ()
    erasures: tuple[ErasureRow, ...] = ()
    reviews: tuple[ReviewRow, ...] = ()
    """Those of activations: they are of no run."""


async def history(journal: Journal, until: Until, withhold: Withhold = nothing) -> History:
    """Returns what the streams in `until` tell, up to there. Raises Tampered: something isn't what was recorded."""
    grants = [await _grant(journal, name, until, withhold) for name in until if name.startswith("grant/")]
    return History(
        tuple(await _policies(journal, until, withhold)),
        tuple(sorted(filter(None, grants), key=lambda row: (row.made, row.grant))),
        tuple(await _erasures(journal, until, withhold)),
        tuple([row for name in until if (row := await _activation(journal, name, withhold)) is not None]),
    )


async def _activation(journal: Journal, name: str, withhold: Withhold) -> ReviewRow | None:
    if not name.startswith("review/"):
        return None
    opened = (await journal.read(name))[0].body
    return await review_row(journal, name, withhold) if isinstance(opened, ReviewOpened) and opened.activation else None


async def _read(
    journal: Journal, stream: str, until: Until, withhold: Withhold
) -> tuple[list[Entry], dict[tuple[int, str], Payload]]:
    end = until.get(stream, (-1, 0))[0]
    entries = [entry for entry in await journal.read(stream) if entry.seq <= end]
    kept = withhold(entries)
    payloads = await journal.payloads(stream) if entries else {}
    return entries, {place: one for place, one in payloads.items() if not kept(*place)}


async def _policies(journal: Journal, until: Until, withhold: Withhold) -> list[PolicyRow]:
    entries, payloads = await _read(journal, "policy", until, withhold)
    rows = []
    for entry in entries:
        body, what, place = entry.body, entry.kind.removeprefix("policy."), f"policy#{entry.seq}"
        if isinstance(body, PolicyActivated):
            reason = _reason(payloads, entry, body.reason)
            rows.append(
                PolicyRow(
                    entry.at, what, body.digest, body.by, place, body.revision, body.review, "", reason,
                    dict(body.effect), body.expires,
                )
            )  # fmt: skip
        elif isinstance(body, PolicyLoaded):
            rows.append(PolicyRow(entry.at, what, body.digest, entry.actor, place))
        elif isinstance(body, PolicyKept):
            reason = _reason(payloads, entry, body.reason)
            rows.append(PolicyRow(entry.at, what, body.kept, body.worker, place, reason=reason))
        elif isinstance(body, (PolicyRevoked, PolicyRestored)):
            reason = _reason(payloads, entry, body.reason)
            rows.append(PolicyRow(entry.at, what, "", body.by, place, of=body.reviewer or body.key, reason=reason))
    return rows


async def _grant(journal: Journal, name: str, until: Until, withhold: Withhold) -> GrantRow | None:
    entries, _ = await _read(journal, name, until, withhold)
    state = fold(entries)
    if not isinstance(state, GrantState):
        return None
    review, payloads = await _read(journal, f"review/{state.made.grant}", until, withhold)
    ruled = fold(review)
    condition = next(
        (
            read_condition(one.value)[0]
            for (_, path), one in payloads.items()
            if path == "/grant" and is_committed(one, state.terms.condition)
        ),
        None,
    )
    return GrantRow(
        state.made.grant, state.made.queue, state.terms.tool, state.terms.agent, state.terms.principal,
        names_of(ruled.approving) if isinstance(ruled, ReviewState) else (), state.at, state.terms.until,
        state.terms.uses, state.status.value, condition,
        tuple((entry.at, body.run, body.call) for entry in entries if isinstance(body := entry.body, GrantUsed)),
    )  # fmt: skip


async def _erasures(journal: Journal, until: Until, withhold: Withhold) -> list[ErasureRow]:
    entries, payloads = await _read(journal, "store", until, withhold)
    return [
        ErasureRow(
            entry.at, body.by, tuple(f"{body.stream}#{seq} {path}" for seq, path in body.places),
            _reason(payloads, entry, body.reason), f"store#{entry.seq}",
        )
        for entry in entries
        if isinstance(body := entry.body, Erased)
    ]  # fmt: skip


def _reason(payloads: Mapping[tuple[int, str], Payload], entry: Entry, said: str | None) -> str | None:
    if said is None:
        return ""
    payload = payloads.get((entry.seq, "/reason"))
    if payload is None:
        return None
    if not is_committed(payload, said):
        raise Tampered(f"{entry.stream}#{entry.seq} /reason: the payload is not what the entry committed to")
    return str(plain(payload.value))
