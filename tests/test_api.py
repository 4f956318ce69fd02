"""The public names: a closed list, and importing them costs nothing until they are used."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import remit

NAMES = [
    "NOT_DONE",
    "Agent",
    "Context",
    "Denied",
    "Detector",
    "Effect",
    "FactProvider",
    "FactRequest",
    "Finding",
    "Graph",
    "InvalidArguments",
    "Invocation",
    "Limits",
    "Outcome",
    "Places",
    "PolicyError",
    "RemitError",
    "Repeat",
    "Report",
    "ResultLost",
    "RunReport",
    "Runtime",
    "Task",
    "Tool",
    "ToolFailed",
    "ToolSpec",
    "Transient",
    "agent",
    "fact",
    "foreign_tool",
    "texts",
    "tool",
]


def python(code: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(Path(remit.__file__).parents[1])}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_the_public_names_are_a_closed_list() -> None:
    assert remit.__all__ == NAMES
    assert dir(remit) == sorted(NAMES)


def test_the_version_is_that_of_the_installed_package() -> None:
    assert remit.__version__ == version("remit")


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(remit, name)
    assert getattr(remit, name) is value
    assert inspect.getdoc(value)


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="module `remit` has no attribute `run`"):
        remit.run  # noqa: B018


HEAVY = ("sqlmodel", "sqlalchemy", "networkx", "rich", "cel_expr_python", "pydantic", "asyncio", "jsonschema", "google")


def test_importing_remit_imports_nothing_of_others() -> None:
    found = python("import sys, remit; print(*sys.modules)").split()
    assert {name.split(".")[0] for name in found} & set(HEAVY) == set()
    assert [name for name in found if name.startswith("remit")] == ["remit"]


def test_a_policy_error_is_caught_without_importing_a_runtime() -> None:
    found = python("import sys; from remit import Denied, PolicyError; print(*sys.modules)").split()
    assert {name.split(".")[0] for name in found} & set(HEAVY) == set()


def test_every_error_of_ours_has_one_root_and_is_in_the_tree_of_the_docstring() -> None:
    from remit import errors

    ours = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    for name in ours:
        assert issubclass(getattr(errors, name), remit.RemitError)
    drawn = errors.__doc__ or ""
    assert [name for name in sorted(ours) if not name.startswith("_") and name not in drawn] == []
