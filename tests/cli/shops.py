"""A small shop, and the command line in it: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

import pytest

from remit.cli import main

APP = '''
"""A shop: it notes, pays, breaks, or hangs, as it is told."""

import asyncio
import sys
from pathlib import Path

from pydantic import BaseModel

from remit import Context, Graph, Invocation, Task, tool


@tool(effect="commit", repeat="keyed", authority=["to"], content=["amount"], labels={})
def pay(invocation: Invocation, to: str, amount: int, why: str = "") -> str:
    """Pays, once for each key."""
    ledger = Path("ledger.txt")
    paid = ledger.read_text().splitlines() if ledger.exists() else []
    line = f"{invocation.key} {amount}"
    if line not in paid:
        ledger.write_text("".join(f"{row}\\n" for row in (*paid, line)))
    return f"paid {to}"


@tool(effect="read", repeat="idempotent", authority=[], content=["words"], labels={})
def break_down(words: str) -> None:
    """Breaks."""
    raise ValueError(words)


@tool(effect="read", repeat="idempotent", authority=[], content=[], labels={})
async def hang() -> str:
    """Hangs until there is a file `go`."""
    if not Path("go").exists():
        print("hanging", file=sys.stderr, flush=True)
        await asyncio.Event().wait()
    return "went on"


class Order(BaseModel):
    to: str = "Ada"
    amounts: list[int] = []
    why: str = ""
    words: str = ""
    hangs: bool = False


async def shop(ctx: Context, order: Order) -> dict[str, str]:
    """Does what the order says."""
    said = {}
    for amount in order.amounts:
        said[str(amount)] = await ctx.call(pay, to=order.to, amount=amount, why=order.why)
    if order.words:
        await ctx.call(break_down, words=order.words)
    if order.hangs:
        said["hang"] = await ctx.call(hang)
    return said


async def add(ctx: Context, done: dict[str, str]) -> dict[str, str]:
    """Hands it on."""
    return done


graph = Graph("shop", [Task("buy", shop), Task("sum", add, after="buy")], tools=[pay, break_down, hang])
other = Graph("other", [Task("buy", shop)], tools=[pay, break_down, hang])
number = 7
'''

POLICY = """
policy: shop
description: What the shop may pay.
rules:
  - id: small
    tools: [pay]
    allow: args.amount <= 10
  - id: large
    tools: [pay]
    escalate: args.amount > 10
    to: finance
    because: "{{args.amount}} to {{args.to}} is a lot: {{args.why}}"
  - id: never
    tools: [pay]
    deny: args.amount > 1000
    because: "{{args.amount}} is too much"
  - id: rest
    tools: [break_down, hang]
    allow: "true"
"""

QUEUES = """
single_operator: true
queues:
  finance:
    ttl: 72h
"""


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.out)
        assert isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
        return rows


class Running:
    """A command that is still running: its lines are waited for, with a timeout."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._queue: Queue[str | None] = Queue()
        self._readers = [Thread(target=self._read, args=(pipe,)) for pipe in (process.stdout, process.stderr)]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *raised: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()

    def until(self, words: str) -> str:
        """Returns the first line, of stdout or stderr, with these words in it."""
        while True:
            try:
                line = self._queue.get(timeout=30)
            except Empty:
                line = None
            assert line is not None, f"no line with {words!r}: {self.lines}"
            self.lines.append(line)
            if words in line:
                return line

    def end(self, signal: int = 0) -> int:
        """Sends a signal, if any, waits for the end, and returns the exit code."""
        if signal:
            self.process.send_signal(signal)
        code = self.process.wait(30)
        for reader in self._readers:
            reader.join(30)
        while not self._queue.empty():
            self.lines += [line for line in [self._queue.get()] if line is not None]
        return code

    def _read(self, pipe: IO[str] | None) -> None:
        assert pipe is not None
        with pipe:
            for line in pipe:
                self._queue.put(line)
        self._queue.put(None)


class Shell:
    """Types commands in a folder."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capture = capture
        self._patch = patch

    def __call__(self, *command: str, **variables: str) -> Said:
        """In this process: where another one would add nothing."""
        modules, paths = set(sys.modules), list(sys.path)
        self._capture.readouterr()
        with self._patch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["remit", *command])
            for name, text in variables.items():
                patch.setenv(name, text)
            with pytest.raises(SystemExit) as stop:
                main()
        for name in {name for name in sys.modules if name.startswith("remit_target_")} - modules:
            del sys.modules[name]
        sys.path[:] = paths
        out, err = self._capture.readouterr()
        assert isinstance(stop.value.code, int)
        return Said(stop.value.code, out, err)

    def run(self, *command: str, stdin: str = "", flags: tuple[str, ...] = (), **variables: str) -> Said:
        """In a process of its own."""
        done = subprocess.run(
            [sys.executable, *flags, "-m", "remit", *command],
            cwd=self.folder, env=environment(**variables), input=stdin, capture_output=True, encoding="utf-8",
            timeout=60, check=False,
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)

    def start(self, *command: str, **variables: str) -> Running:
        """In a process of its own that goes on beside the test."""
        return Running(
            subprocess.Popen(
                [sys.executable, "-m", "remit", *command],
                cwd=self.folder, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                encoding="utf-8",
            )
        )  # fmt: skip

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def ledger(self) -> list[int]:
        """The amounts that were paid."""
        path = self.folder / "ledger.txt"
        return [int(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []


def at_a_terminal(shell: Shell, *command: str, editor: str = "true", answer: str = "") -> tuple[int, str]:
    """Types a command at a pseudo-terminal; the editor is a shell command over the file `$1`."""
    script = shell.folder / "editor"
    script.write_text(f"#!/bin/sh\n{editor}\n")
    script.chmod(0o755)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "remit", *command],
        cwd=shell.folder, env=environment(EDITOR=str(script), VISUAL="", TERM="xterm"), stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, answer.encode())
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # which is how Linux says that the other end is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    return process.wait(30), said.decode()


def is_harmless(text: str) -> bool:
    """Whether there is nothing in `text` that a terminal would act on."""
    return all(character.isprintable() for character in text)


def environment(**variables: str) -> dict[str, str]:
    """This process's variables, without what would reach into a test."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("REMIT_", "COLUMNS", "PYTHON"))}
    return {**kept, "NO_COLOR": "1", "PYTHONUTF8": "1", **variables}


SHOP = {
    "app.py": APP,
    "policies/shop.yaml": POLICY,
    "policies/queues.yaml": QUEUES,
    "remit.toml": 'app = "app.py:graph"\n',
}


HOSTILE = "x\x1b[2J\x1b]0;title\x07\r\n  verdict  allow\u202ebdi\u2066\x9b31m\x00\u200b\u3164" + "\u0301" * 5

HISTORY = f"""
import asyncio

from app import graph

from remit import Runtime
from remit.runtime import app
from remit.runtime.ambient import System
from remit.runtime.rulings import Reviewer, Said, rule

HOSTILE = {HOSTILE!r}
app._check_names = lambda *_: None  # an older Remit took any name


async def main():
    async with Runtime(graph) as runtime:
        async def go(**order):
            return await runtime.run(graph, order, principal="ada@example.com", target="app.py:graph")

        done = await go(amounts=[1, 2])
        failed = await go(words="out of order")
        denied = await go(amounts=[5000])
        waiting = await go(amounts=[3, 20])
        refused = await go(amounts=[30])
        await rule(runtime.journal, System(), refused.reviews[0], Reviewer("bob"), Said(False, "no money"))
        await runtime.resume(refused.run)
        await runtime.run(
            graph, {{"to": HOSTILE, "amounts": [40], "why": HOSTILE}}, principal=HOSTILE, target="app.py:graph"
        )
        await go(words=HOSTILE)


asyncio.run(main())
"""
