"""What is in force, said in one line wherever a folder of policies is read that is not it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from remit.cli.output import escaped, moment
from remit.cli.settings import Settings, settings
from remit.cli.stores import open_store
from remit.core.canonical import digest_bytes
from remit.core.policy import is_beside
from remit.errors import PolicyError, RemitError
from remit.runtime.force import look
from remit.runtime.keys import KeyRing
from remit.runtime.policyfolder import read_policies
from remit.runtime.trust import trusted_keys

P = ParamSpec("P")
R = TypeVar("R")


def says_what_is_in_force(function: Callable[P, R]) -> Callable[P, R]:
    """Tells, before a command runs, that its folder of policies is a draft, where the store has another set in force.

    The folder and the store are those that the command's options name.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        options = {name: kwargs.get(name) for name in ("policies", "store", "keys")}
        told = asyncio.run(draft_notice(settings(**{name: str(said) for name, said in options.items() if said})))
        if told:
            click.echo(escaped(told), err=True)
        return function(*args, **kwargs)

    return wrapped


async def draft_notice(found: Settings) -> str:
    """Returns what is in force and that the folder isn't it; "" where the store has no activation, or it is the same.

    A store that isn't there, or can't be read, says nothing here: a command that needs it complains itself.
    """
    if not Path(found.policies).is_dir():
        return ""  # a git ref or a digest, or nothing
    try:
        async with await open_store(found) as journal:
            force = await look(journal, await trusted_keys(journal, KeyRing(found.keys), found.policy_keys))
    except (RemitError, OSError):
        return ""
    said = force.activated
    if said is None:
        return ""
    try:
        texts = read_policies(found.policies, found.packs)
    except PolicyError:
        texts = {}
    own = {name: digest_bytes(text.encode(errors="surrogateescape")) for name, text in texts.items()}
    if {name: sum_ for name, sum_ in own.items() if not is_beside(name)} == said.files:
        return ""
    until = f", until {moment(said.expires)}" if said.expires else ""
    return (
        f"in force is revision {said.revision}, policy set {said.digest[:12]}{until}; `{found.policies}` differs and is"
        f" a draft: see `remit policy diff {said.digest[:12]} {found.policies}`, and `remit policy activate`"
    )
