"""What code that isn't ours does: tools, agents and fact providers may block, and may raise anything."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST = 2_000
"""Characters of an error's words that are kept."""


async def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs a function that blocks, without blocking the loop."""
    return await asyncio.to_thread(_contained, partial(function, *args, **kwargs))


async def in_thread_of_its_own(function: Callable[[], R]) -> R:
    """Runs a function that blocks in a thread that nobody waits for: one that never ends keeps no pool's place, and
    doesn't keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def tell(how: Callable[[], None]) -> None:
        if not future.done():
            how()

    def run() -> None:
        try:
            found = _contained(function)
        except BaseException as error:  # noqa: BLE001 - whatever it raises, whoever waits is told
            said = error
            how: Callable[[], None] = lambda: future.set_exception(said)  # noqa: E731 - two ways to say it
        else:
            how = lambda: future.set_result(found)  # noqa: E731
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, how)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True, name="remit-look").start()
    return await future


async def in_thread_to_its_end(function: Callable[[], R], limit: asyncio.Timeout) -> R:
    """Runs a function that blocks, and waits for it even where that is cancelled, unless `limit` has run out.

    Nothing stops a thread. If a run were let go of while a tool's effect is still happening, whoever takes it
    over would ask the tool's probe too early, and do the effect again.
    """
    context = contextvars.copy_context()
    future = asyncio.get_running_loop().run_in_executor(None, partial(context.run, _contained, function))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if not limit.expired():
            await asyncio.wait([future])
        raise


def _contained(function: Callable[[], R]) -> R:
    try:
        return function()
    except StopIteration as error:  # a future can't carry one: whoever waits for it would wait for ever
        raise RuntimeError("it raised StopIteration") from error


def words(error: BaseException, clean: Callable[[str], str] = str) -> str:
    """Returns what an error says, fit for the journal: its type's name where it says nothing, or can't.

    Args:
        clean: takes out what may not be told, before the text is cut: half a secret is one too.
    """
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - an error whose text can't be had is still an error
        said = ""
    return _printable(clean(said)[:_LONGEST]) or clean(cause(error))


def cause(error: BaseException) -> str:
    """Returns the name of an error's type, fit for an entry."""
    return _printable(type(error).__name__[:128])


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
