"""For other programs: problems as SARIF 2.1.0, cases as JUnit XML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from remit.errors import Problem
from remit.policykit.cases import Played

SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULE = "policy-does-not-load"


def problem_row(problem: Problem) -> dict[str, Any]:
    """Returns a problem as JSON; a line or column of 0 isn't known."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "hint": problem.hint,
        "snippet": problem.snippet,
    }


def sarif(problems: Sequence[Problem], version: str) -> dict[str, Any]:
    """Returns a SARIF 2.1.0 log of what is wrong; without problems it has no results."""
    rule = {
        "id": _RULE,
        "shortDescription": {"text": "The policy set doesn't load: nothing would run under it."},
        "defaultConfiguration": {"level": "error"},
    }
    driver = {"name": "remit policy check", "version": version, "rules": [rule]}
    return {
        "$schema": SARIF,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                # Columns count characters of Unicode, as everywhere in Remit.
                "columnKind": "unicodeCodePoints",
                "results": [_result(problem) for problem in problems],
            }
        ],
    }


def _result(problem: Problem) -> dict[str, Any]:
    text = problem.message + (f": {problem.hint}" if problem.hint else "")
    result: dict[str, Any] = {"ruleId": _RULE, "ruleIndex": 0, "level": "error", "message": {"text": text}}
    if problem.file:
        place: dict[str, Any] = {"artifactLocation": {"uri": quote(problem.file.replace("\\", "/"))}}
        if problem.line:
            place["region"] = {"startLine": problem.line, "startColumn": max(problem.column, 1)}
        result["locations"] = [{"physicalLocation": place}]
    return result


_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(played: Sequence[Played]) -> str:
    """Returns the cases as JUnit XML, a suite for each file."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    failed = sum(not one.passed for one in played)
    lines.append(f'<testsuites name="remit policy test" tests="{len(played)}" failures="{failed}">')
    for file in dict.fromkeys(one.case.source.name for one in played):
        cases = [one for one in played if one.case.source.name == file]
        bad = sum(not one.passed for one in cases)
        lines.append(f'  <testsuite name={_attribute(file)} tests="{len(cases)}" failures="{bad}">')
        for one in cases:
            lines += _testcase(one)
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _testcase(one: Played) -> list[str]:
    line = one.case.place.rpartition(":")[2]
    head = f"    <testcase classname={_attribute(one.case.source.name)} name={_attribute(one.case.name)}"
    head += f" file={_attribute(one.case.source.name)} line={_attribute(line)}"
    if one.passed:
        return [head + "/>"]
    words = [f"{found.what}: expected {found.expected}, found {found.found}" for found in one.differences]
    body = escape(_UNFIT.sub("\ufffd", "\n".join(words)))
    return [head + ">", f"      <failure message={_attribute(words[0])}>{body}</failure>", "    </testcase>"]


def _attribute(text: str) -> str:
    return quoteattr(_UNFIT.sub("\ufffd", text))
