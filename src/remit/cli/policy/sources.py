"""Where policies, and the tools that they speak of, come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from remit.cli.settings import Settings
from remit.core.filenames import largest
from remit.core.policy import PolicySet
from remit.errors import BadInput, PolicyError, Problem, SettingsError
from remit.policykit.toolset import FILE, Toolset, read_tools, recorded_tools
from remit.runtime.ambient import System, stamp
from remit.runtime.guards import Guards, load_guards
from remit.runtime.policyfolder import read_policies
from remit.runtime.registry import Registry
from remit.runtime.target import load_app
from remit.runtime.textfiles import read_bounded

_PERIOD = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
P = ParamSpec("P")
R = TypeVar("R")


def app_option(function: Callable[P, R]) -> Callable[P, R]:
    """Adds `--app`."""
    return click.option("--app", metavar="TARGET", help="The graph whose tools the rules speak of.")(function)


def tools_option(function: Callable[P, R]) -> Callable[P, R]:
    """Adds `--tools`."""
    return click.option("--tools", metavar="FILE", help="A tools.yaml that describes the tools instead.")(function)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder's files and the tools they speak of."""

    name: str
    files: Mapping[str, str]
    tools: Toolset
    guards: Guards | None = None

    def load(self) -> PolicySet:
        """Returns the policy set. Raises PolicyError, each problem with its path."""
        with _Paths(self.name):
            policies = self.tools.load(self.files)
        if self.guards is not None:
            self.guards.check(policies)
        return policies


class _Paths:
    """Puts the folder before the file of every problem that is raised inside."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PolicyError):
            raise PolicyError(tuple(placed(self._folder, problem) for problem in error.problems)) from error


def placed(folder: str, problem: Problem) -> Problem:
    """Returns a problem with the folder before its file."""
    return replace(problem, file=str(Path(folder) / problem.file))


def open_folder(found: Settings, app: str | None, tools: str | None) -> Folder:
    """Returns the policies of the settings, with the tools that were named, that stand beside them, or of the app.

    Raises:
        PolicyError: a file can't be read, or the one that describes the tools isn't right.
        SettingsError: nothing says which tools there are.
    """
    files = read_policies(found.policies, found.packs)
    described = _described(found, files, app, tools)
    return Folder(
        found.policies, files, *(_of_app(found, files) if described is None else _guarded(found, files, described))
    )


def tools_of(found: Settings, files: Mapping[str, str], app: str | None, tools: str | None) -> Toolset:
    """Returns the tools; see `open_folder`."""
    described = _described(found, files, app, tools)
    return (_of_app(found, files) if described is None else _guarded(found, files, described))[0]


def _guarded(found: Settings, files: Mapping[str, str], tools: Toolset) -> tuple[Toolset, Guards]:
    """Returns the tools with what the folder's guardrails see in their arguments, and the guardrails."""
    guards = load_guards(found.policies, files, tools.specs, {}, System())
    findings = {tool: {**tools.findings.get(tool, {}), **guards.schemas(tool)} for tool in tools.specs}
    return replace(tools, findings=findings, look=guards.look_now), guards


def tools_for(found: Settings, files: Mapping[str, str], app: str | None) -> tuple[Toolset, Guards | None]:
    """Returns the tools that files are checked against, and their guardrails; see `open_folder`."""
    described = _described(found, files, app, None)
    return (described, None) if described is not None else _of_app(found, files)


def _described(found: Settings, files: Mapping[str, str], app: str | None, tools: str | None) -> Toolset | None:
    """Returns the tools that a file describes, None where they are the app's."""
    if tools is not None:
        try:
            text = read_bounded(Path(tools), largest(tools))
        except BadInput as error:
            raise SettingsError(f"`{tools}`: {error}") from error
        return read_tools(tools, text)
    if FILE in files and app is None:
        with _Paths(found.policies):
            return read_tools(FILE, files[FILE])
    return None


def _of_app(found: Settings, files: Mapping[str, str]) -> tuple[Toolset, Guards]:
    if not found.app:
        raise SettingsError(
            "rules are checked against tools: name the graph with --app, set `app` in remit.toml,"
            f" or describe the tools in `{Path(found.policies) / FILE}`"
        )
    registry = Registry(load_app(found.app).graphs)
    guards = load_guards(found.policies, files, registry.tools, registry.detectors, System())
    return replace(recorded_tools(registry.types(guards.schemas)), look=guards.look_now), guards


def since(text: str) -> str:
    """Returns when a period began, as entries write times; "" for all there is. Raises BadInput."""
    if match := _PERIOD.fullmatch(text):
        return stamp(System().now() - timedelta(**{_UNITS[match[2]]: int(match[1])}))
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"--since `{text}`: write 30d, 12h, or a time such as 2026-03-01T00:00:00Z") from None
    return stamp(found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC))
