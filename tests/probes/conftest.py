"""The fixture that everything here begins with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from worlds import Faults, World, writer_faults


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world in which everything is allowed, until a test says otherwise."""
    return World(tmp_path).policy(allow="true")


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    with writer_faults(monkeypatch) as found:
        yield found
