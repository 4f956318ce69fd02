"""What was erased from a journal: a row for each entry that says so; and why a value isn't there."""

from __future__ import annotations

from typing import Any

from remit.core.canonical import plain
from remit.core.entries import Erased, Payload, is_committed
from remit.errors import Tampered
from remit.store.journal import Journal

_GONE = "[not disclosed]"
ERASED, WITHHELD = "[erased]", "[withheld]"
"""What is shown in the place of a value that an entry erased, or that an export leaves out."""


class Values(dict[tuple[int, str], Payload]):
    """A stream's payloads by entry and path, as `Journal.payloads` returns them, and why others aren't there."""

    def __init__(self, payloads: dict[tuple[int, str], Payload], erased: frozenset[tuple[int, str]] | None) -> None:
        super().__init__(payloads)
        self._erased = erased

    def gone(self, seq: int, path: str) -> str:
        """Returns what is shown in the place of a value that isn't there."""
        return ERASED if self._erased is None or (seq, path) in self._erased else WITHHELD


async def values_of(journal: Journal, stream: str) -> Values:
    """Returns a stream's payloads. In an export what no entry erased is withheld; in a store everything is erased."""
    payloads = await journal.payloads(stream)
    if not journal.exported:
        return Values(payloads, None)
    bodies = [entry.body for entry in await journal.read("store")]
    erased = [place for body in bodies if isinstance(body, Erased) and body.stream == stream for place in body.places]
    return Values(payloads, frozenset((seq, path) for seq, path in erased))


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
