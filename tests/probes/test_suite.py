"""The probes of `python -m remit.probes`, one test for each, and the command itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from remit.probes import __main__ as command
from remit.probes import suite
from remit.probes.ground import Ground
from remit.probes.suite import PROBES, Probe


@pytest.mark.parametrize("probe", PROBES, ids=[probe.name for probe in PROBES])
async def test_that(probe: Probe, tmp_path: Path) -> None:
    await probe.attempt(Ground.at(tmp_path / "ground"))
