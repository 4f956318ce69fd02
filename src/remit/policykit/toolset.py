"""Which tools a policy set is checked and tested against: an app's, recorded ones, or those a file describes.

A pack of policies for tools that are not in Python has a `tools.yaml` beside its policies:

    tools:
      refund:
        effect: commit
        arguments:
          order: {type: string}
          amount: {type: string, format: decimal}
        optional: [memo]
        facts:
          customer: {type: object, properties: {known: {type: boolean}}, required: [known]}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Final

import jsonschema
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from remit.core.canonical import canonical, plain
from remit.core.facts import root_types
from remit.core.foreign import ForeignArguments
from remit.core.policy import PolicySet, load_policies
from remit.core.tools import Effect, JsonSchema, Repeat, ToolSpec
from remit.core.yamlmodels import checked
from remit.core.yamltext import Number, Source, read_yaml
from remit.errors import PolicyError, Tampered, ToolError

FILE: Final = "tools.yaml"


@dataclass(frozen=True, slots=True)
class Toolset:
    """Tools by name, and the facts and findings that each one's decisions look at, with their types.

    Attributes:
        look: what the guardrails see in arguments, by guardrail, where they are there to be asked: `(tool, args)`.
    """

    specs: Mapping[str, ToolSpec]
    facts: Mapping[str, Mapping[str, JsonSchema]]
    findings: Mapping[str, Mapping[str, JsonSchema]] = field(default_factory=dict)
    look: Callable[[str, Mapping[str, object]], Mapping[str, object]] | None = None

    def roots(self, tool: ToolSpec) -> dict[str, JsonSchema]:
        """Returns the types of the names that conditions on `tool` can see."""
        return root_types(tool, self.facts.get(tool.name, {}), self.findings.get(tool.name, {}))

    def load(self, files: Mapping[str, str], *, recorded: bool = False) -> PolicySet:
        """Returns the policy set that `files` say for these tools. Raises PolicyError."""
        return load_policies(files, tuple(self.specs.values()), self.roots, recorded=recorded)

    def over(self, below: Toolset) -> Toolset:
        """Returns the tools of both; of two with one name, this one's."""
        return Toolset(
            {**below.specs, **self.specs},
            {**below.facts, **self.facts},
            {**below.findings, **self.findings},
            self.look or below.look,
        )


def recorded_tools(types: bytes) -> Toolset:
    """Returns the tools of an artifact that says what policies were checked against. Raises Tampered."""
    try:
        rows = plain(types)
        specs = {name: ToolSpec.from_document(row["spec"]) for name, row in rows.items()}
        facts = {name: row["facts"] for name, row in rows.items()}
        return Toolset(specs, facts, {name: row.get("findings", {}) for name, row in rows.items()})
    except (ValueError, KeyError, TypeError, AttributeError, ToolError) as error:
        raise Tampered(f"the tools that policies were checked against can't be read: {error}") from error


def types_of(tools: Toolset) -> bytes:
    """Returns tools as the journal keeps what policies were checked against; see `runtime.registry`."""
    rows: dict[str, object] = {}
    for name, spec in tools.specs.items():
        facts = {fact: dict(schema) for fact, schema in tools.facts.get(name, {}).items()}
        row: dict[str, object] = {"spec": spec.document(), "facts": facts}
        rows[name] = {**row, "findings": dict(tools.findings[name])} if tools.findings.get(name) else row
    return canonical(rows)


# --- a file of tools -------------------------------------------------------------------------------------

_Text = Annotated[str, StringConstraints(min_length=1)]


class ToolText(BaseModel):
    """A tool, as far as policies speak of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field("", description="What it does.")
    effect: Effect = Field(Effect.DESTROY, description="What running it does to the world.")
    repeat: Repeat = Field(Repeat.ONCE, description="What running it twice does.")
    arguments: dict[_Text, Any] = Field(
        default_factory=dict, description="Its arguments: the JSON Schema of each, by name."
    )
    optional: list[_Text] = Field(default_factory=list, description="Arguments that may be absent.")
    result: dict[str, Any] = Field(default_factory=dict, description="The JSON Schema of its result.")
    authority: list[_Text] | None = Field(None, description="Arguments that say who, where, what; all, unless said.")
    content: list[_Text] = Field(default_factory=list, description="Arguments whose data leaves.")
    labels: dict[str, list[_Text]] = Field(
        default_factory=lambda: {"": ["private", "untrusted"]},
        description='Labels of its result, by JSON pointer; `""` is all of it.',
    )
    tags: list[_Text] = Field(default_factory=list, description="Words of your own, for `tool.tags`.")
    cost: _Text = Field("0", description="What a call costs, in quotes.")
    facts: dict[_Text, Any] = Field(
        default_factory=dict, description="The facts its decisions look at: the JSON Schema of each, by name."
    )
    findings: dict[_Text, Any] = Field(
        default_factory=dict, description="What guardrails say of its arguments: the JSON Schema of each, by name."
    )


class ToolsText(BaseModel):
    """The file `tools.yaml`: the tools that a pack of policies speaks of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tools: dict[_Text, ToolText] = Field(min_length=1, description="The tools by name.")


def read_tools(name: str, text: str) -> Toolset:
    """Returns the tools that a file describes. Raises PolicyError, with every problem."""
    source, value = read_yaml(name, text, nulls=True)
    specs: dict[str, ToolSpec] = {}
    facts: dict[str, Mapping[str, JsonSchema]] = {}
    findings: dict[str, Mapping[str, JsonSchema]] = {}
    if not source.problems and (said := checked(source, plain_yaml(value), ToolsText)) is not None:
        for tool, about in said.tools.items():
            facts[tool], findings[tool] = about.facts, about.findings
            for kind in ("arguments", "facts", "findings"):
                schemas = getattr(about, kind)
                _schemas(source, ("tools", tool, kind), schemas)
            _schemas(source, ("tools", tool), {"result": about.result})
            try:
                specs[tool] = _spec(tool, about)
            except (ToolError, ArithmeticError) as error:
                source.add(source.key_at(("tools", tool)), str(error) or f"a cost of `{about.cost}` is no number")
    if source.problems:
        raise PolicyError(tuple(source.problems))
    return Toolset(specs, facts, findings)


def tools_schema() -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of `tools.yaml`."""
    return {**ToolsText.model_json_schema(), "$schema": "https://json-schema.org/draft/2020-12/schema"}


def _spec(name: str, said: ToolText) -> ToolSpec:
    unknown = [found for found in said.optional if found not in said.arguments]
    if unknown:
        raise ToolError(f"tool `{name}`: optional: there is no argument `{unknown[0]}`")
    schema = {
        "type": "object",
        "properties": said.arguments,
        "required": [argument for argument in said.arguments if argument not in said.optional],
        "additionalProperties": False,
    }
    normal = ForeignArguments(schema, name).normal
    authority = tuple(said.arguments) if said.authority is None else tuple(said.authority)
    labels = {pointer: tuple(labels) for pointer, labels in said.labels.items()}
    return ToolSpec(
        name, said.description, schema, normal, said.result, said.effect, said.repeat, authority,
        tuple(said.content), labels, cost=Decimal(said.cost), tags=tuple(said.tags),
    )  # fmt: skip


def _schemas(source: Source, path: tuple[str, ...], schemas: Mapping[str, Any]) -> None:
    for name, schema in schemas.items():
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            place = source.value_at((*path, name, *error.absolute_path))
            source.add(place, f"`{name}`: not a JSON Schema: {error.message}")


# --- values in YAML --------------------------------------------------------------------------------------


def plain_yaml(value: object) -> Any:
    """Returns a YAML value with its numbers as Python's."""
    if isinstance(value, Number):
        return number(value)
    if isinstance(value, list):
        return [plain_yaml(item) for item in value]
    if isinstance(value, dict):
        return {key: plain_yaml(item) for key, item in value.items()}
    return value


def number(value: Number) -> int | float | str:
    """Returns a number as JSON has it; what JSON doesn't have (octal, infinities) stays the text that it was."""
    try:
        found = json.loads(value.text.removeprefix("+"))
    except ValueError:
        return value.text
    return found if isinstance(found, (int, float)) else value.text
