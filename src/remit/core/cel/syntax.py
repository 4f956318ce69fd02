"""The checked syntax tree that `Expression.serialize()` returns, decoded.

The bytes are a `google.protobuf.Any` with a `cel.expr.CheckedExpr` (or a `ParsedExpr` if nothing was
checked). The schema is public (google/cel-spec, `proto/cel/expr/syntax.proto` and `checked.proto`); the part
of it we need is described here, in a pool of our own, so that no other user of protobuf in the process can
collide with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

# message: fields as `name number type`, `*` for repeated; the types are those of syntax.proto.
SCHEMA: Final = """
Constant: null_value 1 int64, bool_value 2 bool, int64_value 3 int64, uint64_value 4 uint64, double_value 5 double, string_value 6 string, bytes_value 7 bytes
Ident: name 1 string
Select: operand 1 Expr, field 2 string, test_only 3 bool
Call: target 1 Expr, function 2 string, args* 3 Expr
CreateList: elements* 1 Expr, optional_indices* 2 int32
Entry: id 1 int64, field_key 2 string, map_key 3 Expr, value 4 Expr, optional_entry 5 bool
CreateStruct: message_name 1 string, entries* 2 Entry
Comprehension: iter_var 1 string, iter_range 2 Expr, accu_var 3 string, accu_init 4 Expr, loop_condition 5 Expr, loop_step 6 Expr, result 7 Expr, iter_var2 8 string
Expr: id 2 int64, const_expr 3 Constant, ident_expr 4 Ident, select_expr 5 Select, call_expr 6 Call, list_expr 7 CreateList, struct_expr 8 CreateStruct, comprehension_expr 9 Comprehension
Position: key 1 int64, value 2 int32
SourceInfo: positions* 4 Position
ParsedExpr: expr 2 Expr, source_info 3 SourceInfo
Reference: name 1 string, overload_id* 3 string, value 4 Constant
Resolved: key 1 int64, value 2 Reference
CheckedExpr: reference_map* 2 Resolved, expr 4 Expr, source_info 5 SourceInfo
Any: type_url 1 string, value 2 bytes
"""  # noqa: E501
ONEOFS: Final = frozenset({"Constant", "Expr"})


@dataclass(frozen=True, slots=True)
class Const:
    at: int
    value: object
    unsigned: bool = False


@dataclass(frozen=True, slots=True)
class Ident:
    at: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    at: int
    operand: Raw
    field: str
    test_only: bool


@dataclass(frozen=True, slots=True)
class Invoke:
    at: int
    function: str
    target: Raw | None
    args: tuple[Raw, ...]


@dataclass(frozen=True, slots=True)
class MakeList:
    at: int
    elements: tuple[Raw, ...]


@dataclass(frozen=True, slots=True)
class MakeMap:
    at: int
    entries: tuple[tuple[Raw, Raw], ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    at: int
    variable: str
    range: Raw
    accumulator: str
    initial: Raw
    condition: Raw
    step: Raw
    result: Raw


@dataclass(frozen=True, slots=True)
class Unknown:
    """A node that we don't evaluate; loading refuses it."""

    at: int
    what: str


Raw = Const | Ident | Select | Invoke | MakeList | MakeMap | Comprehension | Unknown


class Decoder:
    """Knows the schema; makes trees out of bytes."""

    def __init__(self) -> None:
        pool = descriptor_pool.DescriptorPool()
        file = descriptor_pb2.FileDescriptorProto(name="remit_cel.proto", package="remit.cel", syntax="proto3")
        for line in SCHEMA.strip().splitlines():
            name, _, fields = line.partition(": ")
            describe(file.message_type.add(name=name), fields.split(", "))
        pool.AddSerializedFile(file.SerializeToString())
        self._classes: Mapping[str, Any] = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"remit.cel.{name}"))
            for name in ("Any", "CheckedExpr", "ParsedExpr")
        }

    def decode(self, data: bytes) -> Raw:
        try:
            wrapper = self._classes["Any"].FromString(data)
            kind = wrapper.type_url.rpartition(".")[2]
            if kind not in ("CheckedExpr", "ParsedExpr"):
                return Unknown(0, f"a tree of type `{wrapper.type_url}`")
            message = self._classes[kind].FromString(wrapper.value)
        except DecodeError as error:
            return Unknown(0, f"a tree that can't be read: {error}")
        positions = {item.key: item.value for item in message.source_info.positions}
        references = {} if kind == "ParsedExpr" else {item.key: item.value for item in message.reference_map}
        return Reader(positions, references).read(message.expr)


def describe(message: Any, fields: Iterable[str]) -> None:
    """Turns a line of SCHEMA into a message descriptor. Presence matters only where a oneof gives it."""
    proto = descriptor_pb2.FieldDescriptorProto
    if message.name in ONEOFS:
        message.oneof_decl.add(name="kind")
    for field in fields:
        name, number, type_name = field.split(" ")
        repeated = name.endswith("*")
        added = message.field.add(
            name=name.rstrip("*"),
            number=int(number),
            label=proto.LABEL_REPEATED if repeated else proto.LABEL_OPTIONAL,
        )
        if type_name[0].isupper():
            added.type, added.type_name = proto.TYPE_MESSAGE, f".remit.cel.{type_name}"
        else:
            added.type = proto.Type.Value(f"TYPE_{type_name.upper()}")
        if message.name in ONEOFS and name != "id":
            added.oneof_index = 0


class Reader:
    """One message made into a tree. The parser bounds the depth (32), so recursion is safe."""

    def __init__(self, positions: Mapping[int, int], references: Mapping[int, Any]) -> None:
        self._positions = positions
        self._references = references

    def read(self, expr: Any) -> Raw:
        at = self._positions.get(expr.id, 0)
        kind = expr.WhichOneof("kind")
        if kind == "const_expr":
            return self._constant(expr.const_expr, at)
        if kind == "ident_expr":
            return self._ident(expr, at)
        if kind == "select_expr":
            select = expr.select_expr
            return Select(at, self.read(select.operand), select.field, select.test_only)
        if kind == "call_expr":
            call = expr.call_expr
            target = self.read(call.target) if call.HasField("target") else None
            return Invoke(at, call.function, target, tuple(self.read(arg) for arg in call.args))
        if kind == "list_expr":
            if expr.list_expr.optional_indices:
                return Unknown(at, "optional elements")
            return MakeList(at, tuple(self.read(item) for item in expr.list_expr.elements))
        if kind == "struct_expr":
            return self._struct(expr.struct_expr, at)
        if kind == "comprehension_expr":
            return self._comprehension(expr.comprehension_expr, at)
        return Unknown(at, "an empty expression")

    def _constant(self, constant: Any, at: int) -> Raw:
        kind = constant.WhichOneof("kind")
        if kind is None:
            return Unknown(at, "a literal of an unknown type")
        value = None if kind == "null_value" else getattr(constant, kind)
        return Const(at, value, unsigned=kind == "uint64_value")

    def _ident(self, expr: Any, at: int) -> Raw:
        reference = self._references.get(expr.id)
        if reference is not None and reference.HasField("value"):
            return self._constant(reference.value, at)
        name = expr.ident_expr.name
        if reference is not None and reference.name and not name.startswith("."):
            name = reference.name
        return Ident(at, name)

    def _struct(self, struct: Any, at: int) -> Raw:
        if struct.message_name:
            return Unknown(at, f"making a message `{struct.message_name}`")
        if any(entry.optional_entry for entry in struct.entries):
            return Unknown(at, "optional entries")
        return MakeMap(at, tuple((self.read(entry.map_key), self.read(entry.value)) for entry in struct.entries))

    def _comprehension(self, loop: Any, at: int) -> Raw:
        if loop.iter_var2:
            return Unknown(at, "a macro with two variables")
        return Comprehension(
            at,
            loop.iter_var,
            self.read(loop.iter_range),
            loop.accu_var,
            self.read(loop.accu_init),
            self.read(loop.loop_condition),
            self.read(loop.loop_step),
            self.read(loop.result),
        )
