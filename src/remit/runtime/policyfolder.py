"""Reads a folder of policy files. What they mean is `core.policy`'s affair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from remit.core.lists import is_list
from remit.core.policy import PolicySet, load_policies
from remit.core.tools import JsonSchema, ToolSpec
from remit.errors import PolicyError, Problem


def read_policies(folder: str | Path, packs: Sequence[str] = ()) -> dict[str, str]:
    """Returns file name to text of every YAML file in `folder`, and of the policy packs that come with Remit.

    A pack is named `pack-flow.yaml`, so that it is told from the folder's own files.

    Raises:
        PolicyError: no such folder, no YAML file in it, or one that can't be read. Nothing runs then.
    """
    place = Path(folder)
    if not place.is_dir():
        raise _refuse(str(folder), "there is no such folder of policies", "make it, or name another with --policies")
    # `.YAML` too: the loader refuses it, rather than nobody reading it.
    own = sorted(path for path in place.iterdir() if path.suffix.lower() in (".yaml", ".yml") or is_list(path.name))
    if not own and not packs:
        raise _refuse(str(folder), "there is no policy in it, so nothing may run", "add a `*.yaml`, see `remit init`")
    texts = {}
    for path in own:
        try:
            # Bytes that aren't UTF-8 are reported by the loader, with their place.
            texts[path.name] = path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise _refuse(str(path), f"it can't be read: {error.strerror}", "") from error
    for name, text in pack_files(packs).items():
        if name in texts:
            pack = name.removeprefix("pack-").removesuffix(".yaml")
            raise _refuse(str(place / name), f"it has the name of the pack `{pack}`", "rename it")
        texts[name] = text
    return texts


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
