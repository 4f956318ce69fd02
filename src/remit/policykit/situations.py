"""A case made into what a decision sees: arguments and facts checked against the tool's types, the rest filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import jsonschema_rs

from remit.core.decide import Approval
from remit.core.entries import Outcome
from remit.core.facts import roots
from remit.core.policy import PolicySet
from remit.core.policyfiles import suggest
from remit.core.tools import ToolSpec
from remit.core.yamltext import Number
from remit.errors import PolicyError, Problem
from remit.policykit.casefiles import Case
from remit.policykit.toolset import Toolset, plain_yaml

NOW: Final = "2026-01-05T09:00:00.000000Z"
"""When a case happens that doesn't say: a Monday morning."""
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("id", "graph", "principal", "started", "purpose"),
    "agent": ("name", "version"),
    "spent": ("calls", "cost", "by_tool"),
    "history": ("allowed", "escalated", "denied", "last", "settled"),
    "approval": ("given", "reviewers"),
}
_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class _Zeros(dict[str, Any]):
    """What counters stand at in a case that doesn't say."""

    def __missing__(self, key: str) -> object:
        return "0"


@dataclass(frozen=True, slots=True)
class Situation:
    """A call and its facts: all that deciding and explaining needs.

    Attributes:
        document: the facts, as the journal would hold them.
        approved: it was escalated before, and the reviewers approved.
    """

    tool: ToolSpec
    args: Mapping[str, object]
    document: Mapping[str, Any]
    approved: bool = False

    @property
    def seen(self) -> dict[str, object]:
        """The names that conditions see."""
        return roots(self.document, self.tool, self.args)


def situation(case: Case, tools: Toolset) -> Situation:
    """Returns what a case gives. Raises PolicyError, with every problem and its place."""
    problems: list[Problem] = []
    name = str(case.given["tool"])
    spec = tools.specs.get(name)
    if spec is None:
        raise PolicyError((case.problem(("tool",), f"there is no tool `{name}`", suggest(name, tools.specs)),))
    made = _Making(case, tools, spec, problems)
    args = made.args()
    found = Situation(spec, args, made.document(args if not problems else {}), made.approved)
    if problems:
        raise PolicyError(tuple(problems))
    return found


class _Making:
    def __init__(self, case: Case, tools: Toolset, spec: ToolSpec, problems: list[Problem]) -> None:
        self._case, self._given, self._spec, self._problems = case, case.given, spec, problems
        self._tools = tools
        self._types = tools.roots(spec)
        self._facts = tools.facts.get(spec.name, {})
        self._findings = tools.findings.get(spec.name, {})
        said = self._given.get("approval")
        self.approved = bool(said) and said is not False

    def _bad(self, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        self._problems.append(self._case.problem(path, message, hint))

    def args(self) -> dict[str, object]:
        schema: Mapping[str, Any] = self._spec.normal
        properties = schema.get("properties", {})
        given = {**_defaults(self._spec.arguments.get("properties", {})), **self._given.get("args", {})}
        for name in given:
            if name not in self._spec.names and self._spec.names and not self._spec.is_open:
                self._bad(
                    ("args", name), f"tool `{self._spec.name}` has no argument `{name}`", suggest(name, properties)
                )
        args = {name: shaped(value, properties.get(name, {}), schema) for name, value in given.items()}
        self._fits(("args",), args, schema)
        return args

    def _fits(self, path: tuple[str, ...], value: object, schema: Mapping[str, Any]) -> None:
        for error in jsonschema_rs.validator_for(dict(schema), offline=True).iter_errors(value):
            unnamed = error.message.lower().startswith(("additional properties", "unevaluated properties"))
            if unnamed and path == ("args",) and not error.instance_path and self._spec.names:
                continue  # told with a hint
            self._bad((*path, *error.instance_path), error.message.replace('"', "`"))

    def document(self, args: Mapping[str, object]) -> dict[str, Any]:
        now = self._time(("now",), self._given.get("now", NOW))
        run = self._part(
            "run", {"id": "run", "graph": "graph", "principal": "principal", "started": now, "purpose": ""}
        )
        if "principal" in self._given:
            run["principal"] = self._given["principal"]
        run["started"] = self._time(("run", "started"), run["started"])
        agent = self._given.get("agent", {})
        about = (
            {"name": agent, "version": "1"}
            if isinstance(agent, str)
            else self._part("agent", {"name": "agent", "version": "1"})
        )
        document = {
            "now": now,
            "agent": about,
            "task": {"id": self._given.get("task", "task")},
            "run": run,
            "spent": self._spent(),
            "history": self._part("history", {"allowed": 0, "escalated": 0, "denied": 0, "last": {}, "settled": {}}),
            "labels": plain_yaml(self._given.get("labels", [])),
            "facts": self._provided("facts", "fact", self._facts),
            "approval": self._approval(),
            "counters": self._counters(),
            **self._flow(),
        }
        findings = self._found(args)
        return {**document, "findings": findings} if findings else document

    def _counters(self) -> dict[str, Any]:
        """What counters stand at: a sum as a text with exactly these digits, and 0 of one that isn't named."""
        found = _Zeros()
        for name, value in self._given.get("counters", {}).items():
            number = value.text if isinstance(value, Number) else value
            if number is None or (isinstance(number, str) and _DECIMAL.fullmatch(number)):
                found[name] = number
            else:
                self._bad(("counters", name), f"`{number}` is no number")
        return found

    def _found(self, args: Mapping[str, object]) -> dict[str, Any]:
        """What guardrails say: what the case gives, else what they see in the arguments now."""
        given = self._given.get("findings", {})
        found = self._provided("findings", "guardrail", self._findings)
        if self._tools.look is not None and not set(self._findings) <= set(given):
            seen = self._tools.look(self._spec.name, args)
            found = {**{name: facts for name, facts in seen.items() if name not in given}, **found}
        return found

    def _part(self, name: str, usual: dict[str, Any]) -> dict[str, Any]:
        given = self._given.get(name, {})
        for key in given:
            if key not in _KEYS[name]:
                self._bad((name, key), f"unknown key `{key}`", suggest(key, _KEYS[name]))
        return {**usual, **plain_yaml(given)}

    def _time(self, path: tuple[str, ...], text: object) -> str:
        try:
            found = datetime.fromisoformat(str(text))
        except ValueError:
            self._bad(path, f"`{text}` is not a time", "such as 2026-03-02T09:30:00Z")
            return NOW
        if found.tzinfo is None:
            self._bad(path, f"`{text}` has no time zone", f"such as {text}Z")
            return NOW
        return found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _spent(self) -> dict[str, Any]:
        spent = self._given.get("spent", {})
        for key in spent:
            if key not in _KEYS["spent"]:
                self._bad(("spent", key), f"unknown key `{key}`", suggest(key, _KEYS["spent"]))
        by_tool = {
            tool: self._amount(("spent", "by_tool", tool), row) for tool, row in spent.get("by_tool", {}).items()
        }
        return {**self._amount(("spent",), spent), "by_tool": by_tool}

    def _amount(self, path: tuple[str, ...], row: Mapping[str, Any]) -> dict[str, Any]:
        calls, cost = plain_yaml(row.get("calls", 0)), _text(row.get("cost", "0"))
        try:
            Decimal(cost)
        except InvalidOperation:
            self._bad((*path, "cost"), f"a cost of `{cost}` is no number")
        if not isinstance(calls, int) or calls < 0:
            self._bad((*path, "calls"), f"`{calls}` is no number of calls")
        return {"calls": calls, "cost": cost}

    def _provided(self, key: str, what: str, types: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in self._given.get(key, {}).items():
            if value is None:
                continue  # it failed
            schema = types.get(name)
            if schema is None:
                self._bad((key, name), f"there is no {what} `{name}` for `{self._spec.name}`", suggest(name, types))
                continue
            found[name] = shaped(value, schema, schema)
            self._fits((key, name), found[name], schema)
        return found

    def _approval(self) -> dict[str, Any]:
        said = self._given.get("approval")
        reviewers = ["reviewer"] if self.approved else []
        if isinstance(said, dict):
            reviewers = self._part("approval", {"reviewers": reviewers})["reviewers"]
        return {"given": self.approved, "reviewers": reviewers}

    def _flow(self) -> dict[str, Any]:
        """Where each argument came from: what a case doesn't say of one is the principal's own word."""
        leaf = self._types["authority"]["items"]
        given = self._given.get("provenance", {})
        asked = self._given.get("args", {})
        names = tuple(
            dict.fromkeys((*self._spec.names, *(asked if self._spec.is_open or not self._spec.names else ())))
        )
        for name in given:
            if name not in names:
                self._bad(("provenance", name), f"there is no argument `{name}`", suggest(name, names))
        rows = {name: _leaf(leaf, name, given.get(name), self._given.get("args", {}).get(name, "")) for name in names}
        for name, row in rows.items():
            self._fits(("provenance", name), row, leaf)
        flow: dict[str, Any] = {"provenance": rows}
        for root, is_one in (("authority", self._spec.is_authority), ("content", self._spec.is_content)):
            said = self._given.get(root)
            found = [rows[name] for name in rows if is_one(name)] if said is None else plain_yaml(said)
            self._fits((root,), found, self._types[root])
            flow[root] = found
        return flow


def _leaf(schema: Mapping[str, Any], argument: str, given: object, value: object) -> dict[str, Any]:
    """Returns what conditions see of where an argument came from: what is not said is false or empty."""
    blank = {"boolean": False, "string": "", "array": []}
    usual = {name: blank[about["type"]] for name, about in schema["properties"].items()}
    text = value if isinstance(value, str) else value.text if isinstance(value, Number) else ""
    said = {"principal": True} if given is None else plain_yaml(given)
    return {**usual, "argument": argument, "value": text, **(said if isinstance(said, dict) else {"says": said})}


def shaped(value: object, schema: object, root: Mapping[str, Any]) -> Any:
    """Returns a YAML value as the JSON that `schema` wants: a decimal is a text with exactly these digits."""
    schema = _followed(schema, root)
    if isinstance(value, Number):
        decimal = _formats(schema) == "decimal" and _DECIMAL.fullmatch(value.text)
        return value.text if decimal else plain_yaml(value)
    if isinstance(value, list):
        return [shaped(item, schema.get("items", {}), root) for item in value]
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {key: shaped(item, properties.get(key, {}), root) for key, item in value.items()}
    return value


def _followed(schema: object, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a `$ref` names, or the one that isn't null of a nullable one."""
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        found: Any = root
        for step in reference[2:].split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) and "$ref" not in found else {}
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return _followed(choices[0], root) if len(choices) == 1 else schema


def _formats(schema: Mapping[str, Any]) -> object:
    return schema.get("format") if schema.get("type") == "string" else None


def _text(value: object) -> str:
    return value.text if isinstance(value, Number) else str(value)


def _defaults(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: schema["default"]
        for name, schema in properties.items()
        if isinstance(schema, Mapping) and "default" in schema
    }


# --- approvals -------------------------------------------------------------------------------------------


def before_approval(found: Situation) -> Situation:
    """Returns the situation as it was when people were asked."""
    return Situation(found.tool, found.args, {**found.document, "approval": {"given": False, "reviewers": []}})


def approval_of(rules: PolicySet, tool: str, asked: frozenset[str]) -> Approval:
    """Returns an approval by people who were shown the rules with these digests."""
    disclosed: dict[str, set[str]] = {}
    for rule in rules.rules_for(tool):
        if rule.effect is Outcome.ESCALATE and rule.digest in asked:
            disclosed.setdefault(rule.queue, set()).add(rule.digest)
    return Approval({queue: frozenset(digests) for queue, digests in disclosed.items()})
