"""What `*.cases.yaml` may say: a call and what it meets, and what is expected of the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from remit.core.entries import Outcome
from remit.core.yamlmodels import checked
from remit.core.yamltext import Number, Source, read_yaml
from remit.errors import PolicyError, Problem
from remit.policykit.toolset import plain_yaml

SUFFIXES: Final = (".cases.yaml", ".cases.yml")

_OF_A_TOOL: Final = ("args", "facts", "findings", "provenance", "authority", "content")

_Text = Annotated[str, StringConstraints(min_length=1)]
_Texts = Annotated[
    list[_Text],
    BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=list[_Text] | _Text
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Given(_Strict):
    """A call, and all that a decision on it sees. What is not said is empty, zero, or a plain name."""

    tool: _Text | None = Field(None, description="The tool that is called.")
    args: dict[_Text, Any] = Field(default_factory=dict, description="Its arguments.")
    agent: _Text | dict[_Text, str] | None = Field(None, description="The agent's name, or `{name, version}`.")
    task: _Text | None = Field(None, description="The task's id.")
    principal: _Text | None = Field(None, description="Whom the run acts for.")
    run: dict[_Text, str] = Field(default_factory=dict, description="`id`, `graph`, `principal`, `started`, `purpose`.")
    labels: list[_Text] = Field(default_factory=list, description="Labels of all that the task has read.")
    provenance: dict[_Text, Any] = Field(
        default_factory=dict,
        description="Where arguments came from, as `iban: {untrusted: true}`; from the principal, unless said.",
    )
    authority: list[Any] | None = Field(None, description="The leaves of `authority`; made of provenance, unless said.")
    content: list[Any] | None = Field(None, description="The leaves of `content`; made of provenance, unless said.")
    findings: dict[_Text, Any] = Field(
        default_factory=dict,
        description="What guardrails said of the arguments, where it isn't what they see in them; `null`: it failed.",
    )
    spent: dict[_Text, Any] = Field(default_factory=dict, description="`calls`, `cost`, and `by_tool`.")
    facts: dict[_Text, Any] = Field(
        default_factory=dict, description="What the fact providers said; a missing one, or `null`, failed."
    )
    history: dict[_Text, Any] = Field(default_factory=dict, description="`allowed`, `escalated`, `denied`, and `last`.")
    counters: dict[_Text, Any] = Field(
        default_factory=dict, description="What counters stand at, 0 unless said; `null`: it can't be told."
    )
    now: _Text | None = Field(None, description="When: `2026-03-02T09:30:00Z`.")
    approval: bool | dict[_Text, Any] | None = Field(
        None, description="`true`, or `{reviewers: [ann]}`: it was escalated, and everybody who was asked approved."
    )


_NOTHING: Final = Given.model_validate({})


class Expect(_Strict):
    """What the verdict must be. What is not said may be anything, but a broken rule is always told."""

    outcome: Outcome = Field(description="`allow`, `escalate` or `deny`.")
    rules: _Texts | None = Field(
        None, description="Exactly the rules that determined it: `payments/large`, or `large`."
    )
    broken: _Texts = Field(default_factory=list, description="Exactly the rules that were in error; none unless said.")
    shadow: _Texts | None = Field(None, description="Exactly the rules in mode `shadow` that would have applied.")
    reason: _Texts = Field(default_factory=list, description="Each of these texts stands in a reason.")
    queue: _Texts | None = Field(None, description="Exactly the queues that it waits in.")
    obligations: _Texts | None = Field(
        None,
        description="Exactly what it is obliged to: `mask /args/note`, `cap /args/limit at 100`, `label pii`.",
    )
    changed: dict[_Text, Any] | None = Field(
        None, description="Exactly the arguments that obligations change, as they run: `{limit: 100}`."
    )


class CaseText(_Strict):
    """A case."""

    name: _Text = Field(description="What it shows, in a sentence.")
    given: Given = Field(default=_NOTHING, description="The call and what it meets.")
    expect: Expect = Field(description="What the verdict must be.")


class CasesText(_Strict):
    """A file of cases, beside the policy that they test."""

    given: Given = Field(default=_NOTHING, description="What every case of this file begins with.")
    cases: list[CaseText] = Field(min_length=1, description="The cases.")


@dataclass(frozen=True, slots=True)
class Case:
    """A case, where it stands, and what is given as written: the file's beginning with the case's own on top."""

    source: Source
    number: int
    name: str
    given: Mapping[str, Any]
    expect: Expect
    changed: Mapping[str, Any] = field(default_factory=dict)
    """`changed` of what is expected, as written."""

    @property
    def place(self) -> str:
        """`payments.cases.yaml:12`."""
        line, _ = self.source.value_at(("cases", self.number - 1))
        return f"{self.source.name}:{line}"

    @property
    def id(self) -> str:
        """`payments.cases.yaml#3`."""
        return f"{self.source.name}#{self.number}"

    def problem(self, path: tuple[str | int, ...], message: str, hint: str = "") -> Problem:
        """Returns what is wrong with this part of what is given, at its place in the file."""
        own: tuple[str | int, ...] = ("cases", self.number - 1, "given", *path)
        # It may stand at the top of the file instead, for all cases.
        at = own if own[: 3 + bool(path)] in [key[: 3 + bool(path)] for key in self.source.values] else ("given", *path)
        place = self.source.value_at(at if at[0] == "cases" or at[:2] in self.source.values else own)
        return Problem(self.source.name, *place, message, hint, self.source.snippet(place))


def is_cases(name: str) -> bool:
    """Whether a file holds cases."""
    return name.endswith(SUFFIXES)


def read_cases(files: Mapping[str, str]) -> list[Case]:
    """Returns the cases of every `*.cases.yaml` among `files`. Raises PolicyError, with every problem of every file."""
    found: list[Case] = []
    problems: list[Problem] = []
    for name in sorted(files):
        if is_cases(name):
            source, cases = _read(name, files[name])
            problems += source.problems
            found += cases
    if problems:
        raise PolicyError(tuple(problems))
    return found


def cases_schema() -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of a file of cases."""
    return {**CasesText.model_json_schema(), "$schema": "https://json-schema.org/draft/2020-12/schema"}


def _read(name: str, text: str) -> tuple[Source, list[Case]]:
    source, value = read_yaml(name, text, nulls=True)
    said = checked(source, plain_yaml(value), CasesText) if not source.problems else None
    if said is None or not isinstance(value, dict):
        return source, []
    names: dict[str, int] = {}
    cases = []
    for number, case in enumerate(said.cases, 1):
        place = source.value_at(("cases", number - 1, "name"))
        if case.name in names:
            source.add(place, f"case `{case.name}` is here twice", f"the first is on line {names[case.name]}")
        names.setdefault(case.name, place[0])
        # As written: a number's digits matter where an argument is a decimal.
        given = _begun(value.get("given", {}), value["cases"][number - 1].get("given", {}))
        if "tool" not in given:
            source.add(
                source.value_at(("cases", number - 1)), f"case `{case.name}` names no tool", "say `tool:` in `given`"
            )
        changed = value["cases"][number - 1]["expect"].get("changed", {})
        cases.append(Case(source, number, case.name, given, case.expect, changed))
    return source, cases


def _begun(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """What a file's cases begin with is of one tool: a case of another one has arguments and facts of its own."""
    if above.get("tool", below.get("tool")) != below.get("tool", above.get("tool")):
        below = {key: value for key, value in below.items() if key not in _OF_A_TOOL}
    merged: dict[str, Any] = merge(dict(below), dict(above))
    return merged


def merge(below: Any, above: Any) -> Any:
    """Returns `below` with `above` on top of it: keys are put together, anything else is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            **below, **{key: merge(below[key], value) if key in below else value for key, value in above.items()}
        }  # fmt: skip
    return above


# --- writing ---------------------------------------------------------------------------------------------


def cases_text(cases: Sequence[Mapping[str, Any]]) -> str:
    """Returns the text of a file with these cases, each `{name, given, expect}` in plain JSON values."""
    return "\n".join(["cases:", *(line for case in cases for line in _case(case))]) + "\n"


def _case(case: Mapping[str, Any]) -> Iterator[str]:
    lead = "  - "
    for key in ("name", "given", "expect"):
        yield from (f"{lead if n == 0 else '    '}{line}" for n, line in enumerate(_lines(key, case[key])))
        lead = "    "


def _lines(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield f"{_word(key)}:"
        for name, item in value.items():
            yield from (f"  {line}" for line in _lines(name, item))
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        yield f"{_word(key)}:"
        for item in value:
            yield f"  - {_flow(item)}"
    else:
        yield f"{_word(key)}: {_flow(value)}"


def _word(key: str) -> str:
    return key if key.isidentifier() and key.lower() not in ("true", "false", "null") else _quoted(key)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_word(str(key))}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, Number):
        return value.text
    return _quoted(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)


def _quoted(text: str) -> str:
    """A text in double quotes, as YAML and JSON both read it."""
    shown = []
    for character in text:
        if character in '"\\':
            shown.append("\\" + character)
        elif character.isprintable():
            shown.append(character)
        else:
            code = ord(character)
            shown.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(shown) + '"'
