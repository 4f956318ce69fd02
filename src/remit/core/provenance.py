"""Where the values of a call's arguments came from, as facts: `provenance`, `authority` and `content` in conditions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from remit.core import matching
from remit.core.labels import by_reviewer, is_private, join, may_read, pointer_of
from remit.core.origins import VALUE_LEAVES_MAX, Lineage, Origin, parts_of, worst
from remit.core.tools import Effect, JsonSchema, ToolSpec

LEAVES_SHOWN: Final = 200
"""Leaves of each kind that the facts list; the worst are kept."""
SHOWN_MAX: Final = 120

_FLAG: JsonSchema = {"type": "boolean"}
_TEXT: JsonSchema = {"type": "string"}
_TEXTS: JsonSchema = {"type": "array", "items": _TEXT}
_FLAGS: Final = (
    "principal", "selected", "trusted", "untrusted", "unknown", "ambiguous", "endorsed", "constant", "computed",
    "private",
)  # fmt: skip
_WHERE: Final = ("value", "call", "tool", "pointer", "says")


def _record(**properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_ORIGIN: Final = {**dict.fromkeys(_FLAGS, _FLAG), **dict.fromkeys(_WHERE, _TEXT), "labels": _TEXTS}
_LEAF: Final[JsonSchema] = _record(
    argument=_TEXT, at=_TEXT, **_ORIGIN, identifiers={"type": "array", "items": _record(kind=_TEXT, **_ORIGIN)},
    barred=_TEXTS,
)  # fmt: skip
_LEAVES: Final[JsonSchema] = {"type": "array", "items": _LEAF}
ROOTS: Final = ("provenance", "authority", "content")
"""Names in conditions that are computed only where some rule uses them."""


def root_types(tool: ToolSpec) -> dict[str, JsonSchema]:
    """Returns the types of `provenance`, `authority` and `content` for conditions on a tool."""
    names = tool.names
    row: dict[str, Any] = {**_record(), "properties": dict.fromkeys(names, _LEAF), "required": list(names)}
    if tool.is_open:
        row["additionalProperties"] = _LEAF
    return {
        "provenance": row if names else {"type": "object", "additionalProperties": _LEAF},
        "authority": _LEAVES,
        "content": _LEAVES,
    }


def flow_of(
    lineage: Lineage, tool: ToolSpec, args: Mapping[str, object], asked: Mapping[str, object] | None = None,
    edited: Mapping[str, str] | None = None, readers: Mapping[str, Iterable[str]] | None = None,
) -> dict[str, object]:  # fmt: skip
    """Returns `provenance`, `authority` and `content` of a call: what its facts record.

    `asked`: the arguments before obligations changed them. What was masked or capped came from where the value did
    that was asked for. `edited`: who of the reviewers wrote which arguments. `readers`: who may read what, by label.
    """
    asked, edited = asked or {}, edited or {}
    recipients: list[str] = []
    authority: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    provenance: dict[str, Any] = {}
    left = VALUE_LEAVES_MAX
    for name, value in args.items():
        rows = []
        before = dict(parts_of(tool, name, asked[name], left + 1)) if name in asked else {}
        for steps, leaf in parts_of(tool, name, value, left + 1):
            left -= 1
            if left < 0:
                origin = worst(Origin(), "is beyond the number of values that are looked up")
                rows.append(_row(name, steps, leaf, origin, []))
                break
            origin = lineage.origin(tool, name, steps, before.get(steps, leaf))
            if name in edited:
                origin = _by_reviewer(origin, edited[name])
            if tool.is_authority(name) and isinstance(leaf, str) and leaf.strip():
                recipients.append(leaf)
            found = _identifiers(lineage, leaf, tool.effect) if isinstance(leaf, str) and tool.is_content(name) else []
            rows.append(_row(name, steps, leaf, origin, found))
        if tool.is_authority(name):
            authority += rows
        if tool.is_content(name):
            content += rows
        provenance[name] = _together(name, rows)
    for name in tool.names:
        provenance.setdefault(name, _together(name, []))
    entitled = {label: _Readers(who) for label, who in (readers or {}).items()}
    # Where some of them are addresses those are who reads it; an amount beside them reads nothing.
    reading = [text for text in recipients if matching.identifiers(text)] or recipients
    for row in (*content, *authority, *provenance.values()):
        if row["private"]:
            barred = [_short(one) for one in reading if not may_read(row["labels"], one, entitled)]
            row["barred"] = barred[:LEAVES_SHOWN]
    return {"provenance": provenance, "authority": _shown(authority), "content": _shown(content)}


class _Readers:
    """Who may read something: recipients as they are written, or by a pattern with `*`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [re.compile(".*".join(map(re.escape, one.casefold().split("*")))) for one in patterns]

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __contains__(self, reader: object) -> bool:
        said = str(reader).strip().casefold()
        return any(pattern.fullmatch(said) for pattern in self._patterns)


def _by_reviewer(origin: Origin, reviewer: str) -> Origin:
    """What a reviewer wrote, they answer for; who may read it has not changed."""
    return Origin(endorsed=True, labels=by_reviewer(origin.labels, reviewer), how=f"was written by reviewer {reviewer}")


def _identifiers(lineage: Lineage, text: str, effect: Effect) -> list[dict[str, Any]]:
    texts = [text, *matching.decoded(text)]
    rows = []
    for kind, piece in dict.fromkeys(found for one in texts for found in matching.identifiers(one)):
        rows.append({"kind": kind, **_origin(piece, lineage.of_text(piece, effect))})
    return rows[:LEAVES_SHOWN]


def _origin(value: object, origin: Origin) -> dict[str, Any]:
    source = origin.source
    read = source is not None and source.kind == "result"
    return {
        **{name: getattr(origin, name) for name in _FLAGS if name != "private"},
        "private": is_private(origin.labels),
        "labels": list(origin.labels),
        "value": _short(value),
        "call": source.call if source is not None and read else "",
        "tool": source.tool if source is not None and read else "",
        "pointer": source.pointer if source is not None and read else "",
        "says": _says(value, origin),
    }


def _says(value: object, origin: Origin) -> str:
    """Returns in words where a value came from: `"DE89…" was read from /0/body of list_mails (call settle#2)`."""
    source = origin.source
    shown = f"`{_short(value)}`"
    if (origin.how and source is None) or origin.computed or origin.constant:
        return f"{shown} {origin.how}"
    if origin.principal and not origin.how:
        return f"{shown} is in the principal's input"
    if source is None:
        return f"{shown} was seen nowhere: the agent made it up or computed it"
    if source.kind == "principal":
        return f"{shown} {origin.how or 'is in'} the principal's input"
    place = (
        f"{source.pointer or 'the result'} of {source.tool} (call {source.call})" if source.tool else "the run's input"
    )
    made = " and from words seen nowhere" if origin.unknown and origin.how else ""
    return f"{shown} {origin.how or 'was read from'} {place}{made}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else matching.number(value)[1:] or str(value)
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * SHOWN_MAX])
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def _row(
    name: str, steps: tuple[str, ...], leaf: object, origin: Origin, identifiers: list[dict[str, Any]]
) -> dict[str, Any]:
    said = _origin(leaf, origin)
    return {"argument": name, "at": pointer_of(steps), **said, "identifiers": identifiers, "barred": []}


def _rank(row: dict[str, Any]) -> int:
    """The worse, the higher."""
    if row["constant"]:
        return 0
    vouched = row["principal"] or row["selected"] or row["endorsed"] or row["computed"]
    return 1 if vouched else 4 if row["untrusted"] and not row["trusted"] else 3 if row["unknown"] else 2


def _together(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns one row for a whole argument: what is good holds for all leaves, what is bad for any."""
    if not rows:
        return _row(name, (), None, Origin(constant=True, how="is not given"), [])
    whole: dict[str, Any] = {}
    whole.update(sorted(rows, key=_rank)[-1])
    for flag in ("principal", "selected", "trusted", "endorsed", "constant", "computed"):
        whole[flag] = all(row[flag] or (row["constant"] and not whole["constant"]) for row in rows)
    for flag in ("untrusted", "unknown", "ambiguous", "private"):
        whole[flag] = any(row[flag] for row in rows)
    whole["labels"] = list(join(*(row["labels"] for row in rows)))
    whole["identifiers"] = [one for row in rows for one in row["identifiers"]][:LEAVES_SHOWN]
    return whole


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst first: that is what a reason shows."""
    return sorted(rows, key=_rank, reverse=True)[:LEAVES_SHOWN]
