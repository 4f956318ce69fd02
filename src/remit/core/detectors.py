"""What a detector is: it looks at values and says facts, and where in the values it found them.

A user's own takes ten lines: a frozen `msgspec.Struct` with a default for every field, and a function from
`Places` to a `Report` of it:

    class Shouting(msgspec.Struct, frozen=True):
        loud: bool = False

    def look(places: Places) -> Report[Shouting]:
        found = tuple(Finding("shouting", p) for p, text in texts(places) if text.isupper())
        return Report(Shouting(loud=bool(found)), found)

    shouting = Detector("shouting", Shouting, look)

A policy then sees `findings.shouting.loud`. A detector changes nothing, and one that raises or takes too long
is an error to every rule that looks at its facts, so it only ever makes an outcome stricter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from remit.core.tools import JsonSchema
from remit.errors import BadInput

F = TypeVar("F", bound=msgspec.Struct)
Places = Sequence[tuple[str, object]]
"""JSON values to look at, each with the JSON pointer it stands at."""

DEEPEST = 64
"""Levels of nesting that are looked into; what is nested deeper is an error."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something seen: its kind, the JSON pointer of the string (or value) and, in a string, from which character to
    which. It never holds the text itself, so that it can stand in the journal."""

    kind: str
    pointer: str
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Report(Generic[F]):
    """What a detector says of the values: facts for policies, and the places behind them."""

    facts: F
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Detector(Generic[F]):
    """A named look at values. `scores` marks one that guesses (a classifier): its facts may only raise scrutiny.

    Attributes:
        name: what its facts are called in policies: `findings.<name>`.
        facts: a frozen struct with a default for every field; its fields are typed in conditions.
        look: from the values to a report; it may raise, and never sees anything but the values.
        scores: no allow rule may use its facts.
    """

    name: str
    facts: type[F]
    look: Callable[[Places], Report[F]]
    scores: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise BadInput(f"a detector can't be called `{self.name}`: letters, digits and `_`, no digit first")
        try:
            self.facts()
        except TypeError as error:
            raise BadInput(f"detector `{self.name}`: every field of `{self.facts.__name__}` needs a default") from error

    @property
    def schema(self) -> JsonSchema:
        """The JSON Schema of its facts: what conditions are checked against."""
        document = msgspec.json.schema(self.facts)
        definitions = document.get("$defs", {})
        found: dict[str, Any] = dict(_inlined(document, definitions))
        # Facts are written whole, so no condition needs to ask whether a field is there.
        return {**found, "required": list(found.get("properties", {})), "additionalProperties": False}


def texts(places: Places, *, keys: bool = False) -> Iterator[tuple[str, str]]:
    """Yields every string in the values with its JSON pointer; with `keys`, names of fields too.

    Raises:
        BadInput: nested deeper than `DEEPEST`.
    """
    for pointer, value in places:
        yield from _texts(pointer, value, keys, 0)


def _texts(pointer: str, value: object, keys: bool, depth: int) -> Iterator[tuple[str, str]]:
    if depth > DEEPEST:
        raise BadInput(f"`{pointer[:80]}`: nested deeper than {DEEPEST} levels")
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            below = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            if keys:
                yield below, str(key)
            yield from _texts(below, item, keys, depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(f"{pointer}/{index}", item, keys, depth + 1)


def _inlined(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("title", "description", "default", "$defs"):
            continue
        if key == "properties":
            kept[key] = {name: _inlined(part, definitions) for name, part in value.items()}
        elif isinstance(value, Mapping):
            kept[key] = _inlined(value, definitions)
        else:
            kept[key] = value
    return kept
