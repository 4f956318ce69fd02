"""What the store's tests share: a url, an open journal, entries by the dozen, and what was executed."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

import remit
from remit.core.entries import Fact, Head, Recorded, Sealed, seal
from remit.store.journal import Journal

AT = "2026-01-01T00:00:00.000000Z"

Chain = Callable[..., tuple[Sealed, ...]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "remit.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def journal(url: str) -> AsyncIterator[Journal]:
    async with await Journal.open(url) as opened:
        yield opened


@pytest.fixture
def chain() -> Chain:
    """`chain(stream, count=1, head=Head(), word="")`: entries that follow each other."""

    def make(stream: str, count: int = 1, head: Head | None = None, word: str = "") -> tuple[Sealed, ...]:
        made: list[Sealed] = []
        last = head or Head()
        for _ in range(count):
            body: Fact = Recorded(id="t.1", task="t", what="now", value=word)
            made.append(seal(stream, last, AT, "worker:test", body))
            last = made[-1].head
        return tuple(made)

    return make


@pytest.fixture
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """The store as somebody with sqlite3 and no respect sees it."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def executed() -> Iterator[list[str]]:
    """The statements that the writer's thread has executed, as SQLAlchemy tells them."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, _p: object, _x: object, _many: bool) -> None:
        if threading.current_thread().name == "remit-writer":
            seen.append(statement)

    event.listen(Engine, "after_cursor_execute", note)
    yield seen
    event.remove(Engine, "after_cursor_execute", note)


@pytest.fixture
def script() -> Callable[..., list[str]]:
    """`script(name, *arguments)`: the command line of a program beside the tests."""

    def command(name: str, *arguments: object) -> list[str]:
        return [sys.executable, str(Path(__file__).parent / name), *map(str, arguments)]

    return command


@pytest.fixture(autouse=True)
def subprocesses_find_remit(monkeypatch: pytest.MonkeyPatch) -> None:
    source = str(Path(remit.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH")))))
