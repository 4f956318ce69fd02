"""The file `guardrails.yaml`: which detectors look at which arguments and results, and what follows.

What a detector finds in arguments are facts, `findings.<name>`, for the rules of policies; and it may be masked, as an
obligation is fulfilled: the call is decided, shown and run with what is left. What it finds in a result is dealt with
before the agent has it: the result is refused, masked or labelled.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from remit.core.policyfiles import suggest
from remit.core.yamlmodels import checked
from remit.core.yamltext import Number, Source, read_yaml

FILES: Final = ("guardrails.yaml", "guardrails.yml")
_Pointer = Annotated[str, StringConstraints(pattern=r"^(/[^/]*)*$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
_Label = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.:-]{0,63}$")]
_Text = Annotated[str, StringConstraints(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GuardrailText(_Strict):
    """A detector, and where it looks: at arguments, or at results."""

    detector: _Name = Field(description="Which: one that comes with Remit, or one of the graph's own.")
    name: _Name | None = Field(None, description="What its facts are called; the detector's name unless said.")
    tools: list[_Text] = Field(min_length=1, description="The tools whose calls it looks at; `*` stands for any.")
    arguments: list[_Pointer] | None = Field(
        None, description='JSON pointers into the arguments: `/statement`; `""` is all of them.'
    )
    results: list[_Pointer] | None = Field(None, description='JSON pointers into the result; `""` is all of it.')
    options: dict[_Text, Any] = Field(default_factory=dict, description="The detector's options.")
    milliseconds: int = Field(1000, ge=1, le=60_000, description="How long it may take; longer is an error.")
    when: Annotated[str, StringConstraints(pattern=r"^!?[a-z_]+$")] | None = Field(
        None, description="The fact that must be true for `then`; with `!`, false."
    )
    then: Literal["refuse", "mask", "label"] | None = Field(
        None,
        description="What follows; of arguments, `mask`: the call is decided, shown and run with them masked."
        " An error of the detector refuses the result, or denies the call.",
    )
    labels: list[_Label] = Field(default_factory=list, description="With `then: label`: the labels it gets.")
    keep: bool = Field(
        False, description="With `then: mask`: the journal keeps the result as it was, apart, for those entitled to it."
    )


class GuardrailsText(_Strict):
    """The file `guardrails.yaml`."""

    budget: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}(ms|s)$")] | None = Field(
        None,
        description="How long all of them together may look at one call's arguments, and at its result: `2s`, `500ms`."
        " Those that it doesn't last for are in error.",
    )
    guardrails: list[GuardrailText] = Field(min_length=1, description="The detectors, in the order in which they look.")


@dataclass(frozen=True, slots=True)
class GuardrailUse:
    """A detector at its place in the file; `said` is what the file says of it."""

    number: int
    said: GuardrailText
    budget: int | None = None
    """Milliseconds that all guardrails of the file have together for one look."""

    @property
    def name(self) -> str:
        """What its facts are called."""
        return self.said.name or self.said.detector

    def looks_at(self, tool: str) -> bool:
        """Whether it looks at calls of a tool."""
        return any(matches(pattern, tool) for pattern in self.said.tools)


def matches(pattern: str, tool: str) -> bool:
    """Whether a pattern means a tool: only an explicit `*` stands for anything."""
    return fnmatch.fnmatchcase(tool, pattern.replace("[", "[[]").replace("?", "[?]"))


def read_guardrails(name: str, text: str, tools: Iterable[str]) -> tuple[Source, tuple[GuardrailUse, ...]]:
    """Returns what the file says; its `source.problems` are what is wrong with it."""
    source, value = read_yaml(name, text)
    if source.problems:
        return source, ()
    said = checked(source, _plain(value) if value is not None else {}, GuardrailsText)
    if said is None:
        return source, ()
    known = list(tools)
    names: dict[str, int] = {}
    budget = _milliseconds(said.budget) if said.budget else None
    uses = tuple(GuardrailUse(number, one, budget) for number, one in enumerate(said.guardrails))
    for use in uses:
        _check(source, use, known, names)
    return source, uses


def _milliseconds(duration: str) -> int:
    return int(duration[:-2]) if duration.endswith("ms") else int(duration[:-1]) * 1000


def _check(source: Source, use: GuardrailUse, tools: Sequence[str], names: dict[str, int]) -> None:
    said, path = use.said, ("guardrails", use.number)
    for index, pattern in enumerate(said.tools):
        if not any(matches(pattern, tool) for tool in tools):
            place = source.value_at((*path, "tools", index))
            source.add(place, f"there is no tool `{pattern}`", suggest(pattern.replace("*", ""), tools))
    if (said.arguments is None) == (said.results is None):
        source.add(
            source.value_at(path), f"guardrail `{use.name}` must look at `arguments` or at `results`", "say one of them"
        )
    if said.results is None:
        hint = "what else follows from arguments is said by rules: `findings." + use.name + "`"
        if said.then is not None and said.then != "mask":
            source.add(source.value_at((*path, "then")), f"`then: {said.then}` is for results", hint)
        for key in ("labels", "keep"):
            if getattr(said, key):
                source.add(source.key_at((*path, key)), f"`{key}` is for results", hint)
        if (said.when is None) != (said.then is None):
            source.add(source.value_at(path), "`when` and `then` go together")
    elif said.when is None or said.then is None:
        source.add(
            source.value_at(path), f"guardrail `{use.name}` says nothing of what follows", "say `when` and `then`"
        )
    if bool(said.labels) != (said.then == "label"):
        source.add(source.value_at(path), "`labels` and `then: label` go together")
    if said.keep and said.then != "mask":
        source.add(source.key_at((*path, "keep")), "`keep` goes with `then: mask`")
    if use.name in names:
        source.add(source.value_at(path), f"two guardrails are called `{use.name}`", "give one another `name`")
    names.setdefault(use.name, use.number)


def _plain(value: object) -> Any:
    if isinstance(value, Number):
        try:
            return int(value.text)
        except ValueError:
            return float(value.text)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
