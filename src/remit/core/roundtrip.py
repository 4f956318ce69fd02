"""Which types can't make the round trip from a value to JSON and back, as far as their definition says.

What is decided, recorded and run must be one and the same value, so such a type is refused where a tool, an agent or a
fact is defined. Definitions don't say everything (validators and serializers are code): a value is compared, too, when
it is normalised (`core.typed`). What is read is pydantic's core schema
(https://docs.pydantic.dev/latest/api/pydantic_core_schema/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from remit.core.tools import JsonSchema

_FIELDS: Final = ("model-field", "dataclass-field", "typed-dict-field")
_SETS: Final = ("set", "frozenset")
_KEEPING: Final = ("base64", "hex")


def lossy(schema: Any, json_schema: JsonSchema, *, written: bool) -> str | None:
    """Returns why values of a type would not come back as they were, and what to use instead; None where they do.

    Args:
        schema: the core schema of the type.
        json_schema: its JSON Schema.
        written: whether it is of what Python code returns (a result, a fact), and not of arguments.
    """
    if _has_secret(json_schema):
        return "a secret is not kept in JSON: declare it as a secret of the tool instead (docs/howto/secrets.md)"
    return next(_problems(schema, "", {}, written), None)


def _problems(node: Any, place: str, config: Mapping[str, Any], written: bool) -> Iterator[str]:
    if isinstance(node, Mapping):
        kind = node.get("type")
        if kind in ("model", "dataclass", "typed-dict") and isinstance(node.get("config"), Mapping):
            config = node["config"]
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


def _has_secret(schema: object) -> bool:
    """Pydantic writes `SecretStr` and `SecretBytes` as `format: password`, `writeOnly: true`."""
    if isinstance(schema, Mapping):
        secret = schema.get("writeOnly") is True and schema.get("format") == "password"
        return secret or any(_has_secret(inner) for key, inner in schema.items() if key not in ("default", "examples"))
    return isinstance(schema, list) and any(map(_has_secret, schema))


def _at(place: str) -> str:
    """The place as a user knows it: parameters stand in the model of a tool's arguments as `arg_<name>`."""
    return f"`{place.removeprefix('/').removeprefix('arg_').replace('/', '.')}`: " if place else ""
