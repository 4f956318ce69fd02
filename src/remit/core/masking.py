"""Masking: what a detector found is covered, and the text keeps its form.

Letters and digits become `*`, everything else stays, so that a masked card number still reads as one and lengths
don't change: `4111-1111-1111-1111` becomes `****-****-****-****`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from remit.core.detectors import Finding


def mask(value: object, findings: Iterable[Finding]) -> object:
    """Returns a copy of a JSON value with every finding covered.

    A finding in a string covers its characters; one without a span, or of another kind of value, covers all of it: text
    becomes `*`, any other value null. A finding in the name of a field covers the field's value.
    """
    by_place: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for finding in findings:
        by_place.setdefault(_parts(finding.pointer), []).append((finding.start, finding.end))
    return _masked(value, (), by_place)


def _masked(value: Any, here: tuple[str, ...], spans: dict[tuple[str, ...], list[tuple[int, int]]]) -> object:
    covered = spans.get(here)
    if isinstance(value, str):
        return value if covered is None else _covered(value, covered)
    if covered is not None:
        return None
    if isinstance(value, dict):
        return {key: _masked(item, (*here, key), spans) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, (*here, str(index)), spans) for index, item in enumerate(value)]
    return value


def _covered(text: str, spans: Sequence[tuple[int, int]]) -> str:
    kept = list(text)
    for start, end in spans:
        for place in range(start, end) if end > start else range(len(text)):
            if place < len(kept) and kept[place].isalnum():
                kept[place] = "*"
    return "".join(kept)


def _parts(pointer: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
