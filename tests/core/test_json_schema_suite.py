"""The public JSON Schema Test Suite, as arguments of foreign tools, and the table of it in the docs.

It lies beside the project (`../shared/data/json-schema`, from github.com/json-schema-org/JSON-Schema-Test-Suite, or
where REMIT_JSON_SCHEMA says) and is not part of it; where it is absent these tests are skipped and say so.
`python tests/core/test_json_schema_suite.py` writes the table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from remit.core.foreign import ForeignArguments, Unnamed
from remit.core.schemas import DRAFTS
from remit.errors import InvalidArguments, ToolError

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("REMIT_JSON_SCHEMA", ROOT / ".." / "shared" / "data" / "json-schema"))
PAGE = ROOT / "docs" / "reference" / "json-schema.md"
BEGIN, END = "<!-- suite -->\n", "<!-- end of suite -->"
REASONS = {
    "a": ("is in another document, or nowhere", "a `$ref` leaves the document: nothing is fetched"),
    "b": ("does not fit its own schema", "a default does not fit its own schema"),
    "c": ("`$schema` is", "`$schema` names no draft's metaschema"),
    "d": ("is beyond 2**53 - 1", "it holds an integer beyond 2<sup>53</sup> - 1, which no argument can be"),
}

absent = pytest.mark.skipif(not DATA.is_dir(), reason=f"the JSON Schema Test Suite is not at {DATA}")


@dataclass
class Row:
    passed: int = 0
    closed: int = 0
    refused: str = ""


def moved(schema: Any) -> Any:
    """References from a group's root, which becomes the schema of the property `v`."""
    if isinstance(schema, list):
        return [moved(item) for item in schema]
    if not isinstance(schema, dict) or "$id" in schema or isinstance(schema.get("id"), str):
        return schema
    made = {}
    for key, value in schema.items():
        local = key in ("$ref", "$dynamicRef") and isinstance(value, str) and (value == "#" or value[:2] == "#/")
        same = key in ("enum", "const", "default")
        made[key] = f"#/properties/v{value[1:]}" if local else value if same else moved(value)
    return made


def as_arguments(draft: str, schema: Any) -> dict[str, Any]:
    said = DRAFTS[draft]
    if isinstance(schema, dict):
        said = schema.get("$schema", said)
        schema = {key: value for key, value in schema.items() if key != "$schema"}
        if "$recursiveRef" in json.dumps(schema):  # it is of the resource's root
            schema = {"$id": "urn:group", **schema}
    return {"$schema": said, "type": "object", "properties": {"v": moved(schema)}, "required": ["v"]}


def groups(draft: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted((DATA / f"draft{draft}").glob("*.json")):
        for group in json.loads(file.read_text("utf-8")):
            yield file.stem, group


def wrong(arguments: ForeignArguments, tests: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What is judged otherwise than the suite says; and how many values only closing refuses."""
    found, closed = [], 0
    for test in tests:
        try:
            arguments.normalise({"v": test["data"]})
            valid = True
        except Unnamed:  # valid as published
            valid, closed = True, closed + 1
        except InvalidArguments:
            valid = False
        if valid is not test["valid"]:
            found.append(test["description"])
    return found, closed


def judged(draft: str) -> tuple[dict[str, Row], list[str]]:
    rows: dict[str, Row] = {}
    problems = []
    for file, group in groups(draft):
        row = rows.setdefault(file, Row())
        place = f"draft {draft}, {file}: {group['description']}"
        try:
            arguments = ForeignArguments(as_arguments(draft, group["schema"]), "suite")
        except ToolError as error:
            known = [letter for letter, (words, _) in REASONS.items() if words in str(error)]
            row.refused += "".join(known)
            problems += [] if known else [f"{place}: {error}"]
            continue
        bad, closed = wrong(arguments, group["tests"])
        row.passed += not bad
        row.closed += bool(closed)
        problems += [f"{place}: {name}" for name in bad]
    return rows, problems


def table() -> str:
    found = {draft: judged(draft)[0] for draft in DRAFTS}
    files = sorted({file for rows in found.values() for file in rows})
    lines = [f"| file | {' | '.join(f'draft {draft}' for draft in DRAFTS)} |", "|---" * (1 + len(DRAFTS)) + "|"]
    for file in files:
        cells = []
        for draft in DRAFTS:
            row = found[draft].get(file)
            cells.append("" if row is None else " ".join([str(row.passed), *_refusals(row)]))
        lines.append(f"| {file} | {' | '.join(cells)} |")
    sums = []
    for rows in found.values():
        refused = sum(len(row.refused) for row in rows.values())
        sums.append(f"{sum(row.passed for row in rows.values())}, {refused} refused")
    lines.append(f"| **all** | {' | '.join(sums)} |")
    reasons = [f"- {letter}: {words}" for letter, (_, words) in REASONS.items()]
    return "\n".join([*lines, "", "Why a group's schema is refused:", "", *reasons, ""])


def _refusals(row: Row) -> list[str]:
    return [f"{row.refused.count(letter)}{letter}" for letter in sorted(set(row.refused))]


@absent
@pytest.mark.parametrize("draft", DRAFTS)
def test_every_group_of_the_public_suite_passes_or_its_schema_is_refused_with_a_reason(draft: str) -> None:
    rows, problems = judged(draft)
    assert problems == []
    assert sum(row.passed for row in rows.values()) > 140


@absent
def test_the_table_in_the_docs_is_what_the_suite_says() -> None:
    page = PAGE.read_text("utf-8")
    said = page[page.index(BEGIN) + len(BEGIN) : page.index(END)]
    assert said == table(), "write it anew: python tests/core/test_json_schema_suite.py"


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    PAGE.write_text(text[: text.index(BEGIN) + len(BEGIN)] + table() + text[text.index(END) :], "utf-8")
