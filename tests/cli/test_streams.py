"""Streams that are closed, broken, full, coloured or of another encoding; what is imported; warnings."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from shops import Said, Shell, environment


@pytest.fixture
def shop(remit: Callable[[Path], Shell], history: Path) -> Shell:
    return remit(history)


def through_sh(shell: Shell, script: str, **variables: str) -> Said:
    """Runs a script of sh in which `remit` is the command line."""
    lead = f'remit() {{ "{sys.executable}" -m remit "$@"; }}\n'
    done = subprocess.run(
        ["sh", "-c", lead + script], cwd=shell.folder, env=environment(**variables), capture_output=True,
        encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_closed_stdout_or_stderr_breaks_nothing(shell: Shell) -> None:
    said = through_sh(shell, "remit run --input amounts:=[1] >&-")
    assert said.code == 0 and said.err.startswith("run ")
    assert through_sh(shell, "remit run --input amounts:=[20] --json >&- 2>&- <&-").code == 8
    said = through_sh(shell, "remit runs list --json 2>&-")
    assert said.code == 0
    assert [row["status"] for row in json.loads(said.out)] == ["waiting", "done"]
    # Nothing was written into the store that might have become number 1.
    assert shell("audit", "export", "--all", "-o", "export").code == 0
    assert shell("audit", "verify", "export").code == 0


def test_a_broken_pipe_ends_it_quietly(shop: Shell) -> None:
    for command in (["runs", "list", "--json"], ["--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", "remit", *command], cwd=shop.folder, env=environment(), stdout=writing,
            stderr=subprocess.PIPE, encoding="utf-8", timeout=60, check=False,
        )  # fmt: skip
        os.close(writing)
        assert (done.returncode, done.stderr) == (1, ""), command


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_behind_stdout_is_said(shop: Shell) -> None:
    said = through_sh(shop, "remit runs list --json > /dev/full")
    assert said.code == 1 and "can't be written: No space left on device" in said.err
    assert "Traceback" not in said.err


def on_a_terminal(shell: Shell, *command: str, **variables: str) -> str:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    kept = {name: text for name, text in environment(TERM="xterm", COLUMNS="100").items() if name != "NO_COLOR"}
    with subprocess.Popen(
        [sys.executable, "-m", "remit", *command], cwd=shell.folder, env={**kept, **variables}, stdout=theirs,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(theirs)
        printed = b""
        try:
            while read := os.read(ours, 65_536):
                printed += read
        except OSError:  # how Linux says that the other side is closed
            pass
        os.close(ours)
        assert process.wait(30) == 0
    return printed.decode().replace("\r\n", "\n")


def test_colour_is_only_for_terminals_and_changes_no_layout(shop: Shell) -> None:
    coloured = on_a_terminal(shop, "runs", "list")
    assert "\x1b[32mdone\x1b[0m" in coloured and "\x1b[1mRUN\x1b[0m" in coloured
    plain = on_a_terminal(shop, "runs", "list", NO_COLOR="1")
    assert "\x1b" not in plain
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain == shop("runs", "list", COLUMNS="100").out


def test_any_encoding_of_stdout_will_do(shop: Shell) -> None:
    run = shop("runs", "list", "--json").rows[1]["run"]
    plain = shop.run("runs", "show", run, PYTHONUTF8="0", PYTHONIOENCODING="latin-1")
    assert plain.code == 0 and plain.out.isascii()


LAZY = (
    "networkx",
    "cel_expr_python",
    "rich",
    "structlog",
    "tenacity",
    "ruamel",
    "remit.runtime.gate",
    "remit.runtime.app",
)


def loaded_by(shell: Shell, *command: str) -> set[str]:
    script = (
        "import sys, runpy\n"
        f"sys.argv = {['remit', *command]!r}\n"
        "try:\n"
        "    runpy.run_module('remit', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=shell.folder, env=environment(), capture_output=True, encoding="utf-8",
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_looking_at_reviews_imports_nothing_that_drives_runs(shop: Shell) -> None:
    assert not loaded_by(shop, "review", "list", "--json").intersection(LAZY)


def test_help_and_the_package_import_next_to_nothing(shop: Shell) -> None:
    heavy = {*LAZY, "pydantic", "sqlalchemy", "asyncio", "msgspec"}
    assert not loaded_by(shop, "--help").intersection(heavy)
    script = "import remit, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True)
    assert not set(done.stdout.split()).intersection({*heavy, "click", "orjson"})


def test_nothing_warns(shell: Shell) -> None:
    # The other commands are played with warnings as errors by tests/test_demo.py.
    def strict(*command: str) -> Said:
        said = shell.run(*command, flags=("-W", "error"))
        assert "Warning" not in said.err and "Traceback" not in said.err, said.err
        return said

    (report,) = strict("run", "--input", "amounts:=[1, 20]", "--json").rows
    assert shell("review", "approve", report["reviews"][0]).code == 0
    assert strict("work", "--once", "--log-level", "debug").code == 0
