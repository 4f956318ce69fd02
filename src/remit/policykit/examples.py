"""A solver's model made into a call that the real evaluator can decide."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from remit.core.cel.shapes import Kind
from remit.core.tools import JsonSchema, ToolSpec
from remit.errors import PolicyError, RemitError
from remit.policykit.casefiles import read_cases
from remit.policykit.situations import Situation, situation
from remit.policykit.symbols import Path, Symbols, Variable
from remit.policykit.toolset import Toolset

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GIVEN = frozenset({"args", "facts", "labels", "spent", "history", "now", "run", "agent", "task", "provenance"})


def example(
    symbols: Symbols, model: Any, spec: ToolSpec, tools: Toolset, hidden: Sequence[str] = ()
) -> tuple[dict[str, Any], Situation] | None:
    """Returns what a model says as the `given` of a case, without the `hidden` names, and the situation that it makes.

    None where the types of the call or the facts refuse it: the model then says something that can't be.
    """
    given = _given(symbols, model, spec, tools, hidden)
    if given is None:
        return None
    text = json.dumps({"cases": [{"name": "example", "given": given, "expect": {"outcome": "allow"}}]})
    try:
        (case,) = read_cases({"example.cases.yaml": text})
        return given, situation(case, tools)
    except (PolicyError, RemitError, OverflowError):
        return None


def _given(
    symbols: Symbols, model: Any, spec: ToolSpec, tools: Toolset, hidden: Sequence[str]
) -> dict[str, Any] | None:
    given: dict[str, Any] = {"tool": spec.name, "args": {}, "facts": {}}
    for name, schema in tools.facts.get(spec.name, {}).items():
        given["facts"][name] = sample(schema, schema)
    for path, held in _members(symbols, model).items():
        _put(given, path, held)
    absent: list[Path] = []
    for variable in symbols.variables.values():
        if variable.path[0] in hidden:
            continue
        if not _is_true(model, variable.present):
            absent.append(variable.path)
        elif variable.shape.kind in (Kind.OBJECT, Kind.MAP, Kind.LIST):
            continue
        elif (value := _value(variable, model)) is _NO_VALUE or not _put(given, variable.path, value):
            return None
    given["args"] = _completed(given["args"], spec.normal, spec.normal, ("args",), absent)
    for path in absent:
        _drop(given, path)
    if any(key not in _GIVEN | {"tool"} for key in given):
        return None
    return {key: value for key, value in given.items() if value not in ({}, [])}


_NO_VALUE = object()


def _value(variable: Variable, model: Any) -> Any:
    if _is_true(model, variable.null):
        return None
    found = model.eval(variable.formula, model_completion=True)
    match variable.shape.kind:
        case Kind.BOOL:
            return _is_true(model, variable.formula)
        case Kind.INT:
            return found.as_long()
        case Kind.NUMBER:
            return float(_fraction(found))
        case Kind.DECIMAL:
            return _decimal(_fraction(found))
        case Kind.STRING:
            return _text(found)
        case Kind.TIMESTAMP:
            return _moment(found.as_long())
        case Kind.DURATION:
            seconds = found.as_long() / 1_000_000_000
            return f"PT{seconds:g}S" if seconds >= 0 else _NO_VALUE
    return _NO_VALUE


def _is_true(model: Any, formula: Any) -> bool:
    return str(model.eval(formula, model_completion=True)) == "True"


def _fraction(found: Any) -> Fraction:
    return Fraction(found.numerator_as_long(), found.denominator_as_long())


def _decimal(found: Fraction) -> Any:
    """Returns a decimal as text; one without an end is cut: the evaluator says whether it still serves."""
    scaled = found * 10**12
    digits = str(abs(round(scaled))).rjust(13, "0")
    whole, part = digits[:-12], digits[-12:].rstrip("0")
    return ("-" if scaled < 0 else "") + whole + (f".{part}" if part else "")


def _text(found: Any) -> str:
    """Returns a text of the solver's; it writes what is not ASCII as `\\u{...}`."""
    raw = str(found.as_string())
    parts = raw.split("\\u{")
    return parts[0] + "".join(
        chr(int(code, 16)) + rest for code, _, rest in (part.partition("}") for part in parts[1:])
    )


def _moment(nanos: int) -> Any:
    try:
        return (_EPOCH + timedelta(microseconds=nanos // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except OverflowError:
        return _NO_VALUE


def _members(symbols: Symbols, model: Any) -> dict[Path, list[str]]:
    found: dict[Path, list[str]] = {}
    for (path, _), (held, text) in symbols.members.items():
        members = found.setdefault(path, [])
        if _is_true(model, held):
            members.append(_text(model.eval(text, model_completion=True)))
    return found


def _put(given: dict[str, Any], path: Path, value: Any) -> bool:
    here: Any = given
    for part in path[:-1]:
        here = here.setdefault(part, {})
        if not isinstance(here, dict):
            return False
    here[path[-1]] = value
    return True


def _drop(given: dict[str, Any], path: Path) -> None:
    here: Any = given
    for part in path[:-1]:
        here = here.get(part)
        if not isinstance(here, dict):
            return
    here.pop(path[-1], None)


def _completed(value: Any, schema: JsonSchema, root: JsonSchema, path: Path, absent: list[Path]) -> Any:
    """Returns an object with every field that its schema needs and the model doesn't speak of."""
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    for name, part in properties.items():
        if name in value:
            value[name] = _completed(value[name], _resolved(part, root), root, (*path, name), absent)
        elif name in schema.get("required", ()) and (*path, name) not in absent:
            value[name] = sample(part, root)
    return value


def sample(schema: object, root: Mapping[str, Any]) -> Any:
    """Returns some value of a JSON Schema, as plain as it gets; one with a pattern may not fit it."""
    schema = _resolved(schema, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return sample(schema[key][0], root)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    match kind:
        case "object":
            needed = schema.get("required", ())
            return {name: sample(part, root) for name, part in schema.get("properties", {}).items() if name in needed}
        case "array":
            return [sample(schema.get("items", {}), root) for _ in range(schema.get("minItems", 0))]
        case "integer" | "number":
            least = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
            return min(max(0, least), schema.get("maximum", max(0, least)))
        case "boolean":
            return False
        case "null":
            return None
    formats = {"decimal": "1", "date-time": "2026-01-05T09:00:00Z", "date": "2026-01-05", "duration": "PT1H"}
    formats |= {
        "email": "ann@example.com",
        "uri": "https://example.com/",
        "uuid": "00000000-0000-4000-8000-000000000000",
    }
    return formats.get(str(schema.get("format")), "x" * max(1, schema.get("minLength", 1)))


def _resolved(schema: object, root: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        found: Any = root
        for step in reference[2:].split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) and "$ref" not in found else {}
    return schema
