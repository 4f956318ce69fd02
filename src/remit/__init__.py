"""Remit: governed agent orchestration. An agent acts within its remit, or it does not act.

The public names; nothing else happens here. Each is imported when it is first used, so `import remit` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remit.core.detectors import Detector, Finding, Places, Report, texts
    from remit.core.entries import Outcome
    from remit.core.graph import Agent, FactProvider, FactRequest, Graph, Task, agent, fact
    from remit.core.tools import Effect, Limits, Repeat, ToolSpec
    from remit.core.typed import NOT_DONE, Invocation, Tool, foreign_tool, tool
    from remit.errors import Denied, InvalidArguments, PolicyError, RemitError, ResultLost, ToolFailed, Transient
    from remit.runtime.app import Runtime
    from remit.runtime.context import Context
    from remit.runtime.scheduler import RunReport

_HOMES = {
    "remit.core.detectors": ("Detector", "Finding", "Places", "Report", "texts"),
    "remit.core.entries": ("Outcome",),
    "remit.core.graph": ("Agent", "FactProvider", "FactRequest", "Graph", "Task", "agent", "fact"),
    "remit.core.tools": ("Effect", "Limits", "Repeat", "ToolSpec"),
    "remit.core.typed": ("NOT_DONE", "Invocation", "Tool", "foreign_tool", "tool"),
    "remit.errors": (
        "Denied",
        "InvalidArguments",
        "PolicyError",
        "RemitError",
        "ResultLost",
        "ToolFailed",
        "Transient",
    ),
    "remit.runtime.app": ("Runtime",),
    "remit.runtime.context": ("Context",),
    "remit.runtime.scheduler": ("RunReport",),
}
__version__: str
"""The version that is installed, as in CHANGELOG.md."""

_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "NOT_DONE",
    "Agent",
    "Context",
    "Denied",
    "Detector",
    "Effect",
    "FactProvider",
    "FactRequest",
    "Finding",
    "Graph",
    "InvalidArguments",
    "Invocation",
    "Limits",
    "Outcome",
    "Places",
    "PolicyError",
    "RemitError",
    "Repeat",
    "Report",
    "ResultLost",
    "RunReport",
    "Runtime",
    "Task",
    "Tool",
    "ToolFailed",
    "ToolSpec",
    "Transient",
    "agent",
    "fact",
    "foreign_tool",
    "texts",
    "tool",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("remit")
    if name not in _HOME:
        raise AttributeError(f"module `remit` has no attribute `{name}`")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
