"""Obligations: what rules that were true ask for, should the call run.

A rule that allows or escalates may oblige to `redact` or `mask` a part of the arguments or of the result, to `cap` a
number among the arguments, and to `label` the result. Obligations of several rules are joined whatever their order: a
redacted part is not masked, a masked one not capped, the lowest cap counts, and what covers a part covers all below it.
One that can't be fulfilled is an error, and the call doesn't run: nothing ever runs half covered.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import jsonschema_rs

from remit.core.canonical import canonical
from remit.core.detectors import Finding
from remit.core.entries import Obligation
from remit.core.labels import pointer_of, steps_of
from remit.core.masking import mask
from remit.core.tools import JsonSchema, ToolSpec
from remit.errors import BadInput

REDACTED: Final = "[redacted]"
COVERING: Final = ("redact", "mask")
_ARGS, _RESULT = "/args", "/result"
_STRICTEST: Final = ("cap", "mask", "redact")
_NUMBER: Final = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?")
_WHOLE: Final = (Finding("", ""),)
_Steps = tuple[str, ...]


def joined(*several: Sequence[Obligation]) -> tuple[Obligation, ...]:
    """Returns all of them, each once, and of the caps on the same part the lowest; in one order."""
    if not any(several):
        return ()
    found: dict[tuple[str, str, str], Obligation] = {}
    for one in (one for some in several for one in some):
        key = (one.kind, one.at, one.to if one.kind == "label" else "")
        old = found.get(key, one)
        to = min(old.to, one.to, key=Decimal) if one.kind == "cap" else one.to
        found[key] = Obligation(one.kind, one.at, to, old.keep or one.keep)
    return tuple(found[key] for key in sorted(found))


def labels_of(obligations: Iterable[Obligation]) -> tuple[str, ...]:
    """Returns the labels that a result gets."""
    return tuple(sorted({one.to for one in obligations if one.kind == "label"}))


def on_arguments(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """Returns those that change arguments."""
    return tuple(one for one in obligations if _is_below(one.at, _ARGS))


def on_result(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """Returns those that change the result."""
    return tuple(one for one in obligations if _is_below(one.at, _RESULT))


def in_words(one: Obligation) -> str:
    """`cap /args/limit at 100`, `label pii`."""
    said = f"{one.kind} {one.at} at {one.to}" if one.kind == "cap" else f"{one.kind} {one.at or one.to}"
    return f"{said}, kept apart" if one.keep else said


def oblige_arguments(
    spec: ToolSpec, args: Mapping[str, object], obligations: Iterable[Obligation], found: Iterable[Finding] = ()
) -> dict[str, Any]:
    """Returns the arguments as they may run. `found` are places that a guardrail masks, pointers into the arguments.

    Raises:
        BadInput: an obligation can't be fulfilled, or what is left doesn't fit the tool.
    """
    below = [Obligation(one.kind, one.at.removeprefix(_ARGS), one.to) for one in on_arguments(obligations)]
    changed: Any = _changed(mask(dict(args), found), below, _ARGS)
    if not isinstance(changed, dict):
        raise BadInput(f"the arguments of `{spec.name}` can't be covered whole: say which")
    if names_changed(args, changed):
        # What the tool checks beyond its schema is checked where it is: an export has the schema.
        errors = jsonschema_rs.validator_for(dict(spec.normal), offline=True).iter_errors(changed)
        if (first := next(iter(errors), None)) is not None:
            place = pointer_of(map(str, first.instance_path))
            raise BadInput(f"`{_ARGS}{place}` would not fit `{spec.name}` any more: its type is not text")
    return changed


def oblige_result(value: object, obligations: Iterable[Obligation]) -> object:
    """Returns a result as it may go on. Raises BadInput where an obligation can't be fulfilled."""
    below = [Obligation(one.kind, one.at.removeprefix(_RESULT)) for one in on_result(obligations)]
    return _changed(value, below, _RESULT)


def is_covered(result: object, obligations: Iterable[Obligation]) -> bool:
    """Whether nothing is left in a result that had to be covered; what isn't there any more is."""
    for one in on_result(obligations):
        for place in _places(result, steps_of(one.at.removeprefix(_RESULT)), (), _RESULT, strict=False):
            here: Any = result
            for step in place:
                here = here[int(step)] if isinstance(here, list) else here[step]
            if here not in (None, REDACTED) and (mask(here, _WHOLE) != here or one.kind == "redact"):
                return False
    return True


def names_changed(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, ...]:
    """Returns the names of the arguments that are not the same bytes."""
    return tuple(sorted(name for name in after if canonical(before.get(name)) != canonical(after[name])))


def _is_below(pointer: str, root: str) -> bool:
    return pointer == root or pointer.startswith(f"{root}/")


def _changed(value: object, obligations: Sequence[Obligation], root: str) -> object:
    at: dict[_Steps, tuple[int, Decimal]] = {}
    for one in obligations:
        rank, limit = _STRICTEST.index(one.kind), Decimal(one.to or 0)
        for place in _places(value, steps_of(one.at), (), root):
            held = at.get(place, (rank, limit))
            at[place] = max(held[0], rank), min(held[1], limit) if held[0] == rank else limit
    covered = {place for place, (rank, _) in at.items() if rank}
    at = {place: what for place, what in at.items() if not any(place[:n] in covered for n in range(len(place)))}
    return _rewritten(value, (), at, root) if at else value


def _places(value: Any, steps: _Steps, here: _Steps, root: str, *, strict: bool = True) -> Iterator[_Steps]:
    """Yields every place that a pointer means; `*` is any item of a list or object, of which there may be none."""
    if not steps:
        yield here
    elif value is None and here:
        return  # there is nothing in it, or it is covered
    elif steps[0] == "*" and isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _places(item, steps[1:], (*here, str(key)), root, strict=strict)
    elif isinstance(value, dict) and steps[0] in value:
        yield from _places(value[steps[0]], steps[1:], (*here, steps[0]), root, strict=strict)
    elif isinstance(value, list) and steps[0].isdecimal() and int(steps[0]) < len(value):
        yield from _places(value[int(steps[0])], steps[1:], (*here, steps[0]), root, strict=strict)
    elif strict:
        raise BadInput(f"there is no `{root}{pointer_of((*here, steps[0]))}`")


def _rewritten(value: Any, here: _Steps, at: Mapping[_Steps, tuple[int, Decimal]], root: str) -> object:
    if here in at:
        rank, limit = at[here]
        kind = _STRICTEST[rank]
        if kind == "cap":
            return _capped(value, limit, root + pointer_of(here))
        if kind == "mask":
            return mask(value, _WHOLE)
        return REDACTED if isinstance(value, str) else None
    if isinstance(value, dict):
        return {key: _rewritten(item, (*here, key), at, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewritten(item, (*here, str(index)), at, root) for index, item in enumerate(value)]
    return value


def _capped(value: object, limit: Decimal, place: str) -> object:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return f"{limit:f}" if Decimal(value) > limit else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise BadInput(f"`{place}` can't be capped at {limit}: it is no number")
    if value <= limit:
        return value
    return math.floor(limit) if isinstance(value, int) or limit == math.floor(limit) else float(limit)


# --- what a policy file may say of a tool ----------------------------------------------------------------


def unfit(spec: ToolSpec, one: Obligation) -> str:
    """Returns why an obligation can't be one on a tool, by its schemas; "" where it may be, or they don't say."""
    if one.kind == "label":
        return ""
    root, schema = (_ARGS, spec.normal) if _is_below(one.at, _ARGS) else (_RESULT, spec.result)
    if one.kind == "cap" and root == _RESULT:
        return "only an argument has a cap"
    steps = steps_of(one.at.removeprefix(root))
    if not steps and root == _ARGS:
        return "say which argument: `/args/limit`"
    kinds = _kinds([schema], steps, schema)
    if kinds is None:
        return f"tool `{spec.name}` has no `{one.at}`"
    if root == _ARGS and kinds and one.kind == "cap" and not kinds & {"integer", "number", "decimal"}:
        return f"`{one.at}` of `{spec.name}` is no number"
    if root == _ARGS and kinds and one.kind in COVERING and not kinds & {"string", "null"}:
        return f"`{one.at}` of `{spec.name}` is no text: what covers it would not fit"
    return ""


def _kinds(schemas: Sequence[object], steps: _Steps, whole: JsonSchema, depth: int = 0) -> set[str] | None:
    """Returns the types of what stands at `steps`; empty where nobody can say, None where nothing can stand there."""
    flat = [one for schema in schemas for one in _choices(schema, whole)]
    if not steps:
        kinds = [_type(one) for one in flat]
        return set() if "" in kinds else set(kinds)
    below: list[object] = []
    for one in flat:
        kind = one.get("type")
        if kind in (None, "object"):
            named = one.get("properties", {})
            more = one.get("additionalProperties", True)
            every = [*named.values(), *([more] if more is not False else [])]
            below += every if steps[0] == "*" else [named[steps[0]]] if steps[0] in named else [more] if more else []
        if kind in (None, "array") and (steps[0] == "*" or steps[0].isdecimal()):
            below += [*one.get("prefixItems", ()), one.get("items", True)]
    if not below or depth > 64:
        return None if not below else set()
    return _kinds(below, steps[1:], whole, depth + 1)


def _choices(schema: object, whole: JsonSchema, depth: int = 0) -> list[Mapping[str, Any]]:
    """Returns what a schema may be, with its references followed; `{}` where that is anything."""
    if not isinstance(schema, Mapping) or depth > 16:
        return [{}]
    reference = schema.get("$ref")
    if isinstance(reference, str):
        found: Any = whole if reference.startswith("#/") else {}
        for step in reference[2:].split("/") if reference.startswith("#/") else ():
            found = found.get(step, {}) if isinstance(found, Mapping) else {}
        return _choices(found, whole, depth + 1)
    several = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return [one for part in several for one in _choices(part, whole, depth + 1)] if several else [schema]


def _type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "string" and schema.get("format") == "decimal":
        return "decimal"
    return kind if isinstance(kind, str) else ""
