"""The probes of `python -m remit.probes`, one test for each, and the command itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from remit.probes import __main__ as command
from remit.probes.ground import Ground, expect
from remit.probes.suite import PROBES, Probe


@pytest.mark.parametrize("probe", PROBES, ids=[probe.name for probe in PROBES])
async def test_that(probe: Probe, tmp_path: Path) -> None:
    await probe.attempt(probe.ground(tmp_path / "ground"))


async def _breaks(_: Ground) -> None:
    raise OSError("no space left")


async def _wins(_: Ground) -> None:
    expect(False, "it ran\x1b[2J")


async def _fails(_: Ground) -> None:
    expect(True, "it ran")


def test_the_command_says_which_attacks_got_through_and_a_probe_that_breaks_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [Probe(attempt.__name__.strip("_"), "an attack", "made", attempt) for attempt in (_breaks, _wins, _fails)]
    monkeypatch.setattr(command, "PROBES", made)
    ended = CliRunner().invoke(command.probes, ["--json"])
    rows = {row["name"]: (row["held"], row["why"]) for row in json.loads(ended.stdout)}
    assert rows == {
        "breaks": (False, "OSError: no space left"), "wins": (False, "it ran\x1b[2J"), "fails": (True, ""),
    }  # fmt: skip
    assert ended.exit_code == 1
    ended = CliRunner().invoke(command.probes, ["made"])
    assert "FAILED" in ended.stdout and "1 of 3 attacks failed to get through" in ended.stdout
    assert "\x1b" not in ended.output
    assert CliRunner().invoke(command.probes, ["fails"]).exit_code == 0
    assert CliRunner().invoke(command.probes, ["nosuch"]).exit_code == 2


def test_the_page_has_every_probe_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "probes.md").read_text(encoding="utf-8")
    page = page[page.index("## What is tried") : page.index("## What they found")]
    rows = [line.split(" | ")[1:] for line in page.splitlines() if line.startswith("|") and line.count(" | ") == 2]
    assert [(row[0], row[1].removesuffix(" |")) for row in rows[1:]] == [
        (probe.guarantee, probe.attack) for probe in PROBES
    ]
