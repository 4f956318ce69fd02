"""Lives that end by kill -9: `python -m remit.probes.lives FOLDER appends|effects|grants`, for `stops`.

Everything is imported once, and each life is a fork of this process, which has no thread and no loop. What
came of it is printed, a line of JSON for each life that another finished.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Engine, event

from remit.core.entries import GrantUsed, ReviewRuled
from remit.core.graph import Graph
from remit.core.tools import Repeat
from remit.core.typed import Invocation, tool
from remit.probes.ground import DESK, YES, Ground, graph_of, paying
from remit.probes.pens import Pen
from remit.runtime.ambient import System
from remit.runtime.app import Runtime
from remit.runtime.context import Context
from remit.runtime.grants import Grant
from remit.runtime.load import load_review
from remit.runtime.rulings import Reviewer, Said, rule
from remit.store.journal import Append
from remit.store.writer import Writer

_GRANT = Grant("args.what == this.args.what", 3, "2h")


def kill_at(number: int, when: str) -> None:
    """Kills this process before or after the COMMIT of the n-th transaction that has entries."""
    seen = 0
    real = Writer._commit

    def commit(self: Writer, batch: Sequence[Any]) -> list[Any]:
        nonlocal seen
        seen += any(isinstance(item.work, Append) for item in batch)
        return real(self, batch)

    def hook(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if seen == number and statement == "COMMIT" and threading.current_thread().name == "remit-writer":
            os.kill(os.getpid(), signal.SIGKILL)

    Writer._commit = commit  # type: ignore[method-assign]
    event.listen(Engine, f"{when}_cursor_execute", hook)


def graph_for(folder: Path, repeat: str, deadly: bool, calls: int = 1) -> Graph:
    """A graph whose tool writes its effect down outside the store; with a key, once for each key."""
    ledger = folder / "effects"

    async def pay(invocation: Invocation, what: str = "", amount: int = 0) -> str:
        with ledger.open("a+") as file:
            file.seek(0)
            if repeat == "once" or invocation.key not in file.read().split():
                file.write(f"{invocation.key}\n")
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"paid {what} {amount}"

    act = tool(name="pay", effect="commit", repeat=Repeat(repeat), labels={})(pay)
    if calls == 1:
        return paying(act, what="rent", amount=7)

    async def agent(ctx: Context) -> None:
        for number in range(calls):
            await ctx.call(act, what="rent", amount=number)

    return graph_of(agent, act)


async def live(ground: Ground, graph: Graph, said: Said = YES) -> str:
    """Starts the run, or goes on with it; rules once on what waits; returns how it ended."""
    async with Runtime(graph, store=ground.url, policies=ground.policies, keys=ground.folder / "keys") as runtime:
        runs = await runtime.journal.streams("run/")
        run = runs[0][4:] if runs else await runtime.start(graph, principal="me")
        report = await runtime.resume(run)
        for review in report.reviews:
            state = await load_review(runtime.journal, review)
            if state.waits and not state.opened.in_doubt:
                await rule(runtime.journal, System(), review, Reviewer("ann", Pen("ann")), said)
                report = await runtime.resume(run)
        return report.status


async def survey(ground: Ground, killed: str, said: str) -> dict[str, Any]:
    """Looks at what is left, as an outsider."""
    async with ground.journal() as journal:
        names = [*await journal.streams("review/"), *await journal.streams("grant/")]
    entries = [entry for name in names for entry in await ground.entries(name)]
    ledger = ground.folder / "effects"
    return {
        "killed": killed,
        "said": said,
        "effects": len(ledger.read_text().split()) if ledger.exists() else 0,
        "rulings": sum(isinstance(entry.body, ReviewRuled) for entry in entries),
        "used": sum(isinstance(entry.body, GrantUsed) for entry in entries),
        "verifies": await ground.verifies(),
    }


def life(
    ground: Ground, killed: str, *, repeat: str = "keyed", number: int = 0, when: str = "", granted: bool = False
) -> bool:
    """Lives in a process of its own; returns whether it came to its end. One that isn't to be killed is surveyed."""
    deadly = when == "inside"
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return False
        if status != 0:
            raise SystemExit(f"a life killed {killed} ended with {status}")
        return True
    code = 1
    try:
        if number:
            kill_at(number, when)
        graph = graph_for(ground.folder, repeat, deadly, 2 if granted else 1)
        said = asyncio.run(live(ground, graph, replace(YES, grant=_GRANT) if granted else YES))
        if not when:
            click.echo(json.dumps(asyncio.run(survey(ground, killed, said))))
            sys.stdout.flush()
        code = 0
    except BaseException:  # noqa: BLE001 - a child says why, and ends here
        traceback.print_exc()
    finally:
        os._exit(code)


def main(folder: Path, what: str) -> None:
    """Lives all lives of a kind."""
    if what == "effects":
        for repeat in ("once", "keyed"):
            ground = Ground.at(folder / repeat)
            if life(ground, repeat, repeat=repeat, when="inside"):
                raise SystemExit("a life that is to be killed inside its tool came to its end")
            life(ground, repeat, repeat=repeat)
        return
    granted = what == "grants"

    def at(name: str) -> Ground:
        ground = Ground.at(folder / name)
        return ground.queues(desk={**DESK, "grant": {"uses": 20, "for": "24h"}}) if granted else ground

    life(at("unharmed"), "never", granted=granted)
    for number in range(1, 1_000):
        for when in ("before", "after"):
            ground = at(f"{number}-{when}")
            if life(ground, f"{when} append {number}", number=number, when=when, granted=granted):
                return  # there are fewer appends than that
            life(ground, f"{when} append {number}", granted=granted)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
