"""What is found out about a call before it is decided, and what deciding it gave."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from remit.core.canonical import canonical, plain
from remit.core.entries import Outcome
from remit.core.facts import Facts
from remit.core.graph import FactProvider, FactRequest
from remit.core.obliging import Obliged
from remit.core.tools import ToolSpec
from remit.logs import get
from remit.runtime.counterbook import NOTHING, Counting
from remit.runtime.drafts import Ask
from remit.runtime.guards import Looked
from remit.runtime.outside import cause, in_task_of_its_own, in_thread, words
from remit.runtime.registry import Registry
from remit.runtime.stream import RunStream
from remit.runtime.whose import belonging_to

_PROVIDER_SECONDS = 30.0
_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out about a call with these arguments before it is decided."""

    args: Mapping[str, object]
    values: Mapping[str, object]
    looked: Looked
    counting: Counting = NOTHING


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided, and on what: the facts of the call as it runs and, where that differs, as it was `asked`.

    Attributes:
        found: where guardrails found something in what was asked for.
        seen: what was found out about the call as it runs.
    """

    obliged: Obliged
    facts: Facts
    document: Mapping[str, object]
    found: Sequence[Mapping[str, object]]
    seen: Seen
    asked: Mapping[str, object] | None = None

    @property
    def escalates(self) -> bool:
        """Whether people would be asked."""
        return self.obliged.verdict.outcome is Outcome.ESCALATE


async def ask_providers(
    registry: Registry, stream: RunStream, ask: Ask, tool: ToolSpec, args: Mapping[str, object]
) -> dict[str, object]:
    """Asks the fact providers; one that fails is absent, and rules that look at it are in error."""
    values: dict[str, object] = {}
    for provider in registry.facts_for(tool.name):
        # Each has a copy of its own: what a provider does to it, then or later, changes neither the call nor a verdict.
        own = plain(canonical(args))
        request = FactRequest(tool.name, own, ask.agent, stream.state.started.principal, stream.state.run)
        try:
            async with stream.ambient.timeout(_PROVIDER_SECONDS):
                values[provider.name] = plain(provider.value.dump(await _provide(provider, request)))
        except Exception as error:  # noqa: BLE001 - a provider may raise anything; the fact is then absent
            _log.warning("fact failed", fact=provider.name, error=f"{cause(error)}: {words(error)}")
    return values


async def _provide(provider: FactProvider, request: FactRequest) -> object:
    if inspect.iscoroutinefunction(provider.function):
        work = partial(belonging_to, None, partial(provider.function, request))
        return await in_task_of_its_own(f"fact {provider.name}", work)
    return await in_thread(provider.function, request)
