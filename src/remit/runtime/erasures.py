"""What was erased from a journal: a row for each entry that says so."""

from __future__ import annotations

from typing import Any

from remit.core.canonical import plain
from remit.core.entries import Erased, is_committed
from remit.errors import Tampered
from remit.store.journal import Journal

_GONE = "[not disclosed]"


async def erasure_rows(journal: Journal) -> list[dict[str, Any]]:
    """Returns every erasure, the oldest first: when, by whom, why, and the places of the values.

    Raises:
        Tampered: what is stored isn't what was recorded.
    """
    payloads = await journal.payloads("store")
    rows = []
    for entry in await journal.read("store"):
        body = entry.body
        if not isinstance(body, Erased):
            continue
        payload = payloads.get((entry.seq, "/reason"))
        if payload is not None and body.reason and not is_committed(payload, body.reason):
            raise Tampered(f"store#{entry.seq} /reason: the payload is not what the entry committed to")
        rows.append(
            {
                "at": entry.at,
                "by": body.by,
                "reason": _GONE if payload is None else str(plain(payload.value)),
                "places": [f"{body.stream}#{seq} {path}" for seq, path in body.places],
            }
        )
    return rows
