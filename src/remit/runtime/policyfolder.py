"""Reads a folder of policy files. What they mean is `core.policy`'s affair, which are read is `core.filenames`'."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from remit.core.filenames import FOLDERS, MOST, folder_problems, is_left_over, is_policy_file, largest
from remit.core.policy import PolicySet, load_policies
from remit.core.tools import JsonSchema, ToolSpec
from remit.errors import BadInput, PolicyError, Problem
from remit.runtime.textfiles import read_bounded

_DEEPEST = 8
"""How far below a folder it is looked whether a folder in it holds anything."""


def read_policies(folder: str | Path, packs: Sequence[str] = ()) -> dict[str, str]:
    """Returns file name to text of every policy file and list in `folder`, and of the packs that come with Remit.

    A pack is named `pack-flow.yaml`, so that it is told from the folder's own files.

    Raises:
        PolicyError: no such folder, no policy file in it, one that can't be read, or anything in it that might be
            meant as policy and would not be loaded; it carries every such problem. Nothing runs then.
    """
    place = Path(folder)
    if not place.is_dir():
        raise _refuse(str(folder), "there is no such folder of policies", "make it, or name another with --policies")
    try:
        found = list(os.scandir(place))
    except OSError as error:
        raise _refuse(str(folder), f"it can't be read: {error.strerror}", "") from error
    if len(found) > MOST:
        found = found[: MOST + 1]  # it is refused for that; what is in all those folders doesn't matter
    folders = {
        entry.name: _holds_anything(entry.path) for entry in sorted(found, key=_name) if os.path.isdir(entry.path)
    }
    names = sorted(entry.name for entry in found if entry.name not in folders)
    return gather(place, names, folders, lambda name: read_bounded(place / name, largest(name)), packs)


def gather(
    place: Path, names: Sequence[str], folders: Mapping[str, bool], read: Callable[[str], str], packs: Sequence[str]
) -> dict[str, str]:
    """Returns file name to text of what a folder and the packs hold; see `read_policies`, also for what it raises.

    Args:
        place: the folder, for what is told of it.
        names, folders: of its files, and of the folders in it: whether each holds anything.
        read: returns a file's text, or raises BadInput.
    """
    problems: list[Problem] = []
    texts: dict[str, str] = {}
    # Names with another case (`.YAML`) are refused with the rest; what is refused is not read.
    for name in names[:MOST]:
        if is_policy_file(name) and not is_left_over(name):
            try:
                texts[name] = read(name)
            except BadInput as error:
                problems.append(Problem(name, 0, 0, str(error), ""))
    apart = next(((name, texts[name]) for name in FOLDERS if name in texts), None)
    problems += folder_problems(names, folders, apart)
    if problems:
        raise PolicyError(
            tuple(replace(one, file=str(place / one.file) if one.file else str(place)) for one in problems)
        )
    if not texts and not packs:
        raise _refuse(str(place), "there is no policy in it, so nothing may run", "add a `*.yaml`, see `remit init`")
    for name, text in pack_files(packs).items():
        if name in texts:
            pack = name.removeprefix("pack-").removesuffix(".yaml")
            raise _refuse(str(place / name), f"it has the name of the pack `{pack}`", "rename it")
        texts[name] = text
    return texts


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _holds_anything(path: str, depth: int = 0) -> bool:
    """Whether there is a file below a folder that is not left over; where that can't be told, there may be."""
    if depth > _DEEPEST:
        return True
    try:
        with os.scandir(path) as entries:
            return any(
                not is_left_over(one.name) and (not os.path.isdir(one.path) or _holds_anything(one.path, depth + 1))
                for one in entries
            )
    except OSError:
        return True


def pack_files(packs: Sequence[str]) -> dict[str, str]:
    """Returns file name to text of the policy packs of these names. Raises PolicyError."""
    return {f"pack-{pack}.yaml": _pack(pack) for pack in packs}


def _pack(name: str) -> str:
    there = files("remit") / "packs"
    known = sorted(found.name.removesuffix(".yaml") for found in there.iterdir() if found.name.endswith(".yaml"))
    if name not in known:
        raise _refuse("", f"there is no policy pack `{name}`", f"there are {', '.join(f'`{one}`' for one in known)}")
    return (there / f"{name}.yaml").read_text(encoding="utf-8")


def load_folder(
    folder: str | Path,
    texts: Mapping[str, str],
    tools: Sequence[ToolSpec],
    roots: Callable[[ToolSpec], Mapping[str, JsonSchema]],
) -> PolicySet:
    """Returns the policy set that the files of `folder` say.

    Raises:
        PolicyError: with every problem of every file, each with its path, line and column.
    """
    try:
        return load_policies(texts, tools, roots)
    except PolicyError as error:
        raise PolicyError(
            tuple(replace(problem, file=str(Path(folder) / problem.file)) for problem in error.problems)
        ) from error


def _refuse(file: str, message: str, hint: str) -> PolicyError:
    return PolicyError((Problem(file, 0, 0, message, hint),))
