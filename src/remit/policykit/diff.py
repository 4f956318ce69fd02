"""What differs between two policy sets, rule by rule and in words. From the files alone: no tool is needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from remit.core.guardrailfile import FILES as GUARDRAILS
from remit.core.lists import is_list, read_list
from remit.core.obligations import in_words
from remit.core.people import QUEUES, REVIEWERS
from remit.core.policy import is_beside
from remit.core.policyfiles import RuleText, read_policy
from remit.core.purposes import PURPOSE_FILES, Purposes, PurposeText, read_purposes
from remit.core.yamltext import Number, read_yaml
from remit.errors import PolicyError

_A_POLICY: Final = re.compile(r"(?m)^[\"']?(policy|rules)[\"']?\s*:")
_TOKENS: Final = re.compile(r"""\s+|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[0-9]+(?:\.[0-9]+)?|\w+|[^\w\s]""")
_LITERAL: Final = re.compile(r"""["'].*|[0-9].*""", re.DOTALL)
_SAYS: Final = {"allow": "allows", "escalate": "escalates", "deny": "denies", "require": "requires"}


class Direction(StrEnum):
    """Which way verdicts can go by a change; `either` where both may be, or nobody can say."""

    WIDER = "wider"
    STRICTER = "stricter"
    EITHER = "either"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Difference:
    """A rule, a queue or a file that differs: `added`, `removed` or `changed`, and how in words."""

    what: str
    name: str
    change: str
    words: tuple[str, ...]
    direction: Direction

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "what": self.what, "name": self.name, "change": self.change, "words": list(self.words),
            "direction": self.direction.value,
        }  # fmt: skip


def compare(old: Mapping[str, str], new: Mapping[str, str]) -> list[Difference]:
    """Returns how `new` files differ from `old` ones in what they mean; none where only their writing differs.

    Raises:
        PolicyError: a file can't be read; with every problem of every file.
    """
    before, after = _rules(old), _rules(new)
    found = []
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was is None and now is not None:
            found.append(Difference("rule", name, "added", (_sentence(now),), _added(now)))
        elif now is None and was is not None:
            found.append(Difference("rule", name, "removed", (f"it {_sentence(was)}",), _opposite(_added(was))))
        elif was is not None and now is not None and was != now:
            words, direction = _changed(was, now)
            if words:
                found.append(Difference("rule", name, "changed", words, direction))
    return [*found, *_purposes(old, new), *_lists(old, new), *_others(old, new)]


def _rules(files: Mapping[str, str]) -> dict[str, RuleText]:
    problems = []
    found: dict[str, RuleText] = {}
    for name, text in files.items():
        if not _is_policy(name, text):
            continue
        file = read_policy(name, text)
        problems += file.source.problems
        found |= {f"{file.policy}/{rule.id}": rule for _, rule in file.rules}
    if problems:
        raise PolicyError(tuple(problems))
    return found


def _is_policy(name: str, text: str) -> bool:
    """Whether a file has rules; queues.yaml may say `policy:`, too."""
    special = name.rpartition("/")[2] in (*QUEUES, *REVIEWERS, *GUARDRAILS, *PURPOSE_FILES)
    return not (is_beside(name) or is_list(name) or special) and bool(_A_POLICY.search(text))


def _sentence(rule: RuleText) -> str:
    """What a rule does, in words."""
    to = f" to {rule.to}" if rule.to else ""
    shadow = ", in mode shadow" if rule.mode == "shadow" else ""
    condition = " ".join(getattr(rule, rule.effect).split())
    what = "always" if condition == "true" else f"if `{condition}`"
    what = f"`{condition}`" if rule.effect == "require" and condition != "true" else what
    obliges = "".join(f", obliges to {one}" for one in _obliged(rule))
    return f"{_SAYS[rule.effect]} {_listed(rule.tools)}{to} {what}{obliges}{shadow}"


def _obliged(rule: RuleText) -> list[str]:
    return [in_words(one) for one in rule.oblige.obligations] if rule.oblige else []


def _obligations(was: RuleText, now: RuleText, words: list[str]) -> Iterator[Direction]:
    before, after = _obliged(was), _obliged(now)
    for one in (one for one in after if one not in before):
        words.append(f"obliges to {one}")
        yield Direction.STRICTER
    for one in (one for one in before if one not in after):
        words.append(f"no longer obliges to {one}")
        yield Direction.WIDER


def _listed(tools: Iterable[str]) -> str:
    return ", ".join(f"`{tool}`" if tool != "*" else "every tool" for tool in sorted(set(tools)))


def _added(rule: RuleText) -> Direction:
    """Which way verdicts go where such a rule applies more often. An escalation grants what was denied, too."""
    if rule.mode == "shadow":
        return Direction.SAME
    return {"allow": Direction.WIDER, "escalate": Direction.EITHER}.get(rule.effect, Direction.STRICTER)


def _opposite(direction: Direction) -> Direction:
    swapped = {Direction.WIDER: Direction.STRICTER, Direction.STRICTER: Direction.WIDER}
    return swapped.get(direction, direction)


def _changed(was: RuleText, now: RuleText) -> tuple[tuple[str, ...], Direction]:
    words: list[str] = []
    ways: list[Direction] = []
    if was.mode != now.mode:
        words.append(f"mode: {was.mode}, now {now.mode}")
        ways.append(_added(now) if now.mode == "enforce" else _opposite(_added(was)))
    if was.effect != now.effect:
        words.append(f"effect: it {_SAYS[was.effect][:-1]}s, now it {_SAYS[now.effect]}")
        ways.append(_effects(was.effect, now.effect))
    ways += _tools(was, now, words)
    before, after = getattr(was, was.effect), getattr(now, now.effect)
    if before.split() != after.split():
        told, oftener = _condition(before, after)
        words += told
        applies = _added(now) if now.effect != "require" else Direction.WIDER
        ways.append({True: applies, False: _opposite(applies), None: Direction.EITHER}[oftener])
    if was.to != now.to and was.effect == now.effect:
        words.append(f"queue: {was.to}, now {now.to}")
        ways.append(Direction.EITHER)
    ways += _obligations(was, now, words)
    if was.because != now.because:
        words.append("because: other words")
        ways.append(Direction.SAME)
    if now.mode == was.mode == "shadow":
        ways = [Direction.SAME]
    return tuple(words), _together(ways)


def _effects(was: str, now: str) -> Direction:
    order = {"allow": 0, "escalate": 1, "deny": 2}
    if was in order and now in order:
        return Direction.STRICTER if order[now] > order[was] else Direction.WIDER
    return Direction.EITHER


def _tools(was: RuleText, now: RuleText, words: list[str]) -> Iterator[Direction]:
    more, fewer = set(now.tools) - set(was.tools), set(was.tools) - set(now.tools)
    if more:
        words.append(f"tools: also {_listed(more)}")
        yield _added(now)
    if fewer:
        words.append(f"tools: no longer {_listed(fewer)}")
        yield _opposite(_added(now))


def _condition(before: str, after: str) -> tuple[list[str], bool | None]:
    """Says which value is another where only values are, else shows both conditions; and whether it is true oftener.

    That is known where one number is another, after `<`, `<=`, `>` or `>=`: then a higher limit makes `<` true oftener,
    and everything that is joined with it by `&&` and `||`.
    """
    old, new = (_TOKENS.findall(text) for text in (before, after))
    old, new = ([token for token in tokens if not token.isspace()] for tokens in (old, new))
    pairs = list(zip(old, new, strict=False))
    changed = [(one, other) for one, other in pairs if one != other]
    if len(old) == len(new) and all(_LITERAL.fullmatch(one) and _LITERAL.fullmatch(other) for one, other in changed):
        told = [f"condition: {one}, now {other}, in `{' '.join(after.split())}`" for one, other in changed]
        return told, _oftener(old, new)
    return [f"condition: `{' '.join(before.split())}`", f"now:       `{' '.join(after.split())}`"], None


def _oftener(old: list[str], new: list[str]) -> bool | None:
    differs = [index for index, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
    if len(differs) != 1 or "?" in new:
        return None
    at = differs[0]
    # In brackets it might be negated, counted or compared; after it only `&&`, `||` or the end keeps it a limit.
    inside = sum((token in "([{") - (token in ")]}") for token in new[:at])
    sign = new[at - 2] if new[at - 1] == "=" else new[at - 1]
    numbers = old[at][0].isdigit() and new[at][0].isdigit()
    if inside or not numbers or sign not in ("<", ">") or "".join(new[at + 1 : at + 2]) not in ("", "&", "|"):
        return None
    return (Decimal(new[at]) > Decimal(old[at])) is (sign == "<")


def _together(ways: Iterable[Direction]) -> Direction:
    real = {way for way in ways if way is not Direction.SAME}
    if not real:
        return Direction.SAME
    return real.pop() if len(real) == 1 else Direction.EITHER


# --- lists -----------------------------------------------------------------------------------------------


def _lists(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    """What differs in lists, entry by entry; which way that goes is for the rules to say that ask them."""
    files = sorted({name for name in (*old, *new) if is_list(name)})
    for file in files:
        before, after = read_list(file, old.get(file, "")), read_list(file, new.get(file, ""))
        name = f"lists.{after.name}"
        if file not in old:
            yield Difference("list", name, "added", (f"it has {len(after.entries)} entries",), Direction.EITHER)
        elif file not in new:
            yield Difference("list", name, "removed", (f"it had {len(before.entries)} entries",), Direction.EITHER)
        elif before.entries != after.entries:
            both = before.entries.keys() & after.entries.keys()
            words = [
                f"{what}: {_some(keys)}"
                for what, keys in (
                    ("added", after.entries.keys() - before.entries.keys()),
                    ("removed", before.entries.keys() - after.entries.keys()),
                    ("changed", {key for key in both if before.entries[key] != after.entries[key]}),
                )
                if keys
            ]
            yield Difference("list", name, "changed", tuple(words), Direction.EITHER)


def _some(keys: Iterable[str]) -> str:
    known = sorted(keys)
    shown = ", ".join(f"`{key}`" for key in known[:5])
    return shown if len(known) <= 5 else f"{shown} and {len(known) - 5} more"


# --- purposes: each only ever takes away from what a run for it may use ----------------------------------


def _purposes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    """What differs in purposes.yaml, purpose by purpose."""
    before, after = _purposes_of(old), _purposes_of(new)
    if before.required != after.required:
        words = "every run needs a purpose" if after.required else "a run needs no purpose any more"
        direction = Direction.STRICTER if after.required else Direction.WIDER
        yield Difference("purpose", "required", "changed", (words,), direction)
    for name in sorted({*before.known, *after.known}):
        was, now = before.known.get(name), after.known.get(name)
        if was is None and now is not None:
            words = f"runs of {_names(now.principals)} may be for it, with {_listed(now.tools)}"
            yield Difference("purpose", name, "added", (words,), Direction.WIDER)
        elif now is None and was is not None:
            yield Difference("purpose", name, "removed", ("no run may be for it any more",), Direction.STRICTER)
        elif was is not None and now is not None and was != now:
            told, ways = _purpose(was, now)
            yield Difference("purpose", name, "changed", tuple(told), _together(ways))


def _purpose(was: PurposeText, now: PurposeText) -> tuple[list[str], list[Direction]]:
    told: list[str] = []
    ways: list[Direction] = []
    for what in ("principals", "tools", "labels"):
        before, after = getattr(was, what), getattr(now, what)
        if before is None or after is None:
            if before != after:
                told.append(f"{what}: {'any' if after is None else 'only ' + _names(after)}")
                ways.append(Direction.WIDER if after is None else Direction.STRICTER)
            continue
        if more := set(after) - set(before):
            told.append(f"{what}: also {_names(more)}")
            ways.append(Direction.WIDER)
        if fewer := set(before) - set(after):
            told.append(f"{what}: no longer {_names(fewer)}")
            ways.append(Direction.STRICTER)
    if was.columns != now.columns:
        shown = "; ".join(f"of {_listed(one.tools)} {', '.join(one.only)}" for one in now.columns)
        told.append(f"columns: {shown or 'all'}")
        known = {True: Direction.STRICTER, False: Direction.WIDER}
        ways.append(Direction.EITHER if was.columns and now.columns else known[bool(now.columns)])
    if was.description != now.description:
        told.append("description: other words")
        ways.append(Direction.SAME)
    return told, ways


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(set(names)))


def _purposes_of(files: Mapping[str, str]) -> Purposes:
    for name, text in files.items():
        if name.rpartition("/")[2] in PURPOSE_FILES:
            file, purposes = read_purposes(name, text, None)
            if file.source.problems:
                raise PolicyError(tuple(file.source.problems))
            return purposes
    return Purposes()


# --- queues, reviewers, and whatever is no policy --------------------------------------------------------


def _others(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    """What differs in the files that are no policies, key by key."""
    before, after = _keys(old), _keys(new)
    for name in sorted({*before, *after}):
        if name not in before:
            yield Difference("setting", name, "added", (f"{name}: {after[name]}",), Direction.EITHER)
        elif name not in after:
            yield Difference("setting", name, "removed", (f"{name} was {before[name]}",), Direction.EITHER)
        elif before[name] != after[name]:
            words = f"{name}: {before[name]}, now {after[name]}"
            yield Difference("setting", name, "changed", (words,), Direction.EITHER)


def _keys(files: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in files.items():
        purposes = name.rpartition("/")[2] in PURPOSE_FILES
        if not (is_beside(name) or is_list(name) or purposes) and not _is_policy(name, text):
            source, value = read_yaml(name, text)
            if source.problems:
                raise PolicyError(tuple(source.problems))
            found |= dict(_leaves(value, ""))
    return found


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, Number):
        return value.text
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return "nothing" if value == {} else str(value)
