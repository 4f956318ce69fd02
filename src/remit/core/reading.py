"""What a person can read: which values are too long to be shown at once, and how fast anybody reads.

A value over `LONGEST` is cut where a review is shown. Whoever approves then proves that all of it was on their
screen: a code stands at its very end, and is taken from the value itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from remit.core.canonical import canonical, digest

LONGEST: Final = 2_000
"""Bytes of canonical JSON that a value may have and still be shown at once."""
CHARACTERS_PER_SECOND: Final = 30
"""300 words a minute, of 6 characters with their space: the fast end of what adults read silently
(Brysbaert, 2019, How many words do we read per minute?, Journal of Memory and Language 109)."""


def codes(args: Mapping[str, object], version: str) -> dict[str, str]:
    """Returns the code of each argument that is cut where it is shown; `version` is the call's digest as it stands."""
    return {
        name: digest({"argument": name, "value": value, "version": version})[:8]
        for name, value in sorted(args.items())
        if len(canonical(value)) > LONGEST
    }


def is_too_fast(characters: int, seconds: float) -> bool:
    """Whether nobody reads this many characters in this time."""
    return seconds < characters / CHARACTERS_PER_SECOND
