"""All probes, in the order that the table has them, and how one is run."""

from __future__ import annotations

import inspect
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from remit.probes import (
    activations,
    answers,
    authentic,
    evidence,
    forged,
    grants,
    policies,
    quorum,
    rewritten,
    stops,
    timing,
)
from remit.probes.ground import Ground
from remit.runtime.ambient import System

_MODULES = (policies, rewritten, forged, quorum, timing, answers, grants, stops, activations, evidence, authentic)


@dataclass(frozen=True, slots=True)
class Probe:
    """An attack: `name` is the guarantee, with underscores; `attack` is what is tried."""

    name: str
    attack: str
    part: str
    attempt: Callable[[Ground], Awaitable[None]]

    def ground(self, folder: Path) -> Ground:
        """Returns what the probe is made on, in a new folder."""
        ground = Ground.at(folder)
        ground.stolen = self.part != "authentic"
        return ground

    @property
    def guarantee(self) -> str:
        """The name as a sentence."""
        return self.name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a probe; `why` is empty where Remit held."""

    probe: Probe
    seconds: float
    why: str = ""
    trace: str = ""

    @property
    def held(self) -> bool:
        """Whether the attack failed."""
        return not self.why


def _probes(module: ModuleType) -> list[Probe]:
    part = module.__name__.rpartition(".")[2]
    return [  # in the order of their definition
        Probe(name, inspect.getdoc(one) or "", part, one)
        for name, one in vars(module).items()
        if inspect.iscoroutinefunction(one) and not name.startswith("_") and one.__module__ == module.__name__
    ]


PROBES: tuple[Probe, ...] = tuple(probe for module in _MODULES for probe in _probes(module))


async def attempt(probe: Probe) -> Outcome:
    """Makes the attack in a temporary folder. Whatever is raised is a failure: a broken probe shows nothing."""
    clock = System()
    began = clock.monotonic()
    why = trace = ""
    with tempfile.TemporaryDirectory(prefix="remit-probe-") as folder:
        try:
            await probe.attempt(probe.ground(Path(folder) / "ground"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the guarantee wasn't shown
            why = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            why, trace = why or "it failed without a word", traceback.format_exc()
    return Outcome(probe, clock.monotonic() - began, why, trace)
