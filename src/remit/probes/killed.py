"""Starts the lives that end by kill -9."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import remit
from remit.probes.ground import Ground, expect


async def lives(ground: Ground, what: str) -> list[dict[str, Any]]:
    """Runs the lives in a process of their own, which forks; returns what came of each."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "remit.probes.lives", str(ground.folder), what,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(remit.__file__).parents[1]), "REMIT_LOG_LEVEL": "error"},
    )  # fmt: skip
    out, errors = await process.communicate()
    expect(process.returncode == 0, f"the lives came to no end: {errors.decode(errors='replace')[-2000:]}")
    return [json.loads(line) for line in out.splitlines()]
