"""The house's own rules bite: each import contract finds a violation planted in a copy of the source."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT = Path(sys.executable).parent / "lint-imports"
RUFF = Path(sys.executable).parent / "ruff"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The source and its configuration, to be spoilt."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def plant(copy: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = copy / "src" / "remit" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        for package in (file.parent, *file.parent.parents):
            if package == copy / "src" or (package / "__init__.py").exists():
                break
            (package / "__init__.py").write_text("")
        # What is there stays, with the violation below it.
        file.write_text((file.read_text() if file.exists() else "") + f"\n{text}\n")


def lint(copy: Path, contract: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--no-cache", "--no-logo", "--contract", contract],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_broken(copy: Path, contract: str, *words: str) -> None:
    found = lint(copy, contract)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "1 broken" in found.stdout
    for word in words:
        assert word in found.stdout


def test_the_source_keeps_every_contract(copy: Path) -> None:
    found = subprocess.run(
        [LINT, "--no-cache", "--no-logo"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{len(contracts())} kept, 0 broken" in found.stdout


def contracts() -> list[str]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [contract["id"] for contract in config["tool"]["importlinter"]["contracts"]]


def test_a_lower_layer_may_not_import_a_higher_one(copy: Path) -> None:
    plant(copy, {"store/planted.py": "import remit.runtime.planted", "runtime/planted.py": ""})
    assert_broken(copy, "layers", "remit.store is not allowed to import remit.runtime")


def test_the_checker_may_not_import_the_writer(copy: Path) -> None:
    plant(copy, {"verify.py": "import remit.store.planted", "store/planted.py": ""})
    assert_broken(copy, "layers", "remit.verify is not allowed to import remit.store")


def test_a_late_import_counts(copy: Path) -> None:
    plant(copy, {"core/canonical.py": "def late():\n    import remit.store.planted", "store/planted.py": ""})
    assert_broken(copy, "layers", "remit.core is not allowed to import remit.store")


def test_a_new_module_must_be_given_a_layer(copy: Path) -> None:
    plant(copy, {"helpers.py": ""})
    assert_broken(copy, "layers", "remit.helpers")


def test_a_core_module_may_import_only_those_read_before_it(copy: Path) -> None:
    plant(copy, {"core/canonical.py": "import remit.core.entries"})
    assert_broken(copy, "core-order", "remit.core.canonical is not allowed to import remit.core.entries")


def test_a_new_core_module_must_be_given_a_place(copy: Path) -> None:
    plant(copy, {"core/utils.py": ""})
    assert_broken(copy, "core-order", "remit.core.utils")


@pytest.mark.parametrize("module", ["asyncio", "os", "time", "sqlalchemy", "remit.logs"])
def test_core_may_not_touch_the_world(copy: Path, module: str) -> None:
    plant(copy, {"core/canonical.py": f"import {module}"})
    assert_broken(copy, "core-pure", f"remit.core is not allowed to import {module}")


def test_core_may_not_touch_the_world_through_a_module_of_ours(copy: Path) -> None:
    plant(copy, {"errors.py": "import os"})
    assert_broken(copy, "core-pure", "remit.core is not allowed to import os")


def test_only_the_gate_may_import_invoke(copy: Path) -> None:
    plant(
        copy,
        {
            "runtime/invoke.py": "",
            "runtime/gate.py": "import remit.runtime.invoke",
            "runtime/planted.py": "import remit.runtime.invoke",
        },
    )
    assert_broken(copy, "one-door", "remit.runtime.planted -> remit.runtime.invoke")
    assert "remit.runtime.gate -> remit.runtime.invoke" not in lint(copy, "one-door").stdout


@pytest.mark.skipif(not (ROOT / "src/remit/runtime").exists(), reason="there is no runtime yet")
def test_the_one_door_and_what_is_behind_it_have_the_names_that_the_contract_says() -> None:
    assert {"gate.py", "invoke.py"} <= {file.name for file in (ROOT / "src/remit/runtime").iterdir()}


def test_siblings_may_not_import_each_other_in_a_circle(copy: Path) -> None:
    plant(
        copy,
        {"store/one.py": "import remit.store.two", "store/two.py": "import remit.store.one"},
    )
    assert_broken(copy, "no-cycles", "remit.store")


@pytest.mark.parametrize(
    "code",
    [
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "import time\ntime.time()",
        "import time\ntime.monotonic()",
        "import uuid\nuuid.uuid4()",
        "import random\nrandom.random()",
        "from secrets import token_hex\ntoken_hex()",
        "import asyncio\nasyncio.gather()",
        "from asyncio import create_task\ncreate_task(None)",
        "import asyncio\nasyncio.sleep(1)",
    ],
)
def test_time_entropy_and_tasks_come_from_their_one_place(copy: Path, code: str) -> None:
    assert "TID251" in ruff(copy, "runtime/planted.py", code)
    assert "TID251" not in ruff(copy, "runtime/ambient.py", code)


def test_nothing_prints_catches_everything_or_imports_late(copy: Path) -> None:
    code = "def f():\n    import os\n    try:\n        print(os)\n    except Exception:\n        pass\n"
    found = ruff(copy, "runtime/planted.py", code)
    assert {"T201", "BLE001", "PLC0415"} <= set(re.findall(r"[A-Z]+\d+", found))


def ruff(copy: Path, name: str, code: str) -> str:
    plant(copy, {name: code})
    found = subprocess.run(
        [RUFF, "check", "--no-cache", "--output-format=concise", f"src/remit/{name}"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout


# --- logs ----------------------------------------------------------------------------------------------

LOGS = """
from remit import logs
log = logs.get("remit.planted")
{configure}
log.info("an info")
with logs.bound(run="r-1", call="c-2"):
    log.warning("100% {{gone}} %s\\x1b[2J\\nforged", worker="a b")
"""


def logged(configure: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", LOGS.format(configure=configure)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_unconfigured_logs_are_warnings_on_stderr_and_nothing_on_stdout() -> None:
    found = logged()
    assert found.stdout == ""
    assert found.stderr == '100% {gone} %s\\x1b[2J\\nforged  call=c-2 run=r-1 worker="a b"\n'


def test_console_logs_are_one_plain_line_each_where_nobody_sees_colours() -> None:
    found = logged('logs.configure("console", "info")')
    assert found.stdout == ""
    first, second = found.stderr.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO    an info", first)
    assert second.endswith('WARNING 100% {gone} %s\\x1b[2J\\nforged  call=c-2 run=r-1 worker="a b"')


def test_json_logs_are_one_object_a_line_with_the_bound_ids() -> None:
    found = logged('logs.configure("json", "warning")')
    (line,) = [json.loads(line) for line in found.stderr.splitlines()]
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "remit.planted",
        "event": "100% {gone} %s\x1b[2J\nforged",
        "run": "r-1",
        "call": "c-2",
        "worker": "a b",
    }


def test_an_application_sees_the_lines_where_it_sees_its_own(caplog: pytest.LogCaptureFixture) -> None:
    from remit import logs

    with caplog.at_level(logging.DEBUG), logs.bound(task="t-3"):
        logs.get("remit.planted").debug("seen")
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("remit.planted", "seen  task=t-3")]


# --- packaging -----------------------------------------------------------------------------------------


def test_make_says_so_when_python_is_too_old(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    for python, words in ((str(old), "is Python 3.9.2"), ("no-such-python", "there is no `no-such-python`")):
        found = subprocess.run(
            ["make", "test", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert found.returncode != 0
        assert words in found.stderr
        assert "3.11 or newer" in found.stderr


def test_every_package_that_is_imported_is_a_declared_dependency() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {re.split(r"[<>=!\[ ]", line)[0] for line in config["project"]["dependencies"]}
    modules = {
        "cel-expr-python": "cel_expr_python",
        "google-re2": "re2",
        "ruamel.yaml": "ruamel",
        "protobuf": "google",
        "rpds-py": "rpds",
    }
    declared = {modules.get(name, name.replace("-", "_")) for name in names} | {"remit", "pydantic_core"}
    found = set()
    for file in (ROOT / "src").rglob("*.py"):
        if file.is_relative_to(ROOT / "src/remit/adapters") or file == ROOT / "src/remit/cli/screen.py":
            continue  # each is for a library that whoever imports it has installed
        for line in file.read_text().splitlines():
            if match := re.match(r"\s*(?:from|import) (\w+)[\w.]*(?: import .*| as \w+)?$", line):
                found.add(match[1])
    assert found - declared - set(sys.stdlib_module_names) == set()
