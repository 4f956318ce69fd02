"""What a YAML file says, as a model of its structure; and what is wrong with it, in words and at its place.

For the files beside the policies: `policyfiles` says more of rules, queues and reviewers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from remit.core.policyfiles import kind_of, listed, name_of, suggest
from remit.core.yamltext import Path, Source

_MUST_BE: Final = {
    "string_type": "text",
    "list_type": "a list, such as `[pay, refund]`",
    "model_type": "keys with values",
    "dict_type": "keys with values",
    "bool_type": "`true` or `false`",
    "bool_parsing": "`true` or `false`",
    "int_type": "a whole number",
}
_Model = TypeVar("_Model", bound=BaseModel)


def checked(
    source: Source,
    value: object,
    model: type[_Model],
    *,
    what: str = "",
    name: str = "",
    hints: Mapping[str, str] | None = None,
) -> _Model | None:
    """Returns what `value` says, or None, with every problem noted at its place in the file.

    Args:
        what, name: of what the file has by names, what one is ("a counter") and which names there can be.
        hints: the remedy for a value that isn't right, by its key.
    """
    if value is None:
        source.add((1, 1), "the file is empty")
        return None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for found in error.errors(include_url=False):
            _note(source, found, model, what, name, hints or {})
    return None


def _note(source: Source, found: Any, model: type[BaseModel], what: str, names: str, hints: Mapping[str, str]) -> None:
    path: Path = tuple(part for part in found["loc"] if part != "[key]")
    is_key = "[key]" in found["loc"]
    name = name_of(path)
    if found["type"] == "extra_forbidden":
        keys = _keys(model, path[:-1])
        source.add(source.key_at(path), f"unknown key {name}", suggest(str(path[-1]), keys) if keys else "")
    elif found["type"] == "missing":
        source.add(source.value_at(path[:-1]), f"{name} is missing")
    elif found["type"] == "wanted":
        place = source.key_at(path) if is_key else source.value_at(path)
        source.add(place, f"{name} can't be {kind_of(found['input'])}", found["ctx"]["hint"])
    elif is_key and what:
        source.add(source.key_at(path), f"{name} can't be {what}", names)
    else:
        words, hint = _words(found)
        hint = hints.get(str(path[-1]) if path else "", "") or hint
        source.add(source.value_at(path), f"{name} {words}", hint)


def _words(found: Any) -> tuple[str, str]:
    """Returns what is wrong with a value, and the remedy where its kind says one."""
    kind, given, context = found["type"], kind_of(found["input"]), found.get("ctx", {})
    if kind in _MUST_BE:
        return f"must be {_MUST_BE[kind]}, not {given}", ""
    if kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", context["expected"])
        return f"can't be {given}", f"say {listed(choices)}"
    if kind in ("too_short", "string_too_short"):
        return "is empty", ""
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        pointer = pattern.startswith("^(/") or "/[^/]" in pattern
        return f"can't be {given}", "say a JSON pointer: `/memo`" if pointer else f"it is of the form `{pattern}`"
    words = found["msg"].removeprefix("Value error, ").replace("Input ", "")
    return f"can't be {given}: {words[:1].lower()}{words[1:]}".replace("'", "`"), ""


def _keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Returns the keys that may stand at `path`, as far as the models say."""
    here: Any = model
    for part in path:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[part].annotation if part in here.model_fields else None
        else:
            here = (get_args(here) or (None,))[-1]
        models = [one for one in (here, *get_args(here)) if isinstance(one, type) and issubclass(one, BaseModel)]
        if get_origin(here) not in (list, dict) and models:
            here = models[0]
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []
