"""Arguments by a JSON Schema that somebody else wrote: closed, with defaults filled in, in any draft since 4.

Three things are made of such a schema, once, when a tool is defined:

- the schema as published, by its own draft: what it refuses is refused;
- the closed schema: the same, with `unevaluatedProperties: false` at every object that says nothing of further
  members. `$ref`, `allOf`, `anyOf`, `oneOf`, `if` and `dependentSchemas` describe the same object, so what any of them
  names, where it holds, is named. Older drafts are written in draft 2019-09 first, which has that keyword;
- what fills in the declared defaults, nested ones too.

docs/reference/json-schema.md says what this means in each case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

import jsonschema
import jsonschema_rs

from remit.core.canonical import canonical, plain
from remit.core.roundtrip import as_json
from remit.core.schemas import (
    BESIDE,
    DRAFTS,
    MEMBERS,
    PARTS,
    SAME,
    STORES,
    TESTS,
    THEN,
    Document,
    Schema,
    draft_of,
    names_of,
    pointer,
    subschemas,
)
from remit.core.tools import is_argument
from remit.errors import InvalidArguments, NotCanonical, ToolError

_OLD: Final = ("4", "6", "7")
_HOME: Final = "urn:remit:arguments"
_DEEP: Final = 64
_SHOWN: Final = 5
_NOT_YET: Final[Mapping[str, frozenset[str]]] = {
    "4": frozenset({"const", "contains", "propertyNames", "if", "then", "else", "$id"}),
    "6": frozenset({"if", "then", "else", "id"}),
    "7": frozenset({"id"}),
    "2019-09": frozenset({"prefixItems", "$dynamicRef", "$dynamicAnchor", "id"}),
    "2020-12": frozenset({"$recursiveRef", "$recursiveAnchor", "additionalItems", "id"}),
}
"""Keywords that a draft doesn't have and a later one (or an earlier one) does: there they say nothing."""
_LATER: Final = frozenset(
    {
        "dependentSchemas", "dependentRequired", "unevaluatedItems", "unevaluatedProperties", "prefixItems",
        "minContains", "maxContains", "$anchor", "$recursiveRef", "$recursiveAnchor", "$dynamicRef", "$dynamicAnchor",
    }
)  # fmt: skip
_OBJECT: Final = frozenset(
    {
        "properties", "patternProperties", "required", "minProperties", "maxProperties", "propertyNames",
        "dependentRequired", "dependentSchemas", "dependencies", "additionalProperties", "unevaluatedProperties",
    }
)  # fmt: skip
_CHECKERS: Final = {
    "4": jsonschema.Draft4Validator,
    "6": jsonschema.Draft6Validator,
    "7": jsonschema.Draft7Validator,
    "2019-09": jsonschema.Draft201909Validator,
    "2020-12": jsonschema.Draft202012Validator,
}


class ForeignArguments:
    """Validates arguments against a JSON Schema that somebody else wrote, and fills in its defaults.

    Attributes:
        normal: the closed schema of the arguments as decided and run: a member with a default is required.
    """

    def __init__(self, schema: Schema, tool: str, *, as_it_is: bool = False) -> None:
        """
        Args:
            as_it_is: neither closes the schema nor fills in defaults: for one that was made closed already.

        Raises:
            ToolError: the schema is none, is of an unknown draft, refers to another document, or has a default that
                doesn't fit it.
        """
        self._tool = tool
        self._schema = dict(schema)
        try:
            self._draft = draft_of(schema)
            canonical(schema)  # as the journal keeps it
        except (ValueError, NotCanonical) as error:
            raise ToolError(f"tool `{tool}`: its schema can't be used: {error}") from error
        self._refuse_nonsense()
        self._closed: jsonschema_rs.Validator | None = None
        self._fill: Fill | None = None
        self.normal: Schema = self._schema
        if not as_it_is:
            self._close()
        self._published = self._compiled(self._schema)

    def _refuse_nonsense(self) -> None:
        try:
            if jsonschema_rs.meta.is_valid(self._schema):
                return
            checker = _CHECKERS[self._draft]
            error = next(iter(checker(checker.META_SCHEMA).iter_errors(self._schema)), None)
        except (RecursionError, ValueError) as wrong:
            raise ToolError(f"tool `{self._tool}`: its schema can't be used: {wrong}") from wrong
        words = f": `{error.json_path}`: {error.message}" if error is not None else ""
        raise ToolError(f"tool `{self._tool}`: its schema is not a JSON Schema{words}")

    def _compiled(self, schema: Schema) -> jsonschema_rs.Validator:
        try:
            return jsonschema_rs.validator_for(dict(schema), offline=True)  # a `$ref` fetches nothing
        except ValueError as error:
            words = str(error).splitlines()[0]
            raise ToolError(f"tool `{self._tool}`: its schema can't be used: {words}") from error

    def _close(self) -> None:
        try:
            closed = Closing(self._schema, self._draft).closed
            self._closed = self._compiled(closed)
            defaults = Defaults(closed)
            self._fill = defaults.fill if defaults.any else None
            self.normal = defaults.required()
        except ValueError as error:
            raise ToolError(f"tool `{self._tool}`: its schema can't be used: {error}") from error

    def normalise(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Returns the arguments as JSON values, defaults filled in.

        Raises:
            InvalidArguments: naming every argument that doesn't fit, and why.
        """
        for name in arguments:
            if not is_argument(name):
                raise InvalidArguments(f"tool `{self._tool}`: no policy could name an argument `{name[:80]!a}`")
        value: dict[str, object] = plain(as_json(arguments, self._tool, binary=False))
        if self._fill is not None:
            try:
                self._fill(value)
            except ValueError as error:
                raise InvalidArguments(f"tool `{self._tool}`: {error}") from error
        if not self._published.is_valid(value):
            raise InvalidArguments(f"tool `{self._tool}`: {self._why(value)}")
        if self._closed is not None and not self._closed.is_valid(value):
            raise Unnamed(f"tool `{self._tool}`: {'; '.join(self._unnamed(value))}")
        return value

    def bind(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Returns the arguments: a foreign tool takes plain JSON."""
        return dict(arguments)

    def _why(self, value: object) -> str:
        try:
            errors = sorted(_CHECKERS[self._draft](self._schema).iter_errors(value), key=lambda error: error.json_path)
            words = "; ".join(f"`{error.json_path}`: {error.message}" for error in errors[:_SHOWN])
        except Exception:  # noqa: BLE001 - it only finds words; what was refused stays refused
            words = ""
        return words or "the arguments do not fit its schema"

    def _unnamed(self, value: object) -> Iterator[str]:
        if self._closed is None:
            return
        for count, error in enumerate(self._closed.iter_errors(value)):
            if count >= _SHOWN:
                return
            place = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
            names = getattr(error.kind, "unexpected", None)
            if names:
                listed = ", ".join(f"`{name}`" for name in names)
                yield f"`{place}`: its schema does not name {listed}, and doesn't say `additionalProperties: true`"
            else:
                yield f"`{place}`: closed to what its schema does not name, it does not fit: {error.message}"


class Unnamed(InvalidArguments):
    """Refused only because a foreign schema is closed: it holds something the schema does not name."""


# --- closing ---------------------------------------------------------------------------------------------


class Closing:
    """Writes a schema of any draft as a closed one: of 2020-12 where it is of that, else of 2019-09."""

    def __init__(self, root: Schema, draft: str) -> None:
        """Raises ValueError where a reference leaves the document or points at what is no schema's place."""
        self._draft = draft
        self._old = draft in _OLD
        self._source = Document(_without(root, draft))
        source: Schema = self._source.root  # type: ignore[assignment]  # a mapping, as `root` is
        self._refuse_far_references(source)
        self.closed: dict[str, Any] = {
            **self._written(source, place=True, test=False),
            "$schema": DRAFTS["2020-12" if draft == "2020-12" else "2019-09"],
        }

    def _refuse_far_references(self, schema: object) -> None:
        pending = [schema]
        while pending:
            here = pending.pop()
            if not isinstance(here, Mapping):
                continue
            found, said = self._source.target(here), here.get("$ref")
            if found is None and isinstance(said, str):
                raise ValueError(f"`{said}` is in another document, or nowhere: put what it refers to into this one")
            if found is not None and not self._source.holds(found):
                raise ValueError(f"`{said}` points at a place that holds no schema: put it under `$defs`")
            pending.extend(inner for _, inner in subschemas(here))

    def _written(self, schema: Any, *, place: bool, test: bool) -> Any:
        """Returns a schema rewritten; `place` where it is the first to describe its value, `test` below a test."""
        if not isinstance(schema, Mapping):
            return schema
        made: dict[str, Any] = {}
        for key, value in schema.items():
            if key in MEMBERS:
                made[key] = self._members(value, place=True, test=test)
            elif key in STORES or key in BESIDE:
                made[key] = self._members(value, place=False, test=test)
            elif key in PARTS or (key == "items" and not isinstance(value, list)):
                made[key] = self._written(value, place=True, test=test)
            elif key in ("items", "prefixItems"):
                made[key] = [self._written(inner, place=True, test=test) for inner in value]
            elif key in SAME:
                made[key] = [self._written(inner, place=False, test=test) for inner in value]
            elif key in TESTS:
                made[key] = self._written(value, place=False, test=True)
            elif key in THEN:
                made[key] = self._written(value, place=False, test=test)
            else:
                made[key] = deepcopy(value)
        if self._old:
            _renew(made)
        if "unevaluatedProperties" not in made and "additionalProperties" not in made:
            if "const" in made or "enum" in made:
                made["unevaluatedProperties"] = True  # such a value is named whole
            elif place and not test and self._describes_an_object(schema):
                made["unevaluatedProperties"] = False
        return made

    def _members(self, value: Any, *, place: bool, test: bool) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {
            name: self._written(inner, place=place, test=test) if isinstance(inner, Mapping) else inner
            for name, inner in value.items()
        }

    def _describes_an_object(self, schema: Schema) -> bool:
        for part in self._source.in_place(schema):
            if ("$dynamicRef" in part or "$recursiveRef" in part) and self._source.target(part) is None:
                return True  # what it stands for isn't known here
            declared = part.get("type")
            if declared == "object" or (isinstance(declared, list) and "object" in declared):
                return True
            if declared is None and not _OBJECT.isdisjoint(part):
                return True
        return False


def _without(schema: Any, draft: str) -> Any:
    """Returns a copy without what says nothing in its draft."""
    if not isinstance(schema, Mapping):
        return schema
    if draft in _OLD and isinstance(schema.get("$ref"), str):
        # Beside `$ref` nothing counts, but the places that references point at.
        schema = {key: value for key, value in schema.items() if key in ("$ref", *STORES)}
    nothing = _NOT_YET[draft] | (_LATER if draft in _OLD else frozenset())
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in nothing or (key == "$schema"):
            continue
        if key in MEMBERS or key in STORES or key in BESIDE:
            made[key] = {name: _without(inner, draft) for name, inner in value.items()} if _is_map(value) else value
        elif key in PARTS or key in TESTS or key in THEN or (key == "items" and not isinstance(value, list)):
            made[key] = _without(value, draft)
        elif isinstance(value, list) and (key in SAME or key in ("items", "prefixItems")):
            made[key] = [_without(inner, draft) for inner in value]
        else:
            made[key] = value
    return made


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping)


def _renew(schema: dict[str, Any]) -> None:
    """Writes the keywords of drafts 4 to 7 as draft 2019-09 has them."""
    if isinstance(address := schema.pop("id", None), str):
        schema["$id"] = address
    if isinstance(address := schema.get("$id"), str) and "#" in address:
        head, _, anchor = address.partition("#")
        del schema["$id"]
        if head:
            schema["$id"] = head
        if anchor:
            schema["$anchor"] = anchor
    for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(key), bool) and schema.pop(key) and bound in schema:
            schema[key] = schema.pop(bound)
    dependencies = schema.pop("dependencies", None)
    if isinstance(dependencies, Mapping):
        lists = {name: value for name, value in dependencies.items() if isinstance(value, list)}
        rest = {name: value for name, value in dependencies.items() if not isinstance(value, list)}
        if lists:
            schema["dependentRequired"] = lists
        if rest:
            schema["dependentSchemas"] = rest


# --- defaults --------------------------------------------------------------------------------------------

Fill = Callable[[Any], None]


@dataclass(slots=True)
class _Plan:
    """What to fill in at one place of a schema. `tried` are branches: filled in where only one of them holds."""

    defaults: dict[str, Any] = field(default_factory=dict)
    members: dict[str, _Plan] = field(default_factory=dict)
    patterns: list[tuple[jsonschema_rs.Validator, _Plan]] = field(default_factory=list)
    others: _Plan | None = None
    first: list[_Plan] = field(default_factory=list)
    rest: _Plan | None = None
    same: list[_Plan] = field(default_factory=list)
    tried: list[list[tuple[jsonschema_rs.Validator, _Plan]]] = field(default_factory=list)

    def inner(self) -> Iterator[_Plan]:
        yield from self.members.values()
        yield from (plan for _, plan in self.patterns)
        yield from (plan for plan in (self.others, self.rest) if plan is not None)
        yield from self.first
        yield from self.same
        for branches in self.tried:
            yield from (plan for _, plan in branches)


class Defaults:
    """The declared defaults of a closed schema.

    A default is filled in where `properties` declares it: of the schema, of its `allOf` and what it refers to; and of
    a branch of `anyOf` or `oneOf` where that branch alone holds. What `not`, `if`, `then`, `else` and
    `dependentSchemas` declare is given under a condition and isn't filled in.
    """

    def __init__(self, closed: Schema) -> None:
        """Raises ValueError for a default that doesn't fit its own schema, or that never ends."""
        self._root = closed
        self._document = Document(closed)
        self._steps: dict[int, tuple[str, ...]] = {}
        self._registry: jsonschema_rs.Registry | None = None
        self._plans: dict[int, _Plan] = {}
        self.any = False
        self._find(closed)
        if not self.any:
            return
        self._plan = self._planned(closed)
        self._check()

    def _find(self, root: object) -> None:
        pending: list[tuple[object, tuple[str, ...]]] = [(root, ())]
        while pending:
            schema, steps = pending.pop()
            if isinstance(schema, Mapping) and id(schema) not in self._steps:
                self._steps[id(schema)] = steps
                self.any = self.any or "default" in schema
                pending.extend((inner, (*steps, *more)) for more, inner in subschemas(schema))

    def fill(self, value: Any) -> None:
        """Fills in defaults, in place. Raises ValueError where they never end."""
        _fill(self._plan, value, 0)

    def _validator(self, schema: object) -> jsonschema_rs.Validator:
        """Returns what validates by one part of the document."""
        if not isinstance(schema, Mapping):
            return jsonschema_rs.validator_for(bool(schema))
        if self._registry is None:
            self._registry = jsonschema_rs.Registry([(_HOME, dict(self._root))])
        whole = {"$schema": self._root["$schema"], "$ref": f"{_HOME}#{pointer(self._steps[id(schema)])}"}
        return jsonschema_rs.validator_for(whole, registry=self._registry, offline=True)

    def _planned(self, schema: object) -> _Plan:
        if not isinstance(schema, Mapping):
            return _Plan()
        if (known := self._plans.get(id(schema))) is not None:
            return known
        plan = self._plans[id(schema)] = _Plan()
        properties = schema.get("properties")
        for name, inner in properties.items() if isinstance(properties, Mapping) else ():
            found, default = self._default(inner)
            if found:
                plan.defaults[name] = default
            plan.members[name] = self._planned(inner)
        patterns = schema.get("patternProperties")
        for pattern, inner in patterns.items() if isinstance(patterns, Mapping) else ():
            plan.patterns.append((jsonschema_rs.validator_for({"pattern": pattern}), self._planned(inner)))
        for key in ("additionalProperties", "unevaluatedProperties"):
            if isinstance(schema.get(key), Mapping):
                plan.others = self._planned(schema[key])
        self._plan_items(schema, plan)
        if (target := self._document.target(schema)) is not None:
            plan.same.append(self._planned(target))
        plan.same += [self._planned(part) for part in schema.get("allOf", ())]
        for key in ("anyOf", "oneOf"):
            if key in schema:
                branches = [(part, self._planned(part)) for part in schema[key]]
                if any(self._says(inner, set()) for _, inner in branches):
                    plan.tried.append([(self._validator(part), inner) for part, inner in branches])
        return plan

    def _plan_items(self, schema: Schema, plan: _Plan) -> None:
        items = schema.get("items")
        first = schema.get("prefixItems", items if isinstance(items, list) else ())
        plan.first = [self._planned(part) for part in first]
        rest = items if isinstance(items, Mapping) else schema.get("additionalItems")
        if isinstance(rest, Mapping):
            plan.rest = self._planned(rest)

    def _default(self, schema: object) -> tuple[bool, Any]:
        """Whether a member's schema declares a default (by itself, in `allOf`, where it refers to), and which."""
        pending, seen = [schema], set[int]()
        while pending:
            here = pending.pop(0)
            if not isinstance(here, Mapping) or id(here) in seen:
                continue
            seen.add(id(here))
            if "default" in here:
                return True, here["default"]
            pending += [self._document.target(here), *here.get("allOf", ())]
        return False, None

    def _says(self, plan: _Plan, seen: set[int]) -> bool:
        """Whether a plan fills in anything."""
        if id(plan) in seen:
            return False
        seen.add(id(plan))
        return bool(plan.defaults) or any(self._says(inner, seen) for inner in plan.inner())

    def _check(self) -> None:
        pending: list[object] = [self._root]
        while pending:
            schema = pending.pop()
            if not isinstance(schema, Mapping):
                continue
            pending.extend(inner for _, inner in subschemas(schema))
            if "default" not in schema:
                continue
            whole = [deepcopy(schema["default"])]
            _fill(self._planned(schema), whole[0], 0)
            errors = self._validator(schema).iter_errors(whole[0])
            if (first := next(iter(errors), None)) is not None:
                place = pointer(self._steps[id(schema)]) or "/"
                raise ValueError(f"the default at `{place}` does not fit its own schema: {first.message}")

    def required(self) -> dict[str, Any]:
        """Returns the closed schema of what is filled in: a member with a default is required."""
        return self._with_required(self._root) if self.any else dict(self._root)

    def _with_required(self, schema: Any, *, test: bool = False) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        made = dict(schema)
        for steps, inner in subschemas(schema):
            below = test or steps[0] in TESTS or steps[0] in THEN or steps[0] in BESIDE
            written = self._with_required(inner, test=below)
            if len(steps) == 1:
                made[steps[0]] = written
            elif isinstance(made[steps[0]], list):
                made[steps[0]] = [*made[steps[0]]]
                made[steps[0]][int(steps[1])] = written
            else:
                made[steps[0]] = {**made[steps[0]], steps[1]: written}
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and not test:
            filled = [name for name, inner in properties.items() if self._default(inner)[0]]
            if filled:
                made["required"] = list(dict.fromkeys([*schema.get("required", ()), *filled]))
        return made


def _fill(plan: _Plan, value: Any, depth: int) -> None:
    if depth > _DEEP:
        raise ValueError(f"its defaults go deeper than {_DEEP}: one of them holds itself")
    if isinstance(value, dict):
        for name, default in plan.defaults.items():
            if name not in value:
                value[name] = deepcopy(default)
        _fill_members(plan, value, depth)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            inner = plan.first[place] if place < len(plan.first) else plan.rest
            if inner is not None:
                _fill(inner, item, depth + 1)
    else:
        return
    for same in plan.same:
        _fill(same, value, depth + 1)
    for branches in plan.tried:
        holding = [inner for validator, inner in branches if validator.is_valid(_filled(inner, value, depth))]
        if len(holding) == 1:
            _fill(holding[0], value, depth + 1)


def _filled(plan: _Plan, value: Any, depth: int) -> Any:
    copy = deepcopy(value)
    _fill(plan, copy, depth + 1)
    return copy


def _fill_members(plan: _Plan, value: dict[str, Any], depth: int) -> None:
    for name, item in value.items():
        if not isinstance(item, (dict, list)):
            continue
        inner = plan.members.get(name)
        matching = [found for pattern, found in plan.patterns if pattern.is_valid(name)] if plan.patterns else []
        if inner is None and not matching and plan.others is not None:
            matching = [plan.others]
        for found in (*matching, *(() if inner is None else (inner,))):
            _fill(found, item, depth + 1)


__all__ = ["Closing", "Defaults", "ForeignArguments", "Unnamed", "names_of"]
