"""Guarantee 13 at full length: the payables example, killed at each of its appends, before and after COMMIT."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import remit

HERE = Path(__file__).parent
PARTS = 2


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: a killed process loses nothing that its kernel has."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_crash_at_any_append_loses_no_acknowledged_entry_and_repeats_no_settled_effect(
    memory: Path, part: int
) -> None:
    paths = (Path(remit.__file__).parents[1], HERE.parent / "runtime")
    found = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "payables_victim.py"), str(memory), str(part), str(PARTS)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "REMIT_LOG_LEVEL": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-2_000:] + found.stderr[-4_000:]
    unharmed, *others = map(json.loads, found.stdout.splitlines())
    assert unharmed["status"] == "done"
    assert len(unharmed["paid"]) == unharmed["output"]["paid"] == 2
    assert unharmed["counts"]["review.consumed"] >= 1
    assert len(others) >= 2 * 25 / PARTS  # each append, before and after
    for other in others:
        assert other["lost"] == []
        assert other["problems"] == []
        assert other["paid"] == unharmed["paid"]
        assert other["output"] == unharmed["output"]
        assert other["effects"] == unharmed["effects"]
        # Every call was decided once, settled once and every approval used once, however often it was begun.
        for kind in ("call.decided", "call.settled", "call.decided_again", "call.refused", "review.consumed",
                     "task.finished", "task.started", "run.finished"):  # fmt: skip
            assert other["counts"].get(kind) == unharmed["counts"].get(kind), kind
