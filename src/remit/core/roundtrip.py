"""Which types can't make the round trip from a value to JSON and back, as far as their definition says.

What is decided, recorded and run must be one and the same value, so such a type is refused where a tool, an agent or a
fact is defined. Definitions don't say everything (validators and serializers are code): a value is compared, too, when
it is normalised (`core.typed`). What is read is pydantic's core schema
(https://docs.pydantic.dev/latest/api/pydantic_core_schema/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pydantic
from pydantic_core import PydanticSerializationError, to_jsonable_python

from remit.core.canonical import canonical
from remit.core.tools import JsonSchema
from remit.errors import InvalidArguments, NotCanonical

_FIELDS: Final = ("model-field", "dataclass-field", "typed-dict-field")
_SETS: Final = ("set", "frozenset")
_KEEPING: Final = ("base64", "hex")
_DEEP: Final = 128
_SECRET: Final = "a secret is not kept in JSON: declare it as a secret of the tool instead (docs/howto/secrets.md)"


def lossy(schema: Any, json_schema: JsonSchema, *, written: bool) -> str | None:
    """Returns why values of a type would not come back as they were, and what to use instead; None where they do.

    Args:
        schema: the core schema of the type.
        json_schema: its JSON Schema.
        written: whether it is of what Python code returns (a result, a fact), and not of arguments.
    """
    if _has_secret(json_schema):
        return _SECRET
    if not written and _has_generator(schema):
        return "an `Iterable` or `Generator` can be gone through only once, and is before it runs: use a list"
    return next(_problems(schema, "", {}, written), None)


def equal(one: object, other: object) -> bool:
    """Whether two values of one type say the same. What has no equality of its own is not compared."""
    try:
        if one == other:
            return True
    except Exception:  # noqa: BLE001 - of a type of the user's own: it is compared by its parts
        pass
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    fields = getattr(type(one), "model_fields", None) or getattr(type(one), "__dataclass_fields__", None)
    if fields:  # private attributes may be another at each making
        more = (getattr(one, "__pydantic_extra__", None), getattr(other, "__pydantic_extra__", None))
        return equal(*more) and all(equal(getattr(one, name, None), getattr(other, name, None)) for name in fields)
    return type(one).__eq__ is object.__eq__


def as_json(arguments: Mapping[str, object], tool: str, *, binary: bool) -> bytes:
    """Returns what an agent hands over as canonical JSON.

    Args:
        binary: whether the tool's types say what bytes are; they are text in UTF-8 then.

    Raises:
        InvalidArguments: something in it has no JSON form, or would be another value in it.
    """
    try:
        data = canonical(to_jsonable_python(dict(arguments), inf_nan_mode="constants"))
    except (PydanticSerializationError, NotCanonical, ValueError, RecursionError) as error:
        raise InvalidArguments(f"tool `{tool}`: the arguments have no JSON form: {error}") from error
    if why := changing(arguments, binary=binary):
        raise InvalidArguments(f"tool `{tool}`: the arguments have no JSON form: there is {why}")
    return data


def changing(value: object, *, binary: bool, depth: int = 0) -> str:
    """Returns what in a value JSON would change (a secret is masked, a set has no order), or ""."""
    if isinstance(value, (str, int, float)) or value is None:
        return ""
    if isinstance(value, (pydantic.SecretStr, pydantic.SecretBytes, pydantic.Secret)):
        return "a secret: name it in the tool's `secrets`"
    if isinstance(value, (set, frozenset)):
        return "a set: give it as a sorted list"
    if isinstance(value, (bytes, bytearray)) and not binary:
        return "bytes: give them as text, in base64 for example"
    if isinstance(value, pydantic.BaseModel):
        value = vars(value)
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    found = (changing(one, binary=binary, depth=depth + 1) for one in inner)
    return next(filter(None, found), "") if depth < _DEEP else ""


def _problems(node: Any, place: str, config: Mapping[str, Any], written: bool) -> Iterator[str]:
    if isinstance(node, Mapping):
        kind = node.get("type")
        if kind in ("model", "dataclass", "typed-dict") and isinstance(node.get("config"), Mapping):
            config = node["config"]
        if _hides(node.get("serialization")):
            yield f"{_at(place)}{_SECRET}"
        if "serialization" in node:
            written = False  # a serializer says how bytes are written
        if kind in _SETS:
            yield f"{_at(place)}a set has no order, so its JSON differs from process to process: use a list or a tuple"
        if kind == "bytes" and written and not _keeps_bytes(config):
            yield (
                f"{_at(place)}bytes that are no UTF-8 have no JSON form: use `pydantic.Base64Bytes`, or a model with"
                ' `ser_json_bytes="base64"` and `val_json_bytes="base64"`'
            )
        if kind in _FIELDS:
            yield from _of_field(node, place)
        closed = config.get("extra_fields_behavior") == "forbid" or node.get("extra_behavior") == "forbid"
        if closed and (computed := node.get("computed_fields")):
            name = computed[0].get("alias") or computed[0].get("property_name")
            yield (
                f"{_at(f'{place}/{name}')}a computed field is written, and a model that forbids extra fields doesn't"
                " take it back: make it a method, or let the model ignore extra fields"
            )
        for key, inner in node.items():
            if key in ("config", "metadata", "cls", "function", "serialization", "default"):
                continue
            if key == "fields" and isinstance(inner, Mapping):
                for name, one in inner.items():
                    yield from _problems(one, f"{place}/{name}", config, written)
            else:
                yield from _problems(inner, place, config, written)
    elif isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        for inner in node:
            named = isinstance(inner, Mapping) and inner.get("type") == "dataclass-field"
            yield from _problems(inner, f"{place}/{inner['name']}" if named else place, config, written)


def _of_field(node: Mapping[str, Any], place: str) -> Iterator[str]:
    if node.get("serialization_exclude") is True:
        yield f"{_at(place)}a field with `exclude=True` is not written, and comes back as its default: leave it out"
    if node.get("init_only"):
        yield f"{_at(place)}an `InitVar` is not written, and does not come back: make it a field"
    name = place.rpartition("/")[2]
    writes = node.get("serialization_alias", name)
    reads = node.get("validation_alias", name)
    choices = reads if isinstance(reads, list) else [reads]
    taken = [choice[0] if isinstance(choice, list) and len(choice) == 1 else choice for choice in choices]
    if writes not in taken:
        yield (
            f"{_at(place)}it is written as `{writes}` and read as `{taken[0]}`: use one `alias` for both, or add"
            f" `{writes}` to its `AliasChoices`"
        )


def _keeps_bytes(config: Mapping[str, Any]) -> bool:
    way = config.get("ser_json_bytes")
    return way in _KEEPING and config.get("val_json_bytes") == way


def _hides(serializer: object) -> bool:
    """Whether it is the one of `pydantic.Secret[...]`, whose JSON Schema doesn't tell."""
    function = serializer.get("function") if isinstance(serializer, Mapping) else None
    return getattr(function, "__module__", "") == "pydantic.types" and "_secret" in getattr(function, "__name__", "")


def _has_generator(node: object) -> bool:
    if isinstance(node, Mapping):
        inner = (value for key, value in node.items() if key not in ("metadata", "default"))
        return node.get("type") == "generator" or any(map(_has_generator, inner))
    return isinstance(node, (list, tuple)) and any(map(_has_generator, node))


def _has_secret(schema: object) -> bool:
    """Pydantic writes `SecretStr` and `SecretBytes` as `format: password`, `writeOnly: true`."""
    if isinstance(schema, Mapping):
        secret = schema.get("writeOnly") is True and schema.get("format") == "password"
        return secret or any(_has_secret(inner) for key, inner in schema.items() if key not in ("default", "examples"))
    return isinstance(schema, list) and any(map(_has_secret, schema))


def _at(place: str) -> str:
    """The place as a user knows it: parameters stand in the model of a tool's arguments as `arg_<name>`."""
    return f"`{place.removeprefix('/').removeprefix('arg_').replace('/', '.')}`: " if place else ""
