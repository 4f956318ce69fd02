"""Whose code runs here: the context that belongs to it, which no other code may use.

A context belongs to the agent, or the branch, that was given it, and to the asyncio tasks and threads which that starts
itself. Tools, fact providers and guardrails belong to nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar

R = TypeVar("R")
_HERE: ContextVar[object | None] = ContextVar("remit_context", default=None)


def belongs_here(context: object) -> bool:
    """Whether the running code may use this context."""
    return _HERE.get() is context


async def belonging_to(context: object | None, work: Callable[[], Awaitable[R]]) -> R:
    """Awaits work that belongs to this context, or to none."""
    _HERE.set(context)
    return await work()


def as_nobody(function: Callable[[], R]) -> R:
    """Calls a function that no context belongs to."""
    _HERE.set(None)
    return function()
