"""Clock, entropy and sleep in one object that is handed in: the only source of now() and new ids."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from remit.errors import Tampered

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Limit(Protocol):
    """An async context manager that raises TimeoutError when its body takes longer, as `asyncio.Timeout` does."""

    async def __aenter__(self) -> Self:
        """Begins to count."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """Ends it. Raises TimeoutError."""

    def expired(self) -> bool:
        """Whether the time has run out."""


class Ambient(Protocol):
    """What the world gives: `System` is the real one, `remit.testing.VirtualClock` is the tests'."""

    def now(self) -> datetime:
        """The time, in UTC."""

    def monotonic(self) -> float:
        """Seconds from some fixed moment; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    def timeout(self, seconds: float) -> Limit:
        """An async context manager that raises TimeoutError when its body takes longer."""

    def entropy(self, size: int) -> bytes:
        """`size` unpredictable bytes."""


class System:
    """The real clock and the operating system's entropy."""

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """An async context manager that raises TimeoutError when its body takes longer."""
        return asyncio.timeout(seconds)

    def entropy(self, size: int) -> bytes:
        """`size` unpredictable bytes."""
        return secrets.token_bytes(size)


class NeverBack:
    """Another's clock, but for its time: that never goes back, nor before a moment that is known to have been.

    So what has expired stays expired where the clock of the machine is set back.
    """

    def __init__(self, ambient: Ambient, known: str) -> None:
        """Takes the last moment that is known, as `stamp` writes it; "" for none. Raises Tampered: it is no moment."""
        self._ambient = ambient
        self._latest = _moment(known) if known else datetime.min.replace(tzinfo=UTC)
        self.monotonic = ambient.monotonic
        self.sleep = ambient.sleep
        self.timeout = ambient.timeout
        self.entropy = ambient.entropy

    def now(self) -> datetime:
        """The time, in UTC."""
        self._latest = max(self._latest, self._ambient.now())
        return self._latest


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if stamp(moment) == text:
            return moment
    except (ValueError, OverflowError):
        pass
    raise Tampered(f"the journal's last entry says that it is of `{text}`: that is no moment as Remit writes one")


def stamp(moment: datetime) -> str:
    """Writes a moment as entries do: RFC 3339, UTC, microseconds, `Z`; such texts sort by time."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def new_id(ambient: Ambient) -> str:
    """Returns a new id: 60 random bits as 12 characters that people can read out (Crockford's base 32)."""
    number = int.from_bytes(ambient.entropy(8)) >> 4
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(55, -1, -5))


def user() -> str:
    """Returns the name of the machine's user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name  # not $USER, which anybody can set
    except KeyError:
        return f"uid {os.getuid()}"
