"""`remit policy diff`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click

from remit.cli.drafts import says_what_is_in_force
from remit.cli.output import escaped, folded, heading, print_json
from remit.cli.settings import Settings, asynchronous, folder_argument, json_option, settings, store_option
from remit.cli.stores import open_store
from remit.core.entries import PolicyLoaded
from remit.core.filenames import is_left_over, largest
from remit.errors import BadInput, UnknownId
from remit.policykit.diff import Difference, compare
from remit.runtime.policyfolder import gather, read_policies
from remit.runtime.recordedcalls import recorded_texts

_DIGEST = re.compile(r"[0-9a-f]{6,64}")
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@click.command()
@click.argument("old", metavar="OLD")
@folder_argument
@store_option
@json_option
@click.pass_context
@says_what_is_in_force
@asynchronous
async def diff(ctx: click.Context, old: str, policies: str | None, store: str | None, as_json: bool) -> None:
    """Say what differs from OLD to DIR (the policies of the settings, if not given), rule by rule and in words.

    Each is a folder; a git ref, as HEAD~1, or main:policies to name the folder; or the digest of a policy set that the
    store has recorded, or its beginning. With each difference stands which way verdicts can go by it: wider, stricter,
    either, or the same.

    Exit codes: 0 they mean the same, 1 they differ, 2 one can't be read.
    """
    found = settings(store=store)
    differences = compare(await files_of(found, old), await files_of(found, policies or found.policies))
    if as_json:
        print_json(one.row() for one in differences)
    else:
        for one in differences:
            show_difference(one)
        if not differences:
            click.echo("they mean the same", err=True)
    ctx.exit(1 if differences else 0)


def show_difference(one: Difference) -> None:
    """Prints a difference."""
    click.echo(f"{_SIGNS[one.change]} {heading(one.name)}  {one.change}: {one.direction.value}")
    for words in one.words:
        click.echo(folded(escaped(words), "    "))


async def files_of(found: Settings, name: str) -> dict[str, str]:
    """Returns the files that a folder, a git ref or a digest names, in this order."""
    if Path(name).is_dir():
        return read_policies(name, found.packs)
    ref, colon, folder = name.partition(":")
    if _is_ref(ref):
        return _of_git(found, ref, folder if colon else found.policies)
    if _DIGEST.fullmatch(name):
        async with await open_store(found) as journal:
            sets = {
                entry.body.digest: entry.body
                for entry in await journal.read("policy")
                if isinstance(entry.body, PolicyLoaded) and entry.body.digest.startswith(name)
            }
            if len(sets) == 1:
                return await recorded_texts(journal, next(iter(sets.values())))
            if sets:
                raise UnknownId(f"`{name}`: {len(sets)} recorded policy sets begin so: write more of it")
    raise UnknownId(f"`{name}` is no folder, no git ref here, and no policy set of the store")


def _is_ref(ref: str) -> bool:
    return (
        bool(ref)
        and not ref.startswith("-")
        and _git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}") is not None
    )


def _of_git(found: Settings, ref: str, folder: str) -> dict[str, str]:
    """Returns a folder's files as they were committed; its path is from the working directory, or the root."""
    place = folder.strip("/") or "."
    for tree in (f"{ref}:./{place}", f"{ref}:{place}"):
        listed = _git("ls-tree", "-z", "-l", tree)
        if listed is not None:
            break
    else:
        raise BadInput(f"`{ref}` has no folder `{place}`: name it as {ref}:FOLDER")
    files: dict[str, tuple[str, str, str]] = {}
    folders: dict[str, bool] = {}
    for row in filter(None, listed.decode("utf-8", "surrogateescape").split("\0")):
        about, _, name = row.partition("\t")
        mode, kind, id, size = about.split()
        if kind == "blob":
            files[name] = mode, id, size
        else:
            below = _git("ls-tree", "-r", "-z", "--name-only", id) if kind == "tree" else None
            names = (below or b"").decode("utf-8", "surrogateescape").split("\0") if below is not None else ["?"]
            folders[name] = any(one and not any(map(is_left_over, one.split("/"))) for one in names)

    def read(name: str) -> str:
        mode, id, size = files[name]
        if mode == "120000":
            raise BadInput("it is a link, of which git has the target's name only: commit the file itself")
        if int(size) > largest(name):
            raise BadInput(f"it has more bytes than a file of its kind may have ({largest(name):,})")
        return (_git("cat-file", "blob", id) or b"").decode("utf-8", "surrogateescape")

    return gather(Path(f"{ref}:{place}"), sorted(files), folders, read, found.packs)


def _git(*command: str) -> bytes | None:
    """Returns what git says, None where it says no or isn't there."""
    try:
        done = subprocess.run(["git", *command], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
