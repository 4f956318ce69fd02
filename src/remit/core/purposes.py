"""The file `purposes.yaml`: what a run may use that a principal starts for a purpose: tools, data and columns.

A purpose only ever takes away. What it forbids becomes ordinary rules of the policy `purpose`, which are decided,
explained and verified like any other; what it lets be seen of results is `core.minimising`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from remit.core.guardrailfile import matches
from remit.core.labels import NEUTRAL, REVIEWER, UNTRUSTED, ResultLabels, steps_of
from remit.core.policyfiles import PolicyFile, RuleText, suggest
from remit.core.yamlmodels import checked
from remit.core.yamltext import Number, Path, Source, read_yaml

PURPOSE_FILES: Final = ("purposes.yaml", "purposes.yml")
POLICY: Final = "purpose"
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,47}$"
_NAMES: Final = "a purpose is letters, digits, spaces, `_` and `-`, at most 48, a letter or digit first"
_Name = Annotated[str, StringConstraints(pattern=_NAME)]
_Label = Annotated[str, StringConstraints(pattern=r"^[a-z*][a-z0-9_.:*-]{0,63}$")]
_Pointer = Annotated[str, StringConstraints(pattern=r"^(/[^/]*)+$")]
_Text = Annotated[str, StringConstraints(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnsText(_Strict):
    """Of the results of some tools, the parts that may be seen."""

    tools: list[_Text] = Field(min_length=1, description="The tools; `*` stands for any characters.")
    only: list[_Pointer] = Field(
        min_length=1,
        description="JSON pointers into the result: `/number`, `/lines/*/total`; `*` is any name or position.",
    )


class PurposeText(_Strict):
    """A purpose, and what a run for it may use."""

    description: _Text = Field(description="What it is for, in words.")
    principals: list[_Text] = Field(
        min_length=1, description="Whose runs may have it; `*` stands for any characters: `*@acme.example`."
    )
    tools: list[_Text] = Field(min_length=1, description="The tools that it extends to; `*` stands for any characters.")
    labels: list[_Label] | None = Field(
        None,
        description="Labels of data that may be read: `private`, `in:finance`, `pii`, `in:*`; any, if not said.",
    )
    columns: list[ColumnsText] = Field(
        default_factory=list, description="What of results may be seen; all of it, of tools that none of them names."
    )


class PurposesText(_Strict):
    """The file `purposes.yaml`."""

    required: bool = Field(False, description="Whether every run needs a purpose.")
    purposes: dict[_Name, PurposeText] = Field(min_length=1, description="The purposes, by name.")


@dataclass(frozen=True, slots=True)
class Purposes:
    """The purposes in force."""

    known: Mapping[str, PurposeText] = field(default_factory=dict)
    required: bool = False

    def refusal(self, purpose: str, principal: str) -> str:
        """Returns why no run of `principal` may be for this purpose; empty where it may."""
        if not purpose:
            return "every run needs a purpose here: purposes.yaml says so" if self.required else ""
        found = self.known.get(purpose)
        if found is None:
            hint = suggest(purpose, self.known)
            return f"there is no purpose `{purpose}`" + (f"; {hint}" if hint else ": there is no purposes.yaml")
        if not any(matches(pattern, principal) for pattern in found.principals):
            return f"purpose `{purpose}` is not for runs of `{principal}`"
        return ""


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of the file, for editors."""
    schema = PurposesText.model_json_schema()
    labels = schema["$defs"]["PurposeText"]["properties"]["labels"]
    labels.update(labels.pop("anyOf")[0])
    del labels["default"]
    schema["properties"]["purposes"]["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def read_purposes(name: str, text: str, tools: Sequence[Any] | None) -> tuple[PolicyFile, Purposes]:
    """Returns the rules that the file means for `tools`, and its purposes; its `source.problems` are what is wrong.

    Args:
        tools: every tool, with its `name`; one without `labels` says nothing of its results. None where it isn't known
            which there are: then the file is read, and means no rules.
    """
    source, value = read_yaml(name, text)
    nothing = PolicyFile(source, POLICY, ()), Purposes()
    if source.problems:
        return nothing
    said = checked(source, _plain(value) if value is not None else {}, PurposesText, what="a purpose", name=_NAMES)
    if said is None:
        return nothing
    names = [tool.name for tool in tools] if tools is not None else None
    ids: dict[str, str] = {}
    for purpose, text_of in said.purposes.items():
        other = ids.setdefault(_id(purpose), purpose)
        if other != purpose:
            source.add(source.key_at(("purposes", purpose)), f"purposes `{other}` and `{purpose}` are one to a rule")
        if names is not None:
            _check(source, purpose, text_of, names)
    purposes = Purposes(said.purposes, said.required)
    if tools is None:
        return PolicyFile(source, POLICY, ()), purposes
    return PolicyFile(source, POLICY, tuple(enumerate(_rules(purposes, tools)))), purposes


def entitled(purpose: PurposeText, labels: Iterable[str]) -> bool:
    """Whether the purpose extends to data with these labels. Who wrote it, and its integrity, is no matter here."""
    if purpose.labels is None:
        return True
    asked = [
        label for label in labels if label not in NEUTRAL and label != UNTRUSTED and not label.startswith(REVIEWER)
    ]
    return all(any(matches(pattern, label) for pattern in purpose.labels) for label in asked)


def columns_of(purpose: PurposeText, tool: str) -> tuple[str, ...] | None:
    """Returns the pointers to what may be seen of a tool's results; None for all of it."""
    found = [one for one in purpose.columns if any(matches(pattern, tool) for pattern in one.tools)]
    return tuple(sorted({pointer for one in found for pointer in one.only})) if found else None


def _rules(purposes: Purposes, tools: Sequence[Any]) -> list[RuleText]:
    """Returns the rules: what a purpose doesn't extend to is denied, and so is a purpose that isn't there any more."""
    rules = []
    names = json.dumps(sorted(purposes.known))
    if tools:
        unknown = f'run.purpose != "" && !(run.purpose in {names})'
        because = "the run's purpose, `{{run.purpose}}`, is not in purposes.yaml"
        rules.append(_deny(id="any.unknown", tools=["*"], deny=unknown, because=because))
        if purposes.required:
            because = "every run needs a purpose, and this one has none"
            rules.append(_deny(id="any.required", tools=["*"], deny='run.purpose == ""', because=because))
    for name, purpose in sorted(purposes.known.items()):
        inside = [tool for tool in tools if any(matches(pattern, tool.name) for pattern in purpose.tools)]
        outside = sorted(tool.name for tool in tools if tool not in inside)
        closed = sorted(tool.name for tool in inside if not entitled(purpose, _labels(purpose, tool)))
        applies = f"run.purpose == {json.dumps(name)}"
        if outside:
            because = f"purpose `{name}` does not extend to `{{{{tool.name}}}}`"
            rules.append(_deny(id=_id(name), tools=outside, deny=applies, because=because))
        if closed:
            because = f"purpose `{name}` does not extend to data that `{{{{tool.name}}}}` reads"
            rules.append(_deny(id=f"{_id(name)}.data", tools=closed, deny=applies, because=because))
    return rules


def _deny(id: str, tools: Sequence[str], deny: str, because: str) -> RuleText:
    return RuleText.model_validate({"id": id, "tools": list(tools), "deny": deny, "because": because})


def _labels(purpose: PurposeText, tool: Any) -> tuple[str, ...]:
    """Returns the labels that what may be seen of a tool's results can have."""
    stated: Mapping[str, Iterable[str]] = getattr(tool, "labels", {})
    labels = ResultLabels(stated)
    columns = columns_of(purpose, tool.name)
    if columns is None:
        return labels.all()
    found: set[str] = set()
    for steps in map(steps_of, columns):
        found.update(labels.at(steps))
        for pointer, marks in stated.items():
            if _may_meet(steps, steps_of(pointer)):
                found.update(marks)
    return tuple(found)


def _may_meet(column: tuple[str, ...], stated: tuple[str, ...]) -> bool:
    """Whether what is stated at a pointer, and not above all of a column, may be about a part of it."""
    if any("*" not in pair and pair[0] != pair[1] for pair in zip(column, stated, strict=False)):
        return False
    return len(stated) > len(column) or "*" in column[: len(stated)]


def _id(purpose: str) -> str:
    return purpose.replace(" ", "-")


def _check(source: Source, name: str, purpose: PurposeText, tools: Sequence[str]) -> None:
    globs: list[tuple[Path, str]] = [(("tools", number), pattern) for number, pattern in enumerate(purpose.tools)]
    for place, columns in enumerate(purpose.columns):
        globs += [(("columns", place, "tools", number), pattern) for number, pattern in enumerate(columns.tools)]
    for path, pattern in globs:
        if not any(matches(pattern, tool) for tool in tools):
            hint = suggest(pattern.replace("*", ""), tools)
            source.add(source.value_at(("purposes", name, *path)), f"there is no tool `{pattern}`", hint)


def _plain(value: object) -> Any:
    if isinstance(value, Number):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
