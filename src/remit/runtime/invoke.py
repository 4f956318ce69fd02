"""Runs one tool: timeout, tries (tenacity), idempotency key. Only gate.py may import this.

It decides nothing. Whoever calls it has an allow verdict and the intent in the journal already.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import tenacity

from remit.core.canonical import canonical, plain
from remit.core.tools import Limits, Repeat
from remit.core.typed import NOT_DONE, Invocation, Tool
from remit.errors import InvalidArguments, Transient
from remit.logs import get, is_on
from remit.runtime.ambient import Ambient
from remit.runtime.outside import cause, in_task_of_its_own, in_thread_to_its_end, place_of, traceback_of, words
from remit.runtime.secrets import SecretMissing, Secrets
from remit.runtime.whose import belonging_to

_log = get(__name__)
_AGAIN = (TimeoutError, ConnectionError, Transient)


@dataclass(frozen=True, slots=True)
class Invoked:
    """How it ended: `data` (the result's canonical bytes) where `ok`, else the error and its type's name.

    Where it is `ok` and has an error, it ran to a good end, and its result can't be had.

    `doubt` says that nobody knows whether the effect happened, and it must not be tried again by guess.
    """

    ok: bool
    data: bytes = b""
    error: str = ""
    cause: str = ""
    attempts: int = 1
    milliseconds: int = 0
    doubt: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether it ran to a good end, and `data` is its result."""
        return self.ok and not self.cause


class Invoker:
    """Holds the tools' callables."""

    def __init__(
        self, tools: Mapping[str, Tool[..., Any]], ambient: Ambient, secrets: Secrets, largest: int = Limits().result
    ) -> None:
        self._tools = tools
        self._largest = largest
        self._secrets = secrets
        self._ambient = ambient

    async def invoke(self, name: str, args: Mapping[str, object], invocation: Invocation) -> Invoked:
        """Runs the tool on exactly these arguments, and again on a passing failure where it permits.

        Cancellation goes through: what was running is then in doubt.
        """
        tool = self._tools[name]
        begun = self._ambient.monotonic()
        attempts = 0
        try:
            bound = [tool.arguments.bind(args)]
        except InvalidArguments as error:  # its validators have changed their mind since it was decided
            return Invoked(False, error=f"it did not run: {error}", cause="InvalidArguments", attempts=0)
        try:
            invocation = replace(invocation, secrets=await self._secrets.of(tool.secrets))
        except SecretMissing as error:
            return Invoked(False, error=str(error), cause="SecretMissing", milliseconds=self._since(begun))

        async def once() -> object:
            nonlocal attempts
            attempts += 1
            given = replace(invocation, attempt=invocation.attempt + attempts - 1)
            # From the committed bytes, anew each time: what an attempt does to its arguments, the next doesn't see.
            return await self._limited(tool, tool.function, given, bound.pop() if bound else tool.arguments.bind(args))

        try:
            value = await (self._tries(tool)(once) if tool.spec.attempts > 1 else once())
            data = self._kept(tool, value)  # outside the tries: it has run, whatever is wrong with what it returned
        except _Lost as error:
            spent = self._since(begun)
            return Invoked(True, error=str(error), cause="ResultLost", attempts=attempts, milliseconds=spent)
        except Exception as error:  # noqa: BLE001 - a tool may raise anything; whatever it is, it is journaled
            self._tell("tool failed", tool, error)
            return Invoked(
                False,
                error=words(error, self._secrets.out_of),
                cause=self._secrets.out_of(cause(error)),
                attempts=attempts,
                milliseconds=self._since(begun),
                doubt=isinstance(error, TimeoutError) and tool.spec.repeat is Repeat.ONCE,
            )
        return Invoked(True, data=data, attempts=attempts, milliseconds=self._since(begun))

    async def probe(self, name: str, args: Mapping[str, object], invocation: Invocation) -> Invoked | None:
        """Asks the tool whether the call with this key has happened.

        Returns:
            Its result where it has; None where it has not; an `Invoked` in doubt where it can't say.
        """
        tool = self._tools[name]
        if tool.probe is None:
            return Invoked(False, error="it has no probe", doubt=True)
        clean = self._secrets.out_of
        try:
            invocation = replace(invocation, secrets=await self._secrets.of(tool.secrets))
            value = await self._limited(tool, tool.probe, invocation, tool.arguments.bind(args))
            return None if value is NOT_DONE else Invoked(True, data=self._kept(tool, value))
        except Exception as error:  # noqa: BLE001 - a probe may raise anything; then nobody knows
            self._tell("probe failed", tool, error)
            return Invoked(
                False, error=f"its probe failed: {words(error, clean)}", cause=clean(cause(error)), doubt=True
            )

    def _kept(self, tool: Tool[..., Any], value: object) -> bytes:
        """Returns the bytes of a result. Raises _Lost: the tool has run, whatever is wrong with what it returned."""
        try:
            data = self._clean(tool, tool.results.dump(value))
        except Exception as error:
            clean = self._secrets.out_of
            raise _Lost(f"what it returned can't be kept: {words(error, clean)}") from error
        if len(data) > self._largest:
            raise _Lost(f"what it returned has {len(data):,} bytes as JSON, and at most {self._largest:,} are kept")
        return data

    def _clean(self, tool: Tool[..., Any], data: bytes) -> bytes:
        """Returns a result without the secrets that are in it. Raises ValueError where it is no result then."""
        value = plain(data)
        cleaned = self._secrets.out_of_value(value)
        if cleaned == value:
            return data
        found = canonical(cleaned)
        try:
            tool.results.load(found)
        except ValueError:
            raise ValueError("there is a secret in it, and without it it is no result") from None
        return found

    async def _limited(
        self,
        tool: Tool[..., Any],
        function: Callable[..., Any],
        invocation: Invocation,
        bound: dict[str, object],
    ) -> object:
        call = partial(function, *((invocation,) if tool.wants_invocation else ()), **bound)
        async with self._ambient.timeout(tool.spec.timeout) as limit:
            if inspect.iscoroutinefunction(function):
                return await in_task_of_its_own(f"tool {tool.name}", partial(belonging_to, None, call), limit)
            return await in_thread_to_its_end(call, limit)

    def _tries(self, tool: Tool[..., Any]) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(tool.spec.attempts),
            wait=tenacity.wait_exponential(multiplier=0.1, max=10),
            retry=tenacity.retry_if_exception_type((*_AGAIN, *tool.retry_on)),
            sleep=self._ambient.sleep,
            reraise=True,
        )

    def _tell(self, event: str, tool: Tool[..., Any], error: Exception) -> None:
        """Into the log goes the traceback, without the secrets that were handed out; into the journal it never does."""
        if is_on("info"):
            place, trace = place_of(error), traceback_of(error, self._secrets.out_of)
            _log.info(event, tool=tool.name, cause=self._secrets.out_of(cause(error)), at=place, traceback=trace)

    def _since(self, begun: float) -> int:
        return int((self._ambient.monotonic() - begun) * 1000)


class _Lost(Exception):
    """The tool ran, but its result can't be kept."""
