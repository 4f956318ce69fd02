"""The checker's complaints in our words, with a place and a remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from remit.core.cel.dialect import place
from remit.core.cel.guards import suggestion
from remit.core.cel.library import FUNCTIONS
from remit.core.cel.shapes import Shape
from remit.core.cel.slips import FIELDS, NAMES, slips
from remit.core.cel.unparse import SIGNS
from remit.errors import Problem

COMPLAINT: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)$", re.MULTILINE)
UNDECLARED: Final = re.compile(r"undeclared reference to '(.*)' \(in container ''\)")
UNDEFINED: Final = re.compile(r"undefined field '(.*)' not found in struct '(.*)'")
OVERLOAD: Final = re.compile(r"found no matching overload for '(.*)' applied to '\((.*)\)'")
OPERAND: Final = re.compile(r"expression of type '(.*)' cannot be the operand of a select operation")
RANGE: Final = re.compile(r"expression of type '(.*)' cannot be the range of a comprehension.*")
MACROS: Final = ("has", "all", "exists", "exists_one", "map", "filter")
SNIPPET_MAX: Final = 160
PLAIN_NAMES: Final[Mapping[str, str]] = {
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
    "null_type": "null",
}


def problem(source: str, line: int, column: int, message: str, hint: str = "") -> Problem:
    lines = source.split("\n")
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    return Problem("", line, column, message, hint, text if len(text) <= SNIPPET_MAX else "")


class Translator:
    def __init__(
        self, source: str, roots: Sequence[str], objects: Mapping[str, Shape], paths: Mapping[str, str]
    ) -> None:
        self._source = source
        self._roots = roots
        self._objects = objects
        self._paths = paths

    def problems(self, complaint: str) -> list[Problem]:
        found: list[Problem] = []
        unread = "Syntax error:" in complaint or "reserved identifier" in complaint
        if unread and (known := slips(self._source)):
            return [problem(self._source, *place(self._source, one.at), one.message, one.hint) for one in known]
        for match in COMPLAINT.finditer(complaint):
            line, column, text = int(match[1]), int(match[2]), match[3].removesuffix(" [INVALID_ARGUMENT]")
            if "*error*" in text or "parsetree" in text:
                continue  # follows from another complaint
            if unread and found:
                break  # where it can't be parsed, the first place is the one
            message, hint = self._say(text)
            hint = hint or self._of_field(text, line, column)
            made = problem(self._source, max(line, 0), max(self._start(line, column, text), 0), message, hint)
            if made not in found:
                found.append(made)
        if not found:
            message, hint = self._say(complaint.partition(": ")[2].partition(" [")[0] or complaint)
            found.append(problem(self._source, 0, 0, message, hint))
        return found

    def _start(self, line: int, column: int, text: str) -> int:
        """The checker puts an unknown `a.b.c` at its last dot, a function at its bracket; we at the start."""
        match, lines = UNDECLARED.fullmatch(text), self._source.split("\n")
        if match is None or not 0 < line <= len(lines):
            return column
        found = lines[line - 1].rfind(match[1].partition(".")[0], 0, column)
        return found + 1 if found >= 0 else column

    def _say(self, text: str) -> tuple[str, str]:
        if match := UNDECLARED.fullmatch(text):
            return self._undeclared(match[1])
        if match := UNDEFINED.fullmatch(text):
            shape = self._objects.get(match[2])
            fields = [] if shape is None else list(shape.fields)
            hint = suggestion(match[1], fields) or (
                f"its fields are {', '.join(fields)}" if 0 < len(fields) <= 12 else ""
            )
            path = self._paths.get(match[2], match[2])
            if shape is not None and shape.named(match[1]) is not None:
                hint = f'one that its schema does not name is `{path}["{match[1]}"]`'
            return f"no field `{match[1]}` in `{path}`", hint
        if match := OVERLOAD.fullmatch(text):
            return self._overload(match[1], match[2])
        if match := OPERAND.fullmatch(text):
            return f"{self._types(match[1])} has no fields", ""
        if match := RANGE.fullmatch(text):
            return f"{self._types(match[1])} is neither a list nor a map", ""
        lower = text.lower()
        if "recursion" in lower:
            return (
                "nested too deeply or too long a chain of operators",
                "split it with `&&`, or into several rules",
            )
        if "codepoint limit" in lower:
            return "longer than a condition may be", "split it into several rules"
        if lower.startswith("incompatible function arguments"):
            return "not valid text", ""
        if lower.startswith("syntax error:"):
            match = re.search(r"'((?:[^']|'(?=.))*)'", text.partition(" expecting ")[0])
            word = match[1].strip() if match else ""
            if word in ("", "<EOF>"):
                return "the condition ends too early", "say what comes next, or remove what is before the end"
            return f"`{word}` can't stand here", "is an operator such as `&&`, `==` or `in` missing before it?"
        if "reserved identifier" in lower:
            return f"`{text.rpartition(':')[2].strip()}` can't be a name here", ""
        if lower.startswith("invalid int literal"):
            return "a number that is too large", "the largest is 9223372036854775807; `1e30` is larger, and not exact"
        return self._types(text[:1].lower() + text[1:]), ""

    def _undeclared(self, name: str) -> tuple[str, str]:
        first = name.partition(".")[0]
        if name in NAMES:
            return f"there is no `{name}`", NAMES[name]
        if first in self._fields():
            return f"unknown name `{first}`", f"write `args.{first}`"
        if name in FUNCTIONS or name in MACROS:
            return f"`{name}` isn't called like this", ""
        functions = [known for known in FUNCTIONS if known.isidentifier()]
        hint = suggestion(first, [*self._roots, *functions, *MACROS])
        return f"unknown name `{first}`", hint or f"names are {', '.join(sorted(self._roots))}"

    def _fields(self) -> list[str]:
        """The arguments of the tool."""
        shape = next((self._objects[message] for message, known in self._paths.items() if known == "args"), None)
        return [] if shape is None else list(shape.fields)

    def _of_field(self, text: str, line: int, column: int) -> str:
        """The remedy where a field is asked of what has none, by the name of the field."""
        lines = self._source.split("\n")
        if OPERAND.fullmatch(text) is None or not 0 < line <= len(lines):
            return ""
        match = re.match(r"\s*\.\s*(\w+)", lines[line - 1][max(column - 1, 0) :])
        return FIELDS.get(match[1], f"it is one value: take `.{match[1]}` out") if match else ""

    def _overload(self, name: str, types: str) -> tuple[str, str]:
        given = [self._types(part) for part in split_types(types)]
        shown = SIGNS.get(
            name,
            {"_[_]": "[]", "!_": "!", "-_": "-", "_?_:_": "?:", "_&&_": "&&", "_||_": "||"}.get(name, name),
        )
        hint = ""
        if (
            name in ("_+_", "_-_", "_*_", "_/_", "_%_")
            and set(given) <= {"int", "uint", "double"}
            and len(set(given)) > 1
        ):
            hint = "calculate in one type: write `2.0` for `2`, or convert with `double(...)` or `int(...)`"
        elif name == "_[_]" and given[0].startswith("object"):
            hint = 'select a field with a dot, or by its name in quotes: `["name"]`'
        elif name in ("_&&_", "_||_", "!_", "_?_:_"):
            hint = "it takes true or false; compare with something"
            hint += ", with brackets round it: `!(a == b)`" if name == "!_" else ""
        elif name in ("_==_", "_!=_") and "null" in given:
            hint = "it is never null: whether an optional argument is there is `has(args.memo)`"
        elif name == "contains" and given[:1] and given[0].startswith("list"):
            hint = 'write `"x" in args.tags`'
        elif name == "_[_]":
            hint = 'a text has no items: `startsWith("x")` and `matches("^..x")` look inside'
        elif set(given) & {"timestamp"} and "string" in given:
            hint = 'write the time as `timestamp("2026-01-31T00:00:00Z")`'
        elif given[:1] == ["bool"] and name in ("_<_", "_<=_", "_>_", "_>=_"):
            hint = "compare twice: `1 < args.amount && args.amount < 5`"
        elif "string" in given and set(given) & {"int", "uint", "double"}:
            hint = "a number and a text: numbers have no quotes; `int(...)` and `string(...)` convert"
        return f"`{shown}` can't be applied to ({', '.join(given)})", hint

    def _types(self, text: str) -> str:
        """The checker's names of types, as a policy owner knows them."""
        for name, known in self._paths.items():
            text = re.sub(rf"\b{re.escape(name)}\b", f"object `{known}`", text)
        text = re.sub(r"wrapper\((\w+)\)", r"\1", text)
        for name, known in PLAIN_NAMES.items():
            text = text.replace(name, known)
        return text


def split_types(text: str) -> list[str]:
    """`int, map(string, int)` at its outer commas."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]
