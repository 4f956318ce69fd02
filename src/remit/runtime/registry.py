"""Tools, agents and fact providers by name: an object, never a module global.

It hands out names, specs and validators. The callables behind the tools go to `invoke` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from remit.core.canonical import canonical
from remit.core.detectors import Detector
from remit.core.facts import root_types
from remit.core.graph import FactProvider, Graph
from remit.core.tools import JsonSchema, ToolSpec
from remit.core.typed import Tool
from remit.errors import GraphError

Findings = Callable[[str], Mapping[str, JsonSchema]]
"""From a tool's name to the types of what guardrails say of its arguments."""


def _none(_: str) -> Mapping[str, JsonSchema]:
    return {}


class Registry:
    """Everything the graphs of an app name.

    Raises:
        GraphError: two graphs of one name, or two different tools or facts of one name.
    """

    def __init__(self, graphs: Iterable[Graph]) -> None:
        self._graphs: dict[str, Graph] = {}
        self._tools: dict[str, Tool[..., Any]] = {}
        self._facts: dict[str, FactProvider] = {}
        self.detectors: dict[str, Detector[Any]] = {}
        """The graphs' own detectors, by name."""
        for graph in graphs:
            _add(self._graphs, graph.name, graph, "graphs")
            for tool in graph.tools.values():
                _add(self._tools, tool.name, tool, "tools")
            for provider in graph.facts.values():
                _add(self._facts, provider.name, provider, "facts")
            for detector in graph.detectors.values():
                _add(self.detectors, detector.name, detector, "detectors")

    @property
    def tools(self) -> Mapping[str, Tool[..., Any]]:
        """Every tool by name."""
        return self._tools

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Every tool's spec."""
        return tuple(tool.spec for tool in self._tools.values())

    @property
    def graphs(self) -> Mapping[str, Graph]:
        """Every graph by name."""
        return self._graphs

    def facts_for(self, tool: str) -> tuple[FactProvider, ...]:
        """Returns the providers to ask before a decision on `tool`."""
        return tuple(provider for provider in self._facts.values() if tool in provider.tools)

    def types(self, findings: Findings = _none) -> bytes:
        """Returns what policies are checked against, canonical: every tool's spec, and its facts and findings."""
        rows: dict[str, object] = {}
        for tool in self._tools.values():
            facts = {fact.name: dict(fact.value.schema) for fact in self.facts_for(tool.name)}
            rows[tool.name] = {"spec": tool.spec.document(), "facts": facts}
            if seen := findings(tool.name):
                rows[tool.name] = {"spec": tool.spec.document(), "facts": facts, "findings": dict(seen)}
        return canonical(rows)

    def root_types(self, tool: ToolSpec, findings: Findings = _none) -> dict[str, JsonSchema]:
        """Returns the types of the names that conditions on `tool` can see."""
        facts = {fact.name: fact.value.schema for fact in self.facts_for(tool.name)}
        return root_types(tool, facts, findings(tool.name))


def _add(found: dict[str, Any], name: str, item: object, kind: str) -> None:
    if found.setdefault(name, item) is not item:
        raise GraphError(f"two different {kind} are called `{name}`: a name means one thing")
