"""The fixtures of the command line's tests."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shops import HISTORY, SHOP, Shell, environment


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings from outside; the logs as they were."""
    for name in [*os.environ]:
        if name.startswith("REMIT_") or name == "COLUMNS":
            monkeypatch.delenv(name)
    root = logging.getLogger("remit")
    before = (root.handlers, root.level, root.propagate)
    yield
    root.handlers, root.level, root.propagate = before


@pytest.fixture
def remit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Shell]:
    """The command line in a folder."""
    return lambda folder: Shell(folder, capsys, monkeypatch)


@pytest.fixture
def shell(remit: Callable[[Path], Shell], tmp_path: Path) -> Shell:
    """The command line in a new shop."""
    made = remit(tmp_path)
    made.write(SHOP)
    return made


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop in which much has happened: for looking only."""
    folder = tmp_path_factory.mktemp("shop")
    shell = Shell(folder, None, None)  # type: ignore[arg-type]  # it only runs processes
    shell.write(SHOP)
    shell.write({"history.py": HISTORY})
    done = subprocess.run(
        [sys.executable, "history.py"], cwd=folder, env=environment(), capture_output=True, encoding="utf-8",
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder
