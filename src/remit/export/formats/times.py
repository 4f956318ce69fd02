"""Entries' times as other formats count them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(at: str) -> int:
    """Returns nanoseconds since 1970; 0 for no time."""
    return (datetime.fromisoformat(at) - _EPOCH) // timedelta(microseconds=1) * 1_000 if at else 0


def milliseconds(at: str) -> int:
    """Returns milliseconds since 1970; 0 for no time."""
    return nanoseconds(at) // 1_000_000
