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
from typing import Any, Final

import jsonschema_rs

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
from remit.core.schemas import Document

DEPTH_MAX: Final = 24  # of a schema; what is deeper has no declared type
READS_MAX: Final = 20_000  # schemas that are read for one root; what is beyond has no declared type


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

    `first` are a list's first elements, where each has its own. `more` is what an object's other members are, where
    its schema says that there may be any, and `patterns` what those are whose names match; those among `fields` that a
    condition asks for and the schema does not name are `undeclared`.

    `choices` are the only values there are, of an `enum` or `const`: for telling mistakes, never for checking values.
    """

    kind: Kind
    nullable: bool = False
    items: Shape | None = None
    fields: Mapping[str, Shape] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    choices: tuple[object, ...] = field(default=(), compare=False)
    first: tuple[Shape, ...] = ()
    more: Shape | None = None
    patterns: tuple[tuple[str, Shape], ...] = ()
    undeclared: frozenset[str] = frozenset()

    def item(self) -> Shape:
        return self.items if self.items is not None else ANY

    def at(self, place: int) -> Shape:
        """What a list's element is, by its place from 0."""
        return self.first[place] if 0 <= place < len(self.first) else self.item()

    def named(self, name: str) -> Shape | None:
        """What an object's member of this name is; None where there is none."""
        if name in self.fields:
            return self.fields[name]
        for pattern, shape in self.patterns:
            if jsonschema_rs.validator_for({"pattern": pattern}).is_valid(name):
                return shape
        return self.more

    @property
    def is_open(self) -> bool:
        """Whether an object may have members that its schema does not name."""
        return self.more is not None or bool(self.patterns)


ANY: Final = Shape(Kind.ANY)
TEXT: Final = Shape(Kind.STRING)
CONTAINERS: Final = frozenset({Kind.LIST, Kind.MAP, Kind.OBJECT})


_JOINING: Final = frozenset(
    {
        "$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas",
        "dependencies", "nullable",
    }
)  # fmt: skip
"""Keywords by which another schema says something of the same value."""


class SchemaReader:
    """Reads one root's schema. Never fails: what it doesn't understand may be anything."""

    def __init__(self, root: object) -> None:
        self._document = Document(root)
        self._left = READS_MAX

    def read(self, schema: object, depth: int = 0, seen: frozenset[int] = frozenset()) -> Shape:
        if not isinstance(schema, Mapping) or depth > DEPTH_MAX or id(schema) in seen or self._left <= 0:
            return ANY
        self._left -= 1
        below = seen | {id(schema)}
        own = self._own(schema, depth, below)
        if _JOINING.isdisjoint(schema):
            return own
        parts = [own]
        if (target := self._document.target(schema)) is not None:
            parts.append(self.read(target, depth + 1, below))
        parts += [self.read(part, depth + 1, below) for part in _listed(schema.get("allOf"))]
        for key in ("anyOf", "oneOf"):
            if key in schema:
                parts.append(self._choice([self.read(part, depth + 1, below) for part in _listed(schema[key])]))
        shape = _all(parts)
        if shape.kind is Kind.OBJECT:
            shape = self._with_branches(shape, schema, depth, below)
        return replace(shape, nullable=True) if schema.get("nullable") is True and shape is not ANY else shape

    def _own(self, schema: Mapping[str, object], depth: int, seen: frozenset[int]) -> Shape:
        declared = schema.get("type", self._implied(schema))
        if isinstance(declared, (list, tuple)):
            return self._choice([self._typed(name, schema, depth, seen) for name in declared])
        return self._typed(declared, schema, depth, seen)

    def _with_branches(self, shape: Shape, schema: Mapping[str, Any], depth: int, seen: frozenset[int]) -> Shape:
        """Adds the fields that an object has in some case only: of `anyOf`, `then`, `dependentSchemas`, …"""
        fields = dict(shape.fields)
        more = shape.more
        for part in self._document.in_place(schema):
            if ("$dynamicRef" in part or "$recursiveRef" in part) and self._document.target(part) is None:
                more = ANY  # its names aren't known here
            properties = part.get("properties")
            for name, inner in properties.items() if isinstance(properties, Mapping) else ():
                if name not in fields and inner is not False:
                    fields[str(name)] = self.read(inner, depth + 1, seen)
        if len(fields) == len(shape.fields) and more is shape.more:
            return shape
        return replace(shape, fields=fields, more=more, optional=shape.optional | (fields.keys() - shape.fields.keys()))

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

    def _typed(self, declared: object, schema: Mapping[str, object], depth: int, seen: frozenset[int]) -> Shape:
        simple = {"boolean": Kind.BOOL, "integer": Kind.INT, "number": Kind.NUMBER, "null": Kind.NULL}
        if declared == "string":
            formats = {"decimal": Kind.DECIMAL, "date-time": Kind.TIMESTAMP, "duration": Kind.DURATION}
            name = schema.get("format")
            kind = formats.get(name, Kind.STRING) if isinstance(name, str) else Kind.STRING
            return Shape(kind, choices=_choices(schema) if kind is Kind.STRING else ())
        if isinstance(declared, str) and declared in simple:
            return Shape(simple[declared], choices=_choices(schema) if declared == "integer" else ())
        if declared == "array":
            return self._list(schema, depth, seen)
        if declared == "object":
            return self._object(schema, depth, seen)
        return ANY

    def _list(self, schema: Mapping[str, object], depth: int, seen: frozenset[int]) -> Shape:
        """Tuples: `prefixItems` and `items`, before draft 2020-12 a list of `items` and `additionalItems`."""
        items = schema.get("items")
        told = _listed(schema.get("prefixItems")) or _listed(items)
        rest = schema.get("additionalItems") if isinstance(items, (list, tuple)) else items
        first = tuple(self.read(part, depth + 1, seen) for part in told)
        if rest is None and told:
            rest = schema.get("unevaluatedItems")
        after = self.read(rest, depth + 1, seen)
        if not first:
            return Shape(Kind.LIST, items=after)
        alike = all(shape == first[0] for shape in (first if rest is False else (*first, after)))
        return Shape(Kind.LIST, items=merged([*first]) if alike else ANY, first=first)

    def _object(self, schema: Mapping[str, object], depth: int, seen: frozenset[int]) -> Shape:
        properties, patterns = schema.get("properties"), schema.get("patternProperties")
        said = schema.get("additionalProperties", schema.get("unevaluatedProperties"))
        fields = properties if isinstance(properties, Mapping) else {}
        matched = tuple(
            (str(pattern), self.read(value, depth + 1, seen))
            for pattern, value in (patterns.items() if isinstance(patterns, Mapping) else ())
            if value is not False
        )
        if fields or (said is False and not matched):
            required = schema.get("required", ())
            required = required if isinstance(required, (list, tuple, set, frozenset)) else ()
            # A member whose schema is `false` is never there.
            shapes = {
                str(name): self.read(value, depth + 1, seen) for name, value in fields.items() if value is not False
            }
            return Shape(
                Kind.OBJECT,
                fields=shapes,
                optional=frozenset(name for name in shapes if name not in required),
                more=None if said is None or said is False else self.read(said, depth + 1, seen),
                patterns=matched,
            )
        if not matched:
            return Shape(Kind.MAP, items=self.read(said, depth + 1, seen))
        alike = said is False and all(shape == matched[0][1] for _, shape in matched)
        return Shape(Kind.MAP, items=merged([shape for _, shape in matched]) if alike else ANY)


def _listed(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else ()


def _all(shapes: list[Shape]) -> Shape:
    """What a value is that is all of these at once: what any of them says. Those that don't agree say nothing."""
    told = [shape for shape in shapes if shape.kind is not Kind.ANY]
    if len(told) <= 1:
        return told[0] if told else ANY
    nullable = all(shape.nullable for shape in told)
    kinds = {shape.kind for shape in told}
    if kinds == {Kind.OBJECT}:
        return replace(_joined(told), nullable=nullable)
    if kinds == {Kind.INT, Kind.NUMBER}:
        told = [shape for shape in told if shape.kind is Kind.INT]
    elif kinds == {Kind.OBJECT, Kind.MAP}:
        return replace(_joined([shape for shape in told if shape.kind is Kind.OBJECT]), nullable=nullable)
    elif len(kinds) > 1:
        return ANY
    first = max(told, key=lambda shape: len(shape.choices))
    same = all(replace(shape, nullable=first.nullable) == replace(first) for shape in told)
    return replace(first, nullable=nullable) if same else ANY


def _joined(shapes: list[Shape]) -> Shape:
    """An object with the fields of all; present is what any of them requires."""
    if len(shapes) == 1:
        return shapes[0]
    fields: dict[str, Shape] = {}
    for shape in shapes:
        for name, inner in shape.fields.items():
            fields[name] = _all([fields[name], inner]) if name in fields else inner
    needed = {name for shape in shapes for name in shape.fields if name not in shape.optional}
    more = next((shape.more for shape in shapes if shape.more is not None), None)
    return Shape(
        Kind.OBJECT,
        fields=fields,
        optional=frozenset(fields.keys() - needed),
        more=more,
        patterns=tuple(one for shape in shapes for one in shape.patterns),
    )


def opened(shape: Shape, names: frozenset[str]) -> Shape:
    """The shape with these names as optional fields wherever an object may have members that aren't declared."""
    fields = {name: opened(inner, names) for name, inner in shape.fields.items()}
    added = {}
    if shape.is_open:
        for name in sorted(names - fields.keys()):
            if (inner := shape.named(name)) is not None:
                added[name] = opened(inner, names)
    items = None if shape.items is None else opened(shape.items, names)
    first = tuple(opened(inner, names) for inner in shape.first)
    return replace(
        shape,
        fields={**fields, **added},
        optional=shape.optional | added.keys(),
        undeclared=frozenset(added),
        items=items,
        first=first,
    )


def has_open(shape: Shape) -> bool:
    """Whether any object in it may have members that aren't declared."""
    inner = (*shape.fields.values(), *shape.first, *(() if shape.items is None else (shape.items,)))
    return shape.is_open or any(has_open(one) for one in inner)


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
        inner = (*shape.fields.values(), *(shape for _, shape in shape.patterns))
        return any(one.kind is not Kind.ANY for one in (*inner, shape.more or ANY))
    if shape.first and any(inner.kind is not Kind.ANY for inner in shape.first):
        return True
    return shape.kind in CONTAINERS and shape.item().kind is not Kind.ANY


def _member(shape: Shape, key: object) -> Shape | None:
    return shape.named(key) if isinstance(key, str) else None


def settle(shape: Shape, value: object, budget: Budget) -> object:
    """A list, map or object that is used as a whole: all of it checked and read, which makes a copy."""
    value = load(shape, value)
    if value is None or not settles(shape):
        return value
    if isinstance(value, LISTS):
        budget.charge(len(value) >> 1)
        if shape.first:
            return [settle(shape.at(place), item, budget) for place, item in enumerate(value)]
        return [settle(shape.item(), item, budget) for item in value]
    if isinstance(value, Mapping):
        budget.charge(len(value) >> 1)
        if shape.kind is Kind.MAP:
            return {key: settle(shape.item(), item, budget) for key, item in value.items()}
        return {
            key: item if (inner := _member(shape, key)) is None else settle(inner, item, budget)
            for key, item in value.items()
        }
    return value
