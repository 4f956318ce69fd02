"""JSON Schema, as far as conditions use it: the shape a value is declared to have, and what is checked when
it is selected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Final

from remit.core.cel.conversions import parse_decimal
from remit.core.cel.times import parse_iso_duration, parse_timestamp
from remit.core.cel.values import (
    INT_MAX,
    INT_MIN,
    LISTS,
    Budget,
    Duration,
    EvalError,
    Timestamp,
    finite,
    of_datetime,
    of_timedelta,
    plain,
    type_name,
)

DEPTH_MAX: Final = 24  # of a schema; what is deeper has no declared type


class Kind(Enum):
    """What a value is declared to be."""

    ANY = "any value"
    NULL = "null"
    BOOL = "true or false"
    INT = "an integer"
    NUMBER = "a number"
    STRING = "a string"
    DECIMAL = "a decimal number in a string"
    TIMESTAMP = "a timestamp"
    DURATION = "a duration"
    LIST = "a list"
    MAP = "a map"
    OBJECT = "an object"


@dataclass(frozen=True, slots=True)
class Shape:
    """`items` is of a list's elements or a map's values; `fields` and `optional` are an object's.

    `choices` are the only values there are, of an `enum` or `const`: for telling mistakes, never for checking values.
    """

    kind: Kind
    nullable: bool = False
    items: Shape | None = None
    fields: Mapping[str, Shape] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    choices: tuple[object, ...] = field(default=(), compare=False)

    def item(self) -> Shape:
        return self.items if self.items is not None else ANY


ANY: Final = Shape(Kind.ANY)
TEXT: Final = Shape(Kind.STRING)
CONTAINERS: Final = frozenset({Kind.LIST, Kind.MAP, Kind.OBJECT})


class SchemaReader:
    """Reads one root's schema. Never fails: what it doesn't understand may be anything."""

    def __init__(self, root: object) -> None:
        self._root = root

    def read(self, schema: object, depth: int = 0, seen: frozenset[str] = frozenset()) -> Shape:
        if not isinstance(schema, Mapping) or depth > DEPTH_MAX:
            return ANY
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target = self._follow(reference)
            return ANY if target is None or reference in seen else self.read(target, depth + 1, seen | {reference})
        choices = schema.get("anyOf", schema.get("oneOf"))
        if isinstance(choices, (list, tuple)):
            return self._choice([self.read(choice, depth + 1, seen) for choice in choices])
        parts = schema.get("allOf")
        if isinstance(parts, (list, tuple)):
            return self.read(parts[0], depth + 1, seen) if len(parts) == 1 and "properties" not in schema else ANY
        declared = schema.get("type", self._implied(schema))
        if isinstance(declared, (list, tuple)):
            return self._choice([self.read({**schema, "type": name}, depth + 1, seen) for name in declared])
        shape = self._typed(declared, schema, depth, seen)
        if shape.kind in (Kind.STRING, Kind.INT):
            shape = replace(shape, choices=_choices(schema))
        return replace(shape, nullable=True) if schema.get("nullable") is True and shape is not ANY else shape

    def _follow(self, reference: str) -> object:
        if not reference.startswith("#"):
            return None
        found: object = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                return None
            found = found[name]
        return found

    @staticmethod
    def _choice(shapes: list[Shape]) -> Shape:
        """One type and perhaps null is that type, nullable; several are anything."""
        rest = [shape for shape in shapes if shape.kind is not Kind.NULL]
        if not rest:
            return Shape(Kind.NULL) if shapes else ANY
        if rest[0].kind is Kind.ANY or any(replace(shape, nullable=rest[0].nullable) != rest[0] for shape in rest[1:]):
            return ANY
        nullable = len(rest) < len(shapes) or any(shape.nullable for shape in rest)
        return replace(merged(rest), nullable=nullable)

    @staticmethod
    def _implied(schema: Mapping[str, object]) -> object:
        """The type that `enum`, `const` or `properties` imply where no type is given."""
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if isinstance(values, (list, tuple)) and values:
            names = [type_name(value) for value in values]
            json = {
                "bool": "boolean",
                "int": "integer",
                "double": "number",
                "string": "string",
                "null_type": "null",
            }
            return sorted({json[name] for name in names}) if all(name in json for name in names) else None
        return "object" if isinstance(schema.get("properties"), Mapping) else None

    def _typed(self, declared: object, schema: Mapping[str, object], depth: int, seen: frozenset[str]) -> Shape:
        simple = {"boolean": Kind.BOOL, "integer": Kind.INT, "number": Kind.NUMBER, "null": Kind.NULL}
        if declared == "string":
            formats = {"decimal": Kind.DECIMAL, "date-time": Kind.TIMESTAMP, "duration": Kind.DURATION}
            name = schema.get("format")
            return Shape(formats.get(name, Kind.STRING) if isinstance(name, str) else Kind.STRING)
        if isinstance(declared, str) and declared in simple:
            return Shape(simple[declared])
        if declared == "array":
            return Shape(Kind.LIST, items=self.read(schema.get("items"), depth + 1, seen))
        if declared == "object":
            return self._object(schema, depth, seen)
        return ANY

    def _object(self, schema: Mapping[str, object], depth: int, seen: frozenset[str]) -> Shape:
        properties, more = schema.get("properties"), schema.get("additionalProperties", True)
        if isinstance(properties, Mapping) and (properties or more is False):
            required = schema.get("required", ())
            required = required if isinstance(required, (list, tuple, set, frozenset)) else ()
            fields = {str(name): self.read(value, depth + 1, seen) for name, value in properties.items()}
            return Shape(
                Kind.OBJECT,
                fields=fields,
                optional=frozenset(name for name in fields if name not in required),
            )
        return Shape(Kind.MAP, items=self.read(more, depth + 1, seen))


def _choices(schema: Mapping[str, object]) -> tuple[object, ...]:
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return tuple(value for value in values if value is not None) if isinstance(values, (list, tuple)) else ()


def merged(shapes: list[Shape]) -> Shape:
    """One shape for several that are equal: what any of them may be."""
    if not all(shape.choices for shape in shapes):
        return replace(shapes[0], choices=())
    return replace(shapes[0], choices=tuple(dict.fromkeys(choice for shape in shapes for choice in shape.choices)))


def shape_of_schema(schema: object) -> Shape:
    try:
        return SchemaReader(schema).read(schema)
    except RecursionError:
        return ANY


def wrong(value: object, kind: Kind) -> EvalError:
    return EvalError(f"{type_name(value)} found where {kind.value} is declared")


def load_bool(value: object) -> object:
    if value is True or value is False:
        return value
    raise wrong(value, Kind.BOOL)


def load_int(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(value, Kind.INT)
    if isinstance(value, float) and not value.is_integer():
        raise wrong(value, Kind.INT)
    if not INT_MIN <= value <= INT_MAX:
        raise EvalError("integer out of the 64-bit range")
    return int(value)


def load_number(value: object) -> object:
    if value.__class__ is float or value.__class__ is int:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise wrong(value, Kind.NUMBER)
    if isinstance(value, Decimal):
        return finite(Decimal(value))
    return float(value) if isinstance(value, float) else int(value)


def load_string(value: object) -> object:
    if isinstance(value, str):
        return str.__str__(value)
    raise wrong(value, Kind.STRING)


def load_decimal(value: object) -> object:
    if value.__class__ is Decimal and value.is_finite():  # nearly always: it was read once
        return value
    if isinstance(value, str):
        return parse_decimal(value)
    if isinstance(value, Decimal):
        return finite(Decimal(value))
    raise wrong(value, Kind.DECIMAL)


def load_timestamp(value: object) -> object:
    if isinstance(value, Timestamp):
        return value
    if isinstance(value, str):
        return parse_timestamp(value)
    if isinstance(value, datetime):
        return of_datetime(value)
    raise wrong(value, Kind.TIMESTAMP)


def load_duration(value: object) -> object:
    if isinstance(value, Duration):
        return value
    if isinstance(value, str):
        return parse_iso_duration(value)
    if isinstance(value, timedelta):
        return of_timedelta(value)
    raise wrong(value, Kind.DURATION)


def load_null(value: object) -> object:
    if value is None:
        return None
    raise wrong(value, Kind.NULL)


def load_list(value: object) -> object:
    if isinstance(value, LISTS):
        return value
    raise wrong(value, Kind.LIST)


def load_map(value: object) -> object:
    if isinstance(value, Mapping):
        return value
    raise wrong(value, Kind.OBJECT)


Loader = Callable[[object], object]
LOADERS: Final[Mapping[Kind, Loader]] = MappingProxyType(
    {
        Kind.ANY: plain,
        Kind.NULL: load_null,
        Kind.BOOL: load_bool,
        Kind.INT: load_int,
        Kind.NUMBER: load_number,
        Kind.STRING: load_string,
        Kind.DECIMAL: load_decimal,
        Kind.TIMESTAMP: load_timestamp,
        Kind.DURATION: load_duration,
        Kind.LIST: load_list,
        Kind.MAP: load_map,
        Kind.OBJECT: load_map,
    }
)


def load(shape: Shape, value: object) -> object:
    """A selected value, checked against its declared type, and read if it is text standing for a value."""
    kind, of = shape.kind, value.__class__
    # What it nearly always is, without a call; the loaders say the same of it.
    if (of is dict and (kind is Kind.OBJECT or kind is Kind.MAP)) or (of is str and kind is Kind.STRING):
        return value
    if value is None and shape.nullable:
        return None
    return LOADERS[kind](value)


def settles(shape: Shape) -> bool:
    """Whether a whole list, map or object must be gone through before it is used as a value."""
    if shape.kind is Kind.OBJECT:
        return any(inner.kind is not Kind.ANY for inner in shape.fields.values())
    return shape.kind in CONTAINERS and shape.item().kind is not Kind.ANY


def settle(shape: Shape, value: object, budget: Budget) -> object:
    """A list, map or object that is used as a whole: all of it checked and read, which makes a copy."""
    value = load(shape, value)
    if value is None or not settles(shape):
        return value
    if isinstance(value, LISTS):
        budget.charge(len(value) >> 1)
        return [settle(shape.item(), item, budget) for item in value]
    if isinstance(value, Mapping):
        budget.charge(len(value) >> 1)
        if shape.kind is Kind.MAP:
            return {key: settle(shape.item(), item, budget) for key, item in value.items()}
        return {
            key: settle(shape.fields[key], item, budget) if key in shape.fields else item for key, item in value.items()
        }
    return value
