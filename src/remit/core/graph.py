"""Graph: an immutable, validated DAG of tasks; its ready set.

A task runs one agent, an async function `(ctx, input) -> output`. What its input is follows from how it
hangs in the graph: the run's input where it depends on nothing; the output of the task it depends on; an
object of outputs by task id where it depends on several; one item where it runs `over` a list. A task
over a list is a fan-out: `task[0]`, `task[1]`, …; depending on it is the join, and gives the list of outputs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import networkx as nx

from remit.core.canonical import canonical, digest_bytes
from remit.core.detectors import Detector
from remit.core.identity import spelt, unfit
from remit.core.tools import NAME
from remit.core.typed import Results, Tool, results_of, signature_of
from remit.errors import GraphError

AgentFunction = Callable[..., Awaitable[Any]]
_TASK = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Agent:
    """An async function `(ctx, input) -> output` (or `(ctx) -> output`), by name and version."""

    name: str
    version: str
    function: AgentFunction

    @cached_property
    def takes_input(self) -> bool:
        """Whether the function has a second parameter."""
        return len(self._signature.parameters) > 1

    @cached_property
    def input(self) -> Results[Any]:
        """Reads the input as the second parameter's annotation says."""
        return results_of(list(self._signature.parameters.values())[1].annotation, f"agent `{self.name}`: its input")

    @cached_property
    def output(self) -> Results[Any]:
        """Writes and reads the output as the return annotation says."""
        return results_of(self._signature.return_annotation, f"agent `{self.name}`: its output")

    @cached_property
    def _signature(self) -> inspect.Signature:
        return signature_of(self.function, f"agent `{self.name}`")


def agent(*, name: str | None = None, version: str = "1") -> Callable[[AgentFunction], Agent]:
    """Gives an agent function a name and a version of its own; a plain function is version 1."""
    return lambda function: Agent(name or function.__name__, version, function)


@dataclass(frozen=True)
class FactRequest:
    """What a fact provider is asked about: the call as it will be decided.

    Attributes:
        args: the validated arguments as plain JSON values: a copy of the provider's own. Changing it changes nothing.
    """

    tool: str
    args: Mapping[str, Any]
    agent: str
    principal: str
    run: str


@dataclass(frozen=True)
class FactProvider:
    """A function `(request) -> value`, sync or async, asked before each decision on `tools`.

    Its value is recorded and stands in conditions as `facts.<name>`. If it raises, the fact is absent, and
    a rule that looks at it is in error: stricter, never looser.
    """

    name: str
    tools: tuple[str, ...]
    function: Callable[[FactRequest], Any]

    def __post_init__(self) -> None:
        """Raises ToolError where its value has no type, or one that can't be kept as it is."""
        _ = self.value

    @cached_property
    def value(self) -> Results[Any]:
        """Writes the value as the return annotation says."""
        place = f"fact `{self.name}`"
        return results_of(signature_of(self.function, place).return_annotation, f"{place}: its value")


def fact(
    *, tools: Iterable[Tool[..., Any]], name: str | None = None
) -> Callable[[Callable[[FactRequest], Any]], FactProvider]:
    """Makes a fact provider of a typed function `(request: FactRequest) -> value`."""
    names = tuple(tool.name for tool in tools)
    return lambda function: FactProvider(name or function.__name__, names, function)


@dataclass(frozen=True)
class Task:
    """One node of a graph.

    Attributes:
        after: ids of the tasks whose outputs it needs.
        over: id of the task whose output is a list; the task runs once for each item.
        limit: how many of a fan-out run at once; None for as many as the graph permits.
    """

    id: str
    agent: Agent | AgentFunction
    after: Sequence[str] | str = ()
    over: str | None = None
    limit: int | None = None

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """Ids of all the tasks that must be done first, `over` included."""
        after = (self.after,) if isinstance(self.after, str) else tuple(self.after)
        return tuple(dict.fromkeys((*after, self.over) if self.over else after))

    @cached_property
    def runs(self) -> Agent:
        """The agent."""
        return self.agent if isinstance(self.agent, Agent) else Agent(self.agent.__name__, "1", self.agent)


class Graph:
    """A named, validated, immutable DAG of tasks, with the tools and fact providers they may use.

    Its `detectors` are those of the user's own that `guardrails.yaml` may name. Its runs follow the
    policy set in force, or are `pinned` to the one they were started with.

    Raises:
        GraphError: no task, a duplicate or unusable id, an unknown name, a cycle, two tools of one name,
            an agent that isn't an async function with annotations, or a limit below 1.
    """

    def __init__(
        self,
        name: str,
        tasks: Iterable[Task],
        *,
        tools: Iterable[Tool[..., Any]] = (),
        facts: Iterable[FactProvider] = (),
        detectors: Iterable[Detector[Any]] = (),
        limit: int = 16,
        policies: Literal["following", "pinned"] = "following",
    ) -> None:
        self.name = name
        self.place = f"graph `{name}`"
        if not NAME.fullmatch(name):
            raise GraphError(f"{self.place}: a name is letters, digits, `_`, `-` and `.`, no digit first")
        if limit < 1:
            raise GraphError(f"{self.place}: limit {limit}: at least one task must be able to run")
        if policies not in ("following", "pinned"):
            raise GraphError(f"{self.place}: policies `{policies}`: a run is `following` or `pinned`")
        self.limit = limit
        self.policies = policies
        self.tasks = self._unique("task", ((task.id, task) for task in tasks))
        self.tools = self._unique("tool", ((tool.name, tool) for tool in tools))
        self.facts = self._unique("fact", ((provider.name, provider) for provider in facts))
        self.detectors = self._unique("detector", ((detector.name, detector) for detector in detectors))
        if not self.tasks:
            raise GraphError(f"{self.place}: it has no task")
        for task in self.tasks.values():
            self._check(task)
        for provider in self.facts.values():
            for tool in provider.tools:
                if tool not in self.tools:
                    raise GraphError(
                        f"{self.place}: fact `{provider.name}`: tool `{tool}` is not one of the graph's tools"
                    )
        self._dag: nx.DiGraph[str] = nx.DiGraph()
        self._dag.add_nodes_from(self.tasks)
        self._dag.add_edges_from((need, task.id) for task in self.tasks.values() for need in task.needs)
        if not nx.is_directed_acyclic_graph(self._dag):
            cycle = [edge[0] for edge in nx.find_cycle(self._dag)]
            raise GraphError(f"{self.place}: a cycle: {' -> '.join([*cycle, cycle[0]])}")

    def _unique(self, kind: str, items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, item in items:
            if name in found:
                raise GraphError(f"{self.place}: two {kind}s are called `{name}`: an id is unique")
            found[name] = item
        return found

    def _check(self, task: Task) -> None:
        place = f"{self.place}: task `{task.id}`"
        if not _TASK.fullmatch(task.id):
            raise GraphError(f"{place}: an id is lowercase letters, digits, `_` and `-`, at most 64, a letter first")
        for need in task.needs:
            if need not in self.tasks:
                raise GraphError(
                    f"{place}: it depends on `{need}`, which is not a task; there are {_names(self.tasks)}"
                )
        if task.limit is not None and task.limit < 1:
            raise GraphError(f"{place}: limit {task.limit}: at least one must be able to run")
        if task.limit is not None and task.over is None:
            raise GraphError(f"{place}: limit without `over`: only a fan-out has a limit of its own")
        function = task.runs.function
        if not inspect.iscoroutinefunction(function):
            raise GraphError(f"{place}: agent `{task.runs.name}` is not an async function")
        if why := unfit(task.runs.name):
            raise GraphError(f"{place}: agent `{spelt(task.runs.name)}` can't have this name: {why}")
        if not 1 <= len(inspect.signature(function).parameters) <= 2:
            raise GraphError(f"{place}: agent `{task.runs.name}` takes `(ctx)` or `(ctx, input)`")
        _ = task.runs.output, task.runs.takes_input and task.runs.input

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Task ids such that each comes after those it needs; the same order every time."""
        return tuple(nx.lexicographical_topological_sort(self._dag))

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """The tasks nobody depends on: their outputs are the run's."""
        return tuple(name for name in self.order if self._dag.out_degree(name) == 0)

    def document(self) -> dict[str, object]:
        """Returns the graph as JSON: what its digest is over."""
        pinned = {"policies": self.policies} if self.policies == "pinned" else {}
        return {
            **pinned,
            "name": self.name,
            "tasks": [
                {
                    "id": task.id,
                    "agent": task.runs.name,
                    "version": task.runs.version,
                    "after": sorted(task.needs),
                    "over": task.over or "",
                }
                for task in (self.tasks[name] for name in self.order)
            ],
        }

    @cached_property
    def bytes(self) -> bytes:
        """The canonical bytes of `document()`."""
        return canonical(self.document())

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over `bytes`: a run is only resumed on the graph it was started on."""
        return digest_bytes(self.bytes)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
