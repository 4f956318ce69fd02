"""What mypy says of code that uses Remit: one run for all snippets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import remit

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    source = Path(remit.__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--show-error-codes", "--config-file=",
         f"--cache-dir={tmp_path_factory.getbasetemp().parent / 'mypy'}", "--ignore-missing-imports",
         "--follow-imports=silent", "right.py", "wrong.py"],
        cwd=HERE,
        env={**os.environ, "MYPYPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert found.stderr == ""
    return found.stdout.splitlines()


@pytest.mark.timeout(120)
def test_right_calls_are_right_and_give_the_type_the_tool_returns(said: list[str]) -> None:
    ours = [line for line in said if line.startswith("right.py")]
    assert [line for line in ours if ": error:" in line] == []
    revealed = [
        re.sub(r"builtins\.", "", match[1]) for line in ours if (match := re.search(r'Revealed type is "(.*)"', line))
    ]
    assert revealed[:4] == ["int", "int", "list[str]", "list[int]"]
    assert len(revealed) == 5


@pytest.mark.timeout(120)
def test_wrong_arguments_and_names_are_errors_where_they_are_written(said: list[str]) -> None:
    expected = {
        (number, match[1])
        for number, line in enumerate((HERE / "wrong.py").read_text().splitlines(), 1)
        if (match := re.search(r"# E: ([\w-]+)$", line))
    }
    matches = (re.match(r"wrong\.py:(\d+): error: .*\[([\w-]+)\]$", line) for line in said)
    assert {(int(match[1]), match[2]) for match in matches if match} == expected
