"""Which files of a folder of policies are its policy set, which are passed over, and which are refused.

Nothing that could be meant as a policy is passed over in silence: a file is one of a kind below, is known to be
left by an editor or another program, or is refused. Names decide, and contents never do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from remit.core.lists import LARGEST as LARGEST_LIST
from remit.core.lists import is_list
from remit.core.peoplefiles import Strict
from remit.core.policyfiles import suggest
from remit.core.yamlmodels import checked
from remit.core.yamltext import LARGEST, Source, read_yaml
from remit.errors import Problem

FOLDERS: Final = ("folders.yaml", "folders.yml")
KINDS: Final[Mapping[str, str]] = {
    "queues": "the queues that rules escalate to",
    "reviewers": "who may rule, and with which keys",
    "guardrails": "what looks at arguments and results",
    "purposes": "what runs may be for",
    "calendars": "hours that conditions ask about",
    "counters": "what is counted across calls and runs",
    "tools": "the tools that a pack speaks of, where no app has them; not loaded",
    "folders": "which sub folders are policy sets of their own; not loaded",
}
"""The files that have a name of their own, each once: `<kind>.yaml` or `<kind>.yml`."""
LEFTOVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Emacs: locks, auto-saved files and backups": (".#*", "#*#", "*~"),
    "Vim: swap files, and its test whether a folder can be written": (".*.sw[a-z]", "4913"),
    "JetBrains, GNOME and network file systems: files being saved or deleted": (
        "*___jb_tmp___", "*___jb_old___", ".goutputstream-*", ".fuse_hidden*", ".nfs*",
    ),
    "Office programs: locks of open tables": (".~lock.*#", "~$*"),
    "macOS and Windows: views of a folder": (".ds_store", "._*", "thumbs.db", "desktop.ini"),
    "version control, and settings of editors": (
        ".git", ".gitignore", ".gitattributes", ".gitkeep", ".hg", ".svn", ".editorconfig", ".yamllint", ".idea",
        ".vscode",
    ),
    "Kubernetes: what a mounted ConfigMap's files are links into": ("..data", "..data_tmp", "..[0-9]*"),
    "a file system's own folder": ("lost+found",),
    "documentation": ("*.md", "readme", "readme.txt", "readme.rst", "license", "license.txt", "codeowners"),
    "JSON Schemas for editors": ("*.schema.json",),
}  # fmt: skip
"""Names that are passed over, by what leaves them: shell patterns, in which case does not matter."""
MOST: Final = 1_000
"""Files that a folder of policies may have, with what is passed over."""
_SUFFIXES: Final = (".yaml", ".yml")
_NEARLY: Final = re.compile(r"(?i)(.+?)\.(?:ya?ml|yalm|ymal|yamll|yaaml|yam|json5?|jsonc|toml)\b.*")


def is_policy_file(name: str) -> bool:
    """Whether a file is read as a part of the policy set, by its name."""
    return name.endswith(_SUFFIXES) or is_list(name)


def is_left_over(name: str) -> bool:
    """Whether a name in a folder of policies is passed over."""
    folded = name.casefold()
    return any(fnmatchcase(folded, pattern) for patterns in LEFTOVERS.values() for pattern in patterns)


def refusal(name: str) -> tuple[str, str] | None:
    """Returns why a file of this name can't be in a folder of policies, and the remedy; None where it can."""
    if is_left_over(name):
        return None
    kind, _, suffix = name.rpartition(".")
    if kind.casefold() in KINDS and kind not in KINDS and suffix in ("yaml", "yml"):
        return f"the name of this file is `{kind.casefold()}.{suffix}`, in small letters", "rename it"
    if is_policy_file(name):
        return None
    if near := _NEARLY.fullmatch(name):
        remedy = f"rename it to `{near[1]}.yaml` if it is a policy, in YAML; if not, move it out of the folder"
    elif ".list." in name:
        remedy = "lists are in `.list.txt` files, a line each, and `.list.csv` files with commas"
    else:
        remedy = (
            "policies are in `.yaml` files, lists in `.list.txt` and `.list.csv` files: move this out of the folder"
        )
    return "not a policy file, and nothing in this folder is skipped in silence", remedy


def largest(name: str) -> int:
    """Returns how many bytes a file of this name may have: room for the characters that its reader takes."""
    return 4 * (LARGEST_LIST if is_list(name) else LARGEST)


class FoldersText(Strict):
    """The file `folders.yaml`: which folders below this one are no part of this policy set."""

    apart: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        min_length=1, description="Sub folders that are policy sets of their own, by name: nothing in them is loaded."
    )


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of folders.yaml, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **FoldersText.model_json_schema()}


def read_folders(name: str, text: str) -> tuple[Source, tuple[str, ...]]:
    """Returns the sub folders that stand apart; the source's `problems` are what is wrong with the file."""
    source, value = read_yaml(name, text)
    if source.problems:
        return source, ()
    said = checked(source, value, FoldersText)
    return source, tuple(said.apart) if said is not None else ()


def folder_problems(
    files: Sequence[str], folders: Mapping[str, bool], folders_text: tuple[str, str] | None
) -> list[Problem]:
    """Returns everything that is wrong with a folder by the names in it.

    Args:
        files: names of what is no folder.
        folders: names of its sub folders, and whether there is anything in each that could be meant as policy.
        folders_text: name and text of the file that says which of them stand apart, where there is one.
    """
    problems = [Problem(name, 0, 0, *why) for name in files if (why := refusal(name)) is not None]
    if len(files) + len(folders) > MOST:
        total = f"{len(files) + len(folders):,} names are more than a folder of policies may have ({MOST:,})"
        problems.append(Problem("", 0, 0, total, "name the folder that holds the policies and nothing else"))
    if set(FOLDERS) <= set(files):
        problems.append(Problem(FOLDERS[1], 0, 0, f"{FOLDERS[0]} says which folders stand apart", "keep one of them"))
    apart: tuple[str, ...] = ()
    if folders_text is not None:
        source, apart = read_folders(*folders_text)
        for number, name in enumerate(apart):
            if name not in folders:
                place = source.value_at(("apart", number))
                source.add(place, f"there is no sub folder `{name}`", suggest(name, folders))
        problems += source.problems
    problems += [
        Problem(
            f"{name}/", 0, 0, "a folder in the folder of policies: what is in it would not be loaded",
            f"move its files up; or, if it is a policy set of its own, say `apart: [{name}]` in {FOLDERS[0]}",
        )
        for name, holds in folders.items()
        if name not in apart and not is_left_over(name) and (holds or is_policy_file(name))
    ]  # fmt: skip
    return problems
