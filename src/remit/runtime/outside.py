"""What code that isn't ours does: tools, agents and fact providers may block, and may raise anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST = 2_000
"""Characters of an error's words that are kept."""


async def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs a function that blocks, without blocking the loop."""

    def run() -> R:
        try:
            return function(*args, **kwargs)
        except StopIteration as error:  # a future can't carry one: whoever waits for it would wait for ever
            raise RuntimeError("it raised StopIteration") from error

    return await asyncio.to_thread(run)


def words(error: BaseException) -> str:
    """Returns what an error says, fit for the journal: its type's name where it says nothing, or can't."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - an error whose text can't be had is still an error
        said = ""
    return _printable(said[:_LONGEST]) or cause(error)


def cause(error: BaseException) -> str:
    """Returns the name of an error's type, fit for an entry."""
    return _printable(type(error).__name__[:128])


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
