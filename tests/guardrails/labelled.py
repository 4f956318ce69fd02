"""How a labelled sample is held against what a detector says of it."""

from __future__ import annotations

from typing import Any

from remit.core.detectors import Detector


def flags(detector: Detector[Any], value: object) -> set[str]:
    """Returns the names of the facts that are true of `value`."""
    facts = detector.look([("/it", value)]).facts
    return {field for field in facts.__struct_fields__ if getattr(facts, field) is True}


def wrong(detector: Detector[Any], samples: list[tuple[Any, str]], ignored: str = "") -> str:
    """Returns a line for each sample of which the facts that are true are not the labels that it has."""
    lines = []
    for value, labels in samples:
        found = flags(detector, value) - set(ignored.split())
        if found != set(labels.split()):
            lines.append(f"{value!r}: said {sorted(found)}, labelled {sorted(labels.split())}")
    return "\n".join(lines)
