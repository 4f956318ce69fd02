"""What code that isn't ours does: tools, agents and fact providers may block, and may raise anything.

Whatever they raise is their failure. `SystemExit`, a cancellation that a library leaked, and everything else that would
end a worker or hang a run comes out of here as `Escaped`, an ordinary exception. Only what stops the process goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import sysconfig
import threading
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from remit.runtime.ambient import Limit
from remit.runtime.whose import as_nobody

P = ParamSpec("P")
R = TypeVar("R")

STOPS: tuple[type[BaseException], ...] = (KeyboardInterrupt,)
"""What stops the process, whoever's code it is raised in."""

_LONGEST = 2_000
"""Characters of an error's words that are kept."""
_GRACE = 5.0
"""Seconds that a coroutine has to end once its time is up. Then it is left to itself, as a thread is."""
_OURS = str(Path(__file__).parents[1])
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


class Escaped(Exception):
    """Code that isn't ours raised what is no `Exception`, or cancelled itself; `raised` is what it was."""

    def __init__(self, raised: BaseException) -> None:
        super().__init__(_escaped(raised))
        self.raised = raised


def _escaped(raised: BaseException) -> str:
    if isinstance(raised, SystemExit):
        return f"it called sys.exit({raised.code!r})"
    if isinstance(raised, asyncio.CancelledError):
        return "it cancelled itself, or a library that it uses did"
    return str(raised) or f"it raised {type(raised).__name__}"


async def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs a function that blocks, without blocking the loop."""
    return await asyncio.to_thread(as_nobody, partial(_contained, partial(function, *args, **kwargs)))


async def in_task_of_its_own(name: str, work: Callable[[], Awaitable[R]], limit: Limit | None = None) -> R:
    """Awaits work that isn't ours in a task of its own, called `name`: cancelling that is the work's failure.

    Where this task is cancelled, so is the work, and it is waited for; some seconds at most, where `limit` has run out.

    Raises:
        Escaped: it raised what is no `Exception`, or cancelled itself.
        Exception: whatever else it raised.
    """
    cancelled: list[asyncio.CancelledError] = []
    task = asyncio.get_running_loop().create_task(_contained_work(work, cancelled), name=name)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        late = limit is not None and limit.expired()
        await asyncio.wait([task], timeout=_GRACE if late else None)
        if task.done() and not task.cancelled():
            task.exception()  # nobody asks any more
        raise
    if task.cancelled():
        raise Escaped(cancelled[0] if cancelled else asyncio.CancelledError())
    return task.result()


async def _contained_work(work: Callable[[], Awaitable[R]], cancelled: list[asyncio.CancelledError]) -> R:
    try:
        return await work()
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            cancelled.append(error)
        if isinstance(error, (Exception, asyncio.CancelledError, *STOPS)):
            raise
        raise Escaped(error) from error


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

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(as_nobody, run), daemon=True, name="remit-look").start()
    return await future


async def in_thread_to_its_end(function: Callable[[], R], limit: Limit) -> R:
    """Runs a function that blocks, and waits for it even where that is cancelled, unless `limit` has run out.

    Nothing stops a thread. If a run were let go of while a tool's effect is still happening, whoever takes it
    over would ask the tool's probe too early, and do the effect again.
    """
    context = contextvars.copy_context()
    future = asyncio.get_running_loop().run_in_executor(
        None, partial(context.run, as_nobody, partial(_contained, function))
    )
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
    except BaseException as error:
        if isinstance(error, (Exception, *STOPS)):
            raise
        raise Escaped(error) from error


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
    raised = error.raised if isinstance(error, Escaped) else error
    return _printable(type(raised).__name__[:128])


def place_of(error: BaseException) -> str:
    """Returns where in the user's own code an error came up, as `path/app.py:12`; "" where none of it took part.

    That is the innermost frame that is neither Remit's, the standard library's nor an installed package's.
    """
    frames = _frames((error.raised if isinstance(error, Escaped) else error).__traceback__)
    own = [frame for frame in frames if not _is_installed(frame[0])]
    if not own:
        return _place(*frames[-1]) if frames else ""
    return _place(*own[-1])


def traceback_of(error: BaseException, clean: Callable[[str], str] = str) -> str:
    """Returns the traceback as Python prints it, for the log; `clean` takes out what may not be told."""
    raised = error.raised if isinstance(error, Escaped) else error
    return clean("".join(traceback.format_exception(raised)).rstrip())


def _frames(trace: TracebackType | None) -> list[tuple[str, int]]:
    """File and line of each frame that is no frame of Remit's or of the interpreter's own, the outermost first."""
    found = []
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(("<", _OURS)):
            found.append((file, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _is_installed(file: str) -> bool:
    return file.startswith(_LIBRARIES)


def _place(file: str, line: int) -> str:
    path = Path(file)
    with suppress(ValueError, OSError):
        path = path.relative_to(Path.cwd())
    return f"{path}:{line}"


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
