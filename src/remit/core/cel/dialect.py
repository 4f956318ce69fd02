"""What Google's checker is told: the names and their types, and the operators that numbers of different types
share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cel_expr_python import cel
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)

from remit.core.cel.indexes import aliased, can_be_selected, indexed, selected
from remit.core.cel.library import declarations
from remit.core.cel.shapes import CONTAINERS, Kind, Shape, has_open, opened
from remit.core.cel.unparse import selection

PACKAGE: Final = "remit_condition"
COMPLAINT_FIELD: Final = re.compile(r"undefined field '(z[0-9a-z]{2})'")
EXTENDED_MAX: Final = 32  # environments with undeclared names that are kept
TYPES: Final = frozenset(
    [
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
    ]
)
NUMERIC: Final = ("int", "uint", "double")
RESERVED: Final = range(19_000, 20_000)  # field numbers protobuf keeps for itself

Proto = descriptor_pb2.FieldDescriptorProto
SCALARS: Final[Mapping[Kind, tuple[str, Any]]] = {
    Kind.BOOL: ("Bool", Proto.TYPE_BOOL),
    Kind.INT: ("Int64", Proto.TYPE_INT64),
    Kind.NUMBER: ("Double", Proto.TYPE_DOUBLE),
    Kind.DECIMAL: ("Double", Proto.TYPE_DOUBLE),
    Kind.STRING: ("String", Proto.TYPE_STRING),
}
WELL_KNOWN: Final[Mapping[Kind, str]] = {
    Kind.ANY: ".google.protobuf.Value",
    Kind.NULL: ".google.protobuf.Value",
    Kind.TIMESTAMP: ".google.protobuf.Timestamp",
    Kind.DURATION: ".google.protobuf.Duration",
}
SIGNATURES: Final[Mapping[Kind, str]] = {
    Kind.ANY: "dyn",
    Kind.NULL: "dyn",
    Kind.BOOL: "bool",
    Kind.INT: "int",
    Kind.NUMBER: "double",
    Kind.DECIMAL: "double",
    Kind.STRING: "string",
    Kind.TIMESTAMP: "google.protobuf.Timestamp",
    Kind.DURATION: "google.protobuf.Duration",
}


def operator_yaml() -> str:
    """The comparison operators, declared anew so that int, uint and double compare with each other."""
    excluded = ["_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_", "@in"]
    lines = ["stdlib:", "  exclude_functions:", *(f"    - name: '{name}'" for name in excluded), "functions:"]
    pairs = [(a, b) for a in NUMERIC for b in NUMERIC]
    same = [(a, a) for a in ("bool", "string", "bytes", "timestamp", "duration")]
    for name in excluded[:4]:
        lines += [
            f"  - name: '{name}'",
            "    overloads:",
            *overloads(name, [(ty(a), ty(b)) for a, b in pairs + same]),
        ]
    free, mixed = "{type_name: A, is_type_param: true}", [(a, b) for a, b in pairs if a != b]
    for name in excluded[4:6]:
        numbers = [(ty(a), ty(b)) for a, b in mixed]
        lines += [f"  - name: '{name}'", "    overloads:", *overloads(name, [(free, free), *numbers])]
    value = "{type_name: B, is_type_param: true}"
    inside = [
        (free, f"{{type_name: list, params: [{free}]}}"),
        (free, f"{{type_name: map, params: [{free}, {value}]}}"),
    ]
    inside += [(ty(a), f"{{type_name: list, params: [{ty(b)}]}}") for a, b in mixed]
    inside += [(ty(a), f"{{type_name: map, params: [{ty(b)}, {value}]}}") for a, b in mixed if b != "double"]
    lines += ["  - name: '@in'", "    overloads:", *overloads("in", inside), *declarations()]
    return "\n".join(lines) + "\n"


def ty(name: str) -> str:
    return f"{{type_name: {name}}}"


def overloads(name: str, pairs: list[tuple[str, str]]) -> Iterator[str]:
    for number, (left, right) in enumerate(pairs):
        yield f"      - id: 'remit{name}{number}'"
        yield f"        args: [{left}, {right}]"
        yield "        return: {type_name: bool}"


class Messages:
    """Makes protobuf messages of object shapes, so that the checker refuses a field that isn't there."""

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._aliases = aliases
        self.file = descriptor_pb2.FileDescriptorProto(
            name="remit_condition.proto",
            package=PACKAGE,
            syntax="proto3",
            dependency=[f"google/protobuf/{name}.proto" for name in ("struct", "timestamp", "duration", "wrappers")],
        )
        self.shapes: dict[str, Shape] = {}
        self.paths: dict[str, str] = {}

    def pool(self) -> descriptor_pool.DescriptorPool:
        made = descriptor_pool.DescriptorPool()
        for module in (any_pb2, struct_pb2, timestamp_pb2, duration_pb2, wrappers_pb2):
            made.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        made.AddSerializedFile(self.file.SerializeToString())
        return made

    def signature(self, shape: Shape, path: str) -> str:
        """The type of a root variable, as the checker writes it."""
        if shape.kind in CONTAINERS:
            if shape.kind is Kind.OBJECT:
                return self.message(shape, path)
            if shape.nullable:
                return "dyn"
            inner = self.signature(shape.item(), path)
            return f"list<{inner}>" if shape.kind is Kind.LIST else f"map<string, {inner}>"
        if shape.nullable and shape.kind in SCALARS:
            return f"google.protobuf.{SCALARS[shape.kind][0]}Value"
        return SIGNATURES[shape.kind]

    def message(self, shape: Shape, path: str) -> str:
        name = f"T{len(self.shapes)}"
        self.shapes[f"{PACKAGE}.{name}"], self.paths[f"{PACKAGE}.{name}"] = shape, path
        made = descriptor_pb2.DescriptorProto(name=name)
        made.options.deprecated_legacy_json_field_conflicts = True
        number = 0
        for field, inner in shape.fields.items():
            said = self._aliases.get(field, field)
            if not can_be_selected(said):
                continue  # there are more of them than aliases
            number = number + 1 if number + 1 not in RESERVED else RESERVED.stop
            self._field(made, shape, said, number, inner, f"{path}{selection(field)}")
        self.file.message_type.append(made)
        return f"{PACKAGE}.{name}"

    def _field(self, made: Any, owner: Shape, name: str, number: int, shape: Shape, path: str) -> None:
        added = made.field.add(name=name, number=number, label=Proto.LABEL_OPTIONAL, json_name=f"f{number}")
        if shape.kind is Kind.LIST and not shape.nullable and shape.item().kind not in (Kind.LIST, Kind.MAP):
            added.label = Proto.LABEL_REPEATED
            self._type(added, shape.item(), path)
        elif shape.kind is Kind.MAP and not shape.nullable:
            self._map(made, added, owner, shape.item(), path)
        else:
            self._type(added, shape, path)

    def _map(self, made: Any, added: Any, owner: Shape, item: Shape, path: str) -> None:
        """protobuf derives the entry's name from the field's; where it is taken, values have no type."""
        entry = "".join(part[:1].upper() + part[1:] for part in added.name.split("_")) + "Entry"
        taken = entry in owner.fields or any(nested.name == entry for nested in made.nested_type)
        if taken or item.kind in (Kind.LIST, Kind.MAP, Kind.ANY, Kind.NULL):
            added.type, added.type_name = Proto.TYPE_MESSAGE, ".google.protobuf.Struct"
            return
        nested = made.nested_type.add(name=entry)
        nested.options.map_entry = True
        nested.field.add(name="key", number=1, label=Proto.LABEL_OPTIONAL, type=Proto.TYPE_STRING)
        self._type(nested.field.add(name="value", number=2, label=Proto.LABEL_OPTIONAL), item, path)
        added.label, added.type = Proto.LABEL_REPEATED, Proto.TYPE_MESSAGE
        added.type_name = f".{PACKAGE}.{made.name}.{entry}"

    def _type(self, added: Any, shape: Shape, path: str) -> None:
        if shape.kind in SCALARS:
            wrapper, scalar = SCALARS[shape.kind]
            if not shape.nullable:
                added.type = scalar
                return
            added.type_name = f".google.protobuf.{wrapper}Value"
        elif shape.kind is Kind.OBJECT:
            added.type_name = "." + self.message(shape, path)
        else:
            added.type_name = WELL_KNOWN.get(shape.kind, ".google.protobuf.Value")
        added.type = Proto.TYPE_MESSAGE


def field_names(shape: Shape) -> Iterator[str]:
    """The names of all fields of a shape, at any depth."""
    yield from shape.fields
    for inner in (*shape.fields.values(), *shape.first, *(() if shape.items is None else (shape.items,))):
        yield from field_names(inner)


def place(source: str, at: int) -> tuple[int, int]:
    """Line and column, from 1, of an offset."""
    before = source[: max(at, 0)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


class Names:
    """The names a condition can see, as the checker has them and as the evaluator has them."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        shapes = {name: shape for name, shape in shapes.items() if name not in TYPES}  # a type wins over a root
        known = dict.fromkeys(name for shape in shapes.values() for name in field_names(shape))
        self._aliases = aliased(known, known)
        self._taken = frozenset(known)
        messages = Messages(self._aliases)
        signatures = {name: messages.signature(shape, name) for name, shape in shapes.items()}
        self.shapes = dict(shapes)
        self.messages: Mapping[str, Shape] = messages.shapes
        self.paths: Mapping[str, str] = messages.paths
        self._open = any(has_open(shape) for shape in shapes.values())
        self._extended: dict[frozenset[str], Names] = {}
        self._config = cel.NewEnvConfigFromYaml(operator_yaml())
        self._pool = messages.pool()
        self._checker = cel.NewEnv(
            self._pool,
            config=self._config,
            variables={name: cel.Type(text) for name, text in signatures.items()},
        )

    def reading(self, source: str) -> Reading:
        """How the source is read: an object that may have members that aren't declared has those it is asked for."""
        found = indexed(source)
        asked = frozenset(one.name for one in found) if self._open else frozenset()
        names = self._with(asked - self._taken) if asked - self._taken else self
        aliases = aliased((*names._aliases, *(one.name for one in found)), names._taken)
        said = selected(source, found, aliases)
        return Reading(names, source, said, aliases, {one.opens: one.name for one in found})

    def _with(self, asked: frozenset[str]) -> Names:
        if asked not in self._extended:
            if len(self._extended) >= EXTENDED_MAX:
                self._extended.clear()
            self._extended[asked] = Names({name: opened(shape, asked) for name, shape in self.shapes.items()})
        return self._extended[asked]


class Reading:
    """A source as the checker is given it, and the names it is checked with.

    Attributes:
        fields: what the fields are called, by the alias that the checker was given.
        indexes: places of indexes by a text that the checker was given as selections.
    """

    def __init__(
        self, names: Names, source: str, said: str, aliases: Mapping[str, str], indexes: Mapping[int, str]
    ) -> None:
        self.names = names
        self.fields = {alias: name for name, alias in aliases.items()}
        self.indexes = indexes
        self._source = source
        self._said = said

    def check(self) -> tuple[str, bytes]:
        """The type of the source and its serialized tree; RuntimeError with the checker's complaints."""
        for alias in self.fields:
            if match := re.search(rf"\b{alias}\b", self._source):
                line, column = place(self._source, match.start())
                said = f"undeclared reference to '{alias}' (in container '')"
                raise RuntimeError(f"ERROR: <input>:{line}:{column}: {said}")
        try:
            compiled = self.names._checker.compile(self._said)
        except RuntimeError as error:
            said = COMPLAINT_FIELD.sub(
                lambda match: f"undefined field '{self.fields.get(match[1], match[1])}'", str(error)
            )
            raise RuntimeError(said) from None
        return compiled.return_type().name(), compiled.serialize()
