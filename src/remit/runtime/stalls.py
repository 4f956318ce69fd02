"""Notices when code blocks the event loop: no timeout, lease or ruling counts meanwhile, and nothing else says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from remit.logs import get

SECONDS: Final = 5.0
"""How long the loop may be silent before that is told, once each time."""
_log = get(__name__)


@contextmanager
def watched(loop: asyncio.AbstractEventLoop, seconds: float = SECONDS) -> Iterator[None]:
    """Warns, from a thread of its own, when `loop` has done nothing else for `seconds`, and names the task that blocks.

    Tools, agents and fact providers run in tasks that are named after them.
    """
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(loop, seconds, over), name="remit-stalls", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _watch(loop: asyncio.AbstractEventLoop, seconds: float, over: threading.Event) -> None:
    answered = threading.Event()
    while not over.wait(seconds):
        answered.clear()
        try:
            loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # the loop is closed
            return
        if answered.wait(seconds) or over.is_set():
            continue
        task = asyncio.current_task(loop)
        name = task.get_name() if task is not None else "something outside of any task"
        _log.warning("the event loop is blocked", by=name, seconds=seconds, remedy="await, or make it a sync function")
        answered.wait()
