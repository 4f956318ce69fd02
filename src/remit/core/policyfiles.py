"""Policy files: what they may say, and in which words we refuse what they may not.

The models below are the files' structure; the JSON Schemas in docs/reference are made from them. Reading
goes on after a problem wherever it can, so that all of them are told at once.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

import pydantic
from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from remit.core.entries import Obligation
from remit.core.obligations import joined
from remit.core.peoplefiles import MODELS, FlowText, Name, QueuesText, ReviewersText, Strict
from remit.core.yamltext import Number, Path, Source, read_yaml

# --- what a file may say -------------------------------------------------------------------------------


def _literal(value: object) -> object:
    """A condition `true` or `false` is a YAML boolean and means the CEL literal."""
    return str(value).lower() if isinstance(value, bool) else value


Condition = Annotated[
    str,
    BeforeValidator(_literal, json_schema_input_type=str | bool),
    StringConstraints(min_length=1),
]

EFFECTS: Final = ("allow", "escalate", "deny", "require")


Part = Annotated[str, StringConstraints(pattern=r"^/(args|result)(/[^/]+)*$")]
_LIMIT: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")


def _limit(value: object) -> object:
    if isinstance(value, Number) and _LIMIT.fullmatch(value.text):
        return value.text
    raise PydanticCustomError("wanted", "wanted", {"hint": "say a plain number: `100` or `99.50`"})


class ObligeText(Strict):
    """What follows where the rule is true, or in error, and the call runs."""

    mask: list[Part] = Field(
        default_factory=list,
        description="JSON pointers to texts whose letters and digits become `*`: `/args/note`, `/result/*/card`.",
    )
    redact: list[Part] = Field(default_factory=list, description="JSON pointers to what is replaced as a whole.")
    cap: dict[Part, Annotated[str, BeforeValidator(_limit, json_schema_input_type=int | float)]] = Field(
        default_factory=dict, description="The highest number an argument may be: `{/args/limit: 100}`."
    )
    label: list[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.:-]{0,63}$")]] = Field(
        default_factory=list, description="Labels that the result gets."
    )
    keep: bool = Field(
        False, description="The journal keeps the result as it was before it was covered, for those entitled to it."
    )

    @property
    def obligations(self) -> tuple[Obligation, ...]:
        """All of them, in one order."""
        several = [Obligation("mask", at, "", self.keep) for at in self.mask]
        several += [Obligation("redact", at, "", self.keep) for at in self.redact]
        several += [Obligation("cap", at, limit) for at, limit in self.cap.items()]
        several += [Obligation("label", "", label) for label in self.label]
        return joined(several)


class RuleText(Strict):
    """A rule: exactly one of `allow`, `escalate`, `deny` and `require`, under a condition in CEL."""

    id: Name = Field(description="The rule's name; once in its policy.")
    tools: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        min_length=1,
        description="The tools it speaks of, by name; only an explicit `*` stands for any characters.",
    )
    allow: Condition | None = Field(None, description="Allow the call if this is true.")
    escalate: Condition | None = Field(None, description="Ask the reviewers of queue `to` if this is true.")
    deny: Condition | None = Field(None, description="Deny the call if this is true.")
    require: Condition | None = Field(None, description="Deny the call unless this is true.")
    to: Name | None = Field(None, description="The queue that an escalated call waits in.")
    because: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None, description="Why, for people: text with `{{CEL}}` in it."
    )
    mode: Literal["enforce", "shadow"] = Field(
        "enforce", description="`shadow`: recorded as what would have been, never enforced. Unless said, the file's."
    )
    oblige: ObligeText | None = Field(None, description="With `allow` or `escalate`: what follows, should it run.")
    description: str = Field("", description="For those who read the policy.")

    @property
    def effect(self) -> str:
        """Which of `EFFECTS` it has; the first, where a bad file says several."""
        return next(name for name in EFFECTS if getattr(self, name) is not None)


class PolicyText(Strict):
    """A policy file: rules under a name."""

    policy: Name = Field(description="The policy's name; once among all files.")
    description: str = Field("", description="For those who read the policy.")
    mode: Literal["enforce", "shadow"] = Field("enforce", description="The mode of rules that don't say theirs.")
    rules: list[RuleText] = Field(min_length=1, description="The rules. Their order never changes a verdict.")


_KINDS: Final[Mapping[str, type[Strict]]] = {
    "policy": PolicyText,
    "queues": QueuesText,
    "reviewers": ReviewersText,
}


def json_schema(kind: Literal["policy", "queues", "reviewers"]) -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of a kind of file, for editors."""
    schema = _KINDS[kind].model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    if kind == "policy":
        # What the reader checks by hand, because the words of a schema's own error are no help.
        rule = schema["$defs"]["RuleText"]
        rule["oneOf"] = [
            {"required": ["escalate", "to"]} if effect == "escalate"
            else {"required": [effect], "properties": {"to": False, **({} if effect == "allow" else {"oblige": False})}}
            for effect in EFFECTS
        ]  # fmt: skip
    else:
        schema["properties"][kind]["additionalProperties"] = False
    cleaned: dict[str, Any] = _without_null(schema)
    return cleaned


def schema_text(kind: Literal["policy", "queues", "reviewers"]) -> str:
    """Returns the text of docs/reference/`kind`.schema.json."""
    return json.dumps(json_schema(kind), indent=2, sort_keys=True) + "\n"


def _without_null(schema: Any) -> Any:
    """Drops `null`, our sign for a key that isn't there: a key without a value is refused."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned = {
        key: _without_null(value)
        for key, value in schema.items()
        if not (key == "default" and value is None) and not (key == "title" and isinstance(value, str))
    }
    kinds = cleaned.get("anyOf")
    if isinstance(kinds, list) and {"type": "null"} in kinds:
        kept = [kind for kind in kinds if kind != {"type": "null"}]
        del cleaned["anyOf"]
        cleaned.update(kept[0] if len(kept) == 1 else {"anyOf": kept})
    return cleaned


# --- checking ------------------------------------------------------------------------------------------

_Model = TypeVar("_Model", bound=Strict)


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy file as far as it could be read: `rules` are the sound ones, each with its number."""

    source: Source
    policy: str
    rules: tuple[tuple[int, RuleText], ...]


def read_policy(name: str, text: str) -> PolicyFile:
    """Returns what a policy file says; its `source.problems` are what is wrong with it."""
    source, value = read_yaml(name, text)
    whole = _checked(source, value, PolicyText)
    if whole is not None:
        rules = [(number, _in_mode(rule, whole.mode)) for number, rule in enumerate(whole.rules)]
        policy = whole.policy
    else:
        # Its sound rules are compiled as well, so that all problems are told at once.
        found = value if isinstance(value, dict) else {}
        policy = found["policy"] if isinstance(found.get("policy"), str) else ""
        items = found["rules"] if isinstance(found.get("rules"), list) else []
        rules = [(number, rule) for number, item in enumerate(items) if (rule := _sound(item)) is not None]
    return PolicyFile(source, policy, tuple(item for item in rules if _check_rule(source, *item)))


def read_queues(name: str, text: str) -> tuple[Source, QueuesText | None]:
    """Returns what the queues' file says, or None; its `source.problems` are what is wrong with it."""
    source, value = read_yaml(name, text)
    return source, _checked(source, value, QueuesText)


def read_reviewers(name: str, text: str) -> tuple[Source, ReviewersText | None]:
    """Returns what the reviewers' file says, or None; its `source.problems` are what is wrong with it."""
    source, value = read_yaml(name, text)
    return source, _checked(source, value, ReviewersText)


def _in_mode(rule: RuleText, mode: str) -> RuleText:
    """Returns the rule in the file's mode, where it doesn't say its own."""
    return rule if "mode" in rule.model_fields_set else rule.model_copy(update={"mode": mode})


def _sound(item: object) -> RuleText | None:
    try:
        return RuleText.model_validate(item)
    except pydantic.ValidationError:
        return None


def _check_rule(source: Source, number: int, rule: RuleText) -> bool:
    """Says whether a rule has one effect, and a queue exactly if it escalates; notes the problem if not."""
    path: Path = ("rules", number)
    before = len(source.problems)
    effects = [effect for effect in EFFECTS if getattr(rule, effect) is not None]
    refused = any((*path, effect) in source.refused for effect in EFFECTS)
    if not effects and not refused:
        source.add(source.value_at(path), f"rule `{rule.id}` has no effect", f"say one of {listed(EFFECTS)}")
    elif len(effects) > 1:
        place = max(source.key_at((*path, effect)) for effect in effects)
        source.add(
            place,
            f"rule `{rule.id}` has {listed(effects, 'and')}",
            "a rule has one effect: make it two rules",
        )
    elif effects == ["escalate"] and rule.to is None and (*path, "to") not in source.refused:
        place = source.key_at((*path, "escalate"))
        source.add(place, f"rule `{rule.id}` escalates to no queue", "name one of queues.yaml: `to: finance`")
    if effects and "escalate" not in effects and rule.to is not None:
        hint = "only a rule that escalates has a queue"
        source.add(source.key_at((*path, "to")), f"rule `{rule.id}` has `to`, and does not escalate", hint)
    if rule.oblige is not None:
        if effects and not {"allow", "escalate"} & set(effects):
            hint = "what is denied doesn't run: only a rule that allows or escalates obliges"
            source.add(source.key_at((*path, "oblige")), f"rule `{rule.id}` has `oblige`, and denies", hint)
        elif not rule.oblige.obligations:
            keys = [name for name in ObligeText.model_fields if name != "keep"]
            source.add(source.key_at((*path, "oblige")), "`oblige` says nothing", f"say {listed(keys)}")
    return len(effects) == 1 and len(source.problems) == before


def _checked(source: Source, value: object, model: type[_Model]) -> _Model | None:
    if value is None:
        if not source.problems:
            source.add((1, 1), "the file is empty", f"say {listed(_needed(model), 'and') or '`queues`'}")
        return None
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        for finding in error.errors(include_url=False):
            _explain(source, finding, model)
    return None


def _explain(source: Source, finding: Any, model: type[Strict]) -> None:
    """Notes what pydantic found, in our words and at its place."""
    path: Path = tuple(part for part in finding["loc"] if part != "[key]")
    if any(path[: len(refused)] == refused or refused[: len(path)] == path for refused in source.refused):
        return
    kind, given, context = finding["type"], finding["input"], finding.get("ctx", {})
    name = name_of(path)
    if kind == "extra_forbidden":
        keys = _keys_of(model, path[:-1])
        source.add(source.key_at(path), f"unknown key {name}", suggest(str(path[-1]), keys))
    elif kind == "missing":
        source.add(source.value_at(path[:-1]), f"{name} is missing", _about(model, path))
    elif kind == "string_type":
        hint = _DURATION if path[-1:] in (("ttl",), ("claim",)) else "put it in quotes"
        source.add(source.value_at(path), f"{name} must be text, not {kind_of(given)}", hint)
    elif kind == "list_type":
        source.add(source.value_at(path), f"{name} must be a list, not {kind_of(given)}", "such as `[pay, refund]`")
    elif kind in ("model_type", "dict_type"):
        what = name if path else "the file"
        source.add(source.value_at(path), f"{what} must be keys with values, not {kind_of(given)}")
    elif kind == "bool_type":
        source.add(source.value_at(path), f"{name} must be `true` or `false`, not {kind_of(given)}")
    elif kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        source.add(source.value_at(path), f"{name} can't be {kind_of(given)}", f"say {listed(choices)}")
    elif kind == "string_pattern_mismatch":
        place = source.key_at(path) if "[key]" in finding["loc"] else source.value_at(path)
        source.add(place, f"{name} can't be {kind_of(given)}", _wanted(context["pattern"]))
    elif kind == "wanted":
        source.add(source.value_at(path), f"{name} can't be {kind_of(given)}", context["hint"])
    else:  # an empty list or text
        source.add(source.value_at(path), f"{name} is empty")


def _wanted(pattern: str) -> str:
    if "args|result" in pattern:
        return "say a JSON pointer below `/args` or `/result`: `/args/limit`, `/result/*/card`"
    if "private|in:" in pattern:
        return "say `private`, or a compartment such as `in:finance`"
    if "_.:-" in pattern:
        return "a label is lowercase letters, digits and `_.:-`, at most 64, a letter first"
    return _DURATION if "smhd" in pattern else _NAME


_DURATION: Final = "say a duration: `90s`, `30m`, `72h` or `7d`"
_NAME: Final = "a name is letters, digits, `_`, `.` and `-`, at most 64, a letter or digit first"


def name_of(path: Path) -> str:
    """Returns what stands at a path of a file, in words."""
    if not path:
        return "the file"
    if isinstance(path[-1], int):
        return f"item {path[-1] + 1} of `{path[-2]}`"
    return f"`{path[-1]}`"


def _model_at(model: type[Strict], path: Path) -> type[Strict]:
    if path[:1] == ("rules",) and len(path) > 1:
        return ObligeText if path[2:3] == ("oblige",) else RuleText
    if model is QueuesText and path[:1] == ("flow",):
        return FlowText
    if model is not PolicyText and len(path) > 1:
        below: list[type[Strict]] = [MODELS[part] for part in path[:1] + path[2:] if part in MODELS]
        return below[-1] if below else model
    return model


def _keys_of(model: type[Strict], path: Path) -> list[str]:
    return [about.alias or name for name, about in _model_at(model, path).model_fields.items()]


def _about(model: type[Strict], path: Path) -> str:
    return (_model_at(model, path[:-1]).model_fields[str(path[-1])].description or "").rstrip(".").lower()


def _needed(model: type[Strict]) -> list[str]:
    return [name for name, about in model.model_fields.items() if about.is_required()]


def kind_of(value: object) -> str:
    """Returns what a value of a file is, in words."""
    if isinstance(value, bool):
        return f"the truth value `{str(value).lower()}`"
    if isinstance(value, Number):
        return f"the number `{value.text}`"
    if isinstance(value, str):
        return f"`{value if len(value) <= 80 else value[:79] + '…'}`"
    return "a list" if isinstance(value, list) else "keys with values"


def suggest(word: str, known: Iterable[str]) -> str:
    """Returns a hint at what `word` may have been meant to be."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    if not names:
        return ""
    shown = ", ".join(f"`{name}`" for name in names[:12])
    return f"there are {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def listed(names: Sequence[str], word: str = "or") -> str:
    """Returns names as a sentence lists them."""
    quoted = [f"`{name}`" for name in names]
    return f" {word} ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
