"""YAML with the place of every key and character, and without what a policy file has no use for.

YAML 1.2 is read as events, so that nesting can't exhaust the stack and an alias can't multiply. Anchors,
aliases, tags, directives, doubled keys and several documents in a file are refused: a policy says what it
says once, where it is read.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from remit.errors import Problem

LARGEST: Final = 1_000_000
"""Characters in a file."""
DEEPEST: Final = 32
"""How many lists and mappings may stand inside each other in a file."""
WIDEST: Final = 160
"""Characters of a source line that a problem shows."""

Path = tuple[str | int, ...]
"""Where a value stands in a file: `("rules", 0, "allow")`."""

# --- where things stand --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """A value in the text: from `start` to `end`, its own text, and how it is quoted."""

    start: int
    end: int
    value: str = ""
    style: str = ""


@dataclass(slots=True)
class Source:
    """A file's text, and the places of what stands in it."""

    name: str
    text: str
    problems: list[Problem] = field(default_factory=list)
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, _Span] = field(default_factory=dict)
    refused: set[Path] = field(default_factory=set)
    cut: bool = False
    """Whether it could not be read to its end."""
    _starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._starts = [0, *(match.end() for match in re.finditer(r"\r\n|\n|\r", self.text))]

    def at(self, index: int) -> tuple[int, int]:
        """Returns line and column, from 1, of a character of the text."""
        line = bisect_right(self._starts, min(max(index, 0), len(self.text)))
        return line, index - self._starts[line - 1] + 1

    def value_at(self, path: Path) -> tuple[int, int]:
        """Returns where the value at `path` starts, or the next one around it that is there."""
        while path not in self.values and path:
            path = path[:-1]
        return self.at(self.values[path].start if path in self.values else 0)

    def key_at(self, path: Path) -> tuple[int, int]:
        """Returns where the key at `path` starts; of a list's item, the item."""
        return self.at(self.keys[path]) if path in self.keys else self.value_at(path)

    def within(self, path: Path, line: int, column: int) -> tuple[int, int]:
        """Returns where a line and column of the text value at `path` stand in the file."""
        span = self.values.get(path)
        if span is None or line < 1:
            return self.value_at(path)
        lines = span.value.split("\n")
        offset = sum(len(before) + 1 for before in lines[: line - 1]) + max(column, 1) - 1
        return self.at(_index(self.text, span, min(offset, len(span.value))))

    def names_below(self, key: str) -> set[str] | None:
        """Returns the keys of the mapping under a key of the file, sound or not; None where that can't be told."""
        if self.cut or (key,) in self.refused:
            return None
        return {str(path[1]) for path in self.keys if len(path) == 2 and path[0] == key}

    def add(self, place: tuple[int, int], message: str, hint: str = "") -> None:
        """Notes a problem."""
        self.problems.append(Problem(self.name, *place, message, hint, self.snippet(place)))

    def snippet(self, place: tuple[int, int]) -> str:
        """Returns the source line of a place, safe to print, with every character in its column."""
        line, column = place
        start = self._starts[line - 1]
        end = self._starts[line] if line < len(self._starts) else len(self.text)
        text = self.text[start:end].rstrip("\r\n")
        if column > WIDEST:
            return ""
        shown = "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in text[:WIDEST])
        return shown + "…" if len(text) > WIDEST else shown


_BLANK: Final = " \t\r\n"
_ESCAPES: Final = {"x": 4, "u": 6, "U": 10}


def _index(text: str, span: _Span, offset: int) -> int:
    """Returns where in `text` the character at `offset` of a scalar's value was written.

    Quoting and folding change only blanks and escapes, so the n-th one that isn't blank is the same.
    """
    wanted = sum(character not in _BLANK for character in span.value[:offset])
    at = _skip_header(text, span)
    end = span.end - (span.style in ("'", '"'))
    last = span.start - 1
    while at < end:
        character = text[at]
        width = 1
        blank = character in _BLANK
        if span.style == '"' and character == "\\":
            width = _ESCAPES.get(text[at + 1], 2)
            blank = text[at + 1] in "ntr" + _BLANK
        elif span.style == "'" and character == "'":
            width = 2
        if not blank:
            if wanted == 0:
                return at
            wanted -= 1
            last = at + width - 1
        at += width
    return last + 1


def _skip_header(text: str, span: _Span) -> int:
    if span.style in ("|", ">"):
        newline = text.find("\n", span.start)
        return newline + 1 if newline >= 0 else span.end
    return span.start + (span.style in ("'", '"'))


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written: nothing in a policy file is one, so it is only told of."""

    text: str


# --- reading -------------------------------------------------------------------------------------------

_NUMBER: Final = re.compile(
    r"[-+]?([0-9]+|(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))"
    r"|0o[0-7]+|0x[0-9a-fA-F]+|\.(nan|NaN|NAN)"
)
_TRUTH: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})


def read_yaml(name: str, text: str, *, nulls: bool = False) -> tuple[Source, object]:
    """Returns a file's source, with the problems found so far, and its plain value or None.

    `nulls`: a written `null` is a value; an empty one never is.
    """
    source = Source(name, text.removeprefix("\ufeff"))
    if len(text) > LARGEST:
        source.cut = True
        source.add((1, 1), f"{len(text):,} characters are more than a policy file may have ({LARGEST:,})")
        return source, None
    if lone := re.search("[\ud800-\udfff]", source.text):
        source.cut = True
        source.add(source.at(lone.start()), "not UTF-8 text", "save the file as UTF-8")
        return source, None
    if directive := re.search(r"(?m)^%", source.text):
        source.cut = True
        place = source.at(directive.start())
        source.add(place, "directives (`%`) have no place in a policy file", "remove the line, or indent it")
        return source, None
    try:
        return source, _Reader(source, nulls).read()
    except _Stop as error:
        source.cut = True
        source.add(source.at(error.index), error.message, error.hint)
    except ReaderError as error:
        source.cut = True
        code = ord(source.text[error.position])
        source.add(source.at(error.position), f"the character U+{code:04X} can't stand in a policy file")
    except MarkedYAMLError as error:
        source.cut = True
        mark = error.problem_mark or error.context_mark
        place = source.at(mark.index if mark is not None else 0)
        source.add(place, f"not YAML: {_reason(error)}", _remedy(error, source, place))
    return source, None


def _events(text: str) -> Iterator[Any]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except (MarkedYAMLError, ReaderError):
        raise
    except Exception as error:  # ruamel checks some text by assertions and conversions only
        raise _Stop(0, f"not YAML: {error}") from error


def _reason(error: MarkedYAMLError) -> str:
    text = ": ".join(str(part) for part in (error.context, error.problem) if part)
    return text.replace("\t", "\\t").replace("\n", " ")


def _remedy(error: MarkedYAMLError, source: Source, place: tuple[int, int]) -> str:
    line = source.snippet(place)
    if "\\t" in str(error.problem):
        return "indent with spaces, not tabs"
    if ":" in line.strip().rstrip(":"):
        return "put the whole value in quotes, or on lines of its own below `|`"
    return ""


class _Stop(Exception):
    """Something after which the rest of a file can't be understood."""

    def __init__(self, index: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.index = index
        self.message = message
        self.hint = hint


@dataclass(slots=True)
class _Level:
    """A list or mapping being read: where it stands, and the key whose value comes next."""

    path: Path
    value: dict[str, object] | list[object]
    key: str | None = None
    doubled: bool = False


class _Reader:
    """Makes plain values of YAML's events; notes every place, and what a policy file may not use."""

    def __init__(self, source: Source, nulls: bool) -> None:
        self._source = source
        self._nulls = nulls
        self._levels: list[_Level] = []
        self._root: object = None
        self._documents = 0

    def read(self) -> object:
        for event in _events(self._source.text):
            if isinstance(event, DocumentStartEvent):
                self._document(event)
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                self._levels.pop()
            elif isinstance(event, (MappingStartEvent, SequenceStartEvent, ScalarEvent, AliasEvent)):
                self._node(event)
            if self._documents > 1:
                break
        return self._root

    def _document(self, event: Any) -> None:
        self._documents += 1
        place = self._source.at(event.start_mark.index)
        if self._documents > 1:
            self._source.add(place, "a second document", "a policy file holds one: make it a file of its own")

    def _node(self, event: Any) -> None:
        level = self._levels[-1] if self._levels else None
        if level is not None and isinstance(level.value, dict) and level.key is None:
            self._key(level, event)
            return
        path = self._path(level)
        value = self._value(path, event)
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, ScalarEvent):
            span = _Span(start, end, event.value, event.style or "")
        else:
            span = _Span(start, end)
        self._source.values[path] = span
        self._put(level, value)
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            if len(self._levels) >= DEEPEST:
                raise _Stop(start, f"more than {DEEPEST} lists and mappings inside each other")
            self._levels.append(_Level(path, value))  # type: ignore[arg-type]  # a dict or a list

    def _key(self, level: _Level, event: Any) -> None:
        start = event.start_mark.index
        if not isinstance(event, ScalarEvent):
            raise _Stop(start, "a key must be a word", "text that starts with a brace or bracket goes in quotes")
        self._plain(event)
        key, path = event.value, (*level.path, event.value)
        level.key = key
        level.doubled = path in self._source.keys
        if level.doubled:
            line, _ = self._source.at(self._source.keys[path])
            self._source.add(self._source.at(start), f"`{key}` is here twice", f"the first is on line {line}")
        else:
            self._source.keys[path] = start

    def _path(self, level: _Level | None) -> Path:
        if level is None:
            return ()
        if isinstance(level.value, list):
            return (*level.path, len(level.value))
        again = ("", "again") if level.doubled else ()  # beside what the first one says
        return (*level.path, level.key or "", *again)

    def _put(self, level: _Level | None, value: object) -> None:
        if level is None:
            self._root = value
        elif isinstance(level.value, list):
            level.value.append(value)
        else:
            if not level.doubled:
                level.value[level.key or ""] = value
            level.key = None

    def _plain(self, event: Any) -> bool:
        """Says whether a node has neither anchor nor tag; notes the problem if it has."""
        place = self._source.at(event.start_mark.index)
        tag = getattr(event, "tag", None)
        if event.anchor is not None and tag is None:
            hint = "write it out; text that starts with `&` goes in quotes"
            self._source.add(place, f"anchors (`&{event.anchor}`) have no place in a policy file", hint)
        if tag is not None:
            hint = "text that starts with `!` goes in quotes"
            self._source.add(place, f"tags (`{_tag(tag)}`) have no place in a policy file", hint)
            return False
        return event.anchor is None

    def _value(self, path: Path, event: Any) -> object:
        """Returns a node's value, still empty if it is a list or mapping; None if it was refused."""
        if isinstance(event, AliasEvent):
            place = self._source.at(event.start_mark.index)
            hint = "write it out; text that starts with `*` goes in quotes"
            self._source.add(place, f"aliases (`*{event.anchor}`) have no place in a policy file", hint)
        elif not self._plain(event):
            pass
        elif isinstance(event, MappingStartEvent):
            return {}
        elif isinstance(event, SequenceStartEvent):
            return []
        elif event.style or event.value not in _NOTHING:
            return event.value if event.style else _resolved(event.value)
        elif self._nulls and event.value and path:
            return None
        else:
            name = f"`{path[-1]}`" if path and isinstance(path[-1], str) else "this"
            place = self._source.key_at(path) if path else (1, 1)
            self._source.add(place, f"{name} has no value", "remove it, or write `{}` if that is meant")
        self._source.refused.add(path)
        # What stands in a refused list or mapping is read all the same, for its own problems.
        return {} if isinstance(event, MappingStartEvent) else [] if isinstance(event, SequenceStartEvent) else None


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _resolved(text: str) -> object:
    """Returns what a plain scalar means in YAML 1.2's core schema."""
    if text in _TRUTH:
        return _TRUTH[text]
    return Number(text) if _NUMBER.fullmatch(text) else text
