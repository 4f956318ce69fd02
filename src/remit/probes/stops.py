"""Workers that are killed: `python -m remit.probes.lives` dies at each append, and finishes in another life."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import remit
from remit.probes.ground import Ground, expect


async def a_kill_at_any_append_repeats_no_effect_and_forgets_no_ruling(ground: Ground) -> None:
    """kill -9 just before and just after every commit of the flow: start, ask, rule, resume, effect, settle"""
    unharmed, *lives = await _lives(ground, "appends")
    expect(unharmed["effects"] == 1 and unharmed["said"] == "done", f"unharmed it doesn't work: {unharmed}")
    expect(len(lives) >= 10, f"only {len(lives)} kills: the flow has more appends than that")
    for life in lives:
        expect(life["effects"] == 1, f"killed {life['killed']}, the effect happened {life['effects']} times")
        expect(life["said"] == "done", f"killed {life['killed']}, the run ended {life['said']}")
        expect(life["rulings"] == 1, f"killed {life['killed']}, it was ruled on {life['rulings']} times")
        expect(life["verifies"], f"killed {life['killed']}, the journal doesn't verify")


async def a_kill_between_effect_and_settlement_is_never_settled_by_guess(ground: Ground) -> None:
    """kill -9 inside the tool, after its effect and before its record; the tool may run once, or has a key"""
    for life in await _lives(ground, "effects"):
        expect(life["effects"] == 1, f"{life['killed']}: the effect happened {life['effects']} times")
        wanted = "done" if life["killed"] == "keyed" else "waiting"
        expect(life["said"] == wanted, f"{life['killed']}: nobody knows whether it happened, and it is {life['said']}")
        expect(life["verifies"], f"{life['killed']}: the journal doesn't verify")


async def _lives(ground: Ground, what: str) -> list[dict[str, Any]]:
    """Runs the lives in a process of their own, which forks; returns what came of each."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "remit.probes.lives", str(ground.folder), what,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(remit.__file__).parents[1]), "REMIT_LOG_LEVEL": "error"},
    )  # fmt: skip
    out, errors = await process.communicate()
    expect(process.returncode == 0, f"the lives came to no end: {errors.decode(errors='replace')[-2000:]}")
    return [json.loads(line) for line in out.splitlines()]
