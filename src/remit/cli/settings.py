"""Where the store, the policies and the app are: options, then variables, then `remit.toml`."""

from __future__ import annotations

import asyncio
import re
import signal
import tomllib
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, cast

import click
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from remit.cli import TERMINATED
from remit.errors import BadInput, SettingsError
from remit.runtime.textfiles import read_bounded

FILE = "remit.toml"
_LARGEST = 1_000_000
"""Bytes that `remit.toml` may have."""
_DEEPEST = 16
"""How many arrays and tables may stand inside each other in it."""
_TOML = re.compile(
    r'"""(?:\\.|[^\\])*?"""|'
    r"'''.*?'''|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'[^'\n]*'|#[^\n]*|[\[{\]}]",
    re.DOTALL,
)
"""A text, a comment or a bracket."""
P = ParamSpec("P")
R = TypeVar("R")


class ChannelSettings(BaseModel):
    """Through what people are told, `[channels.NAME]`. Secrets are in variables, whose names stand here."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["webhook", "command", "apprise"]
    url: str = ""
    url_env: str = ""
    secret_env: str = ""
    command: list[str] = []
    events: list[Literal["opened", "reminder", "handed_on", "expired", "ruled", "grant_made", "grant_revoked"]] = []
    """All, if none is named."""
    timeout: float = Field(10.0, gt=0, le=300)
    """Seconds of one attempt."""


class Settings(BaseSettings):
    """An option beats a variable, a variable beats the file."""

    model_config = SettingsConfigDict(env_prefix="REMIT_", extra="forbid", env_ignore_empty=True)

    store: str = "sqlite:///remit.db"
    policies: str = "policies"
    app: str = ""
    keys: str = "keys"
    anchor: str = ""
    packs: tuple[str, ...] = ()
    secrets: dict[str, str] = {}
    """Files that hold secrets, by name."""
    review_key: str = ""
    channels: dict[str, ChannelSettings] = {}
    policy_keys: tuple[str, ...] = ()
    journal_key: str = ""
    """64 hex digits, where the key that authenticates the store's entries is no file in `keys`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Puts the file last."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _of_file())


def _of_file() -> dict[str, Any]:
    """Returns what `remit.toml` in the working directory says; nothing where it isn't there. Raises SettingsError."""
    path = Path(FILE)
    if not path.exists():
        return {}
    try:
        text = read_bounded(path, _LARGEST)
    except BadInput as error:
        raise SettingsError(f"`{FILE}`: {error}") from error
    if lone := re.search("[\ud800-\udfff]", text):
        raise SettingsError(f"`{FILE}` is not UTF-8: {_place(text, lone.start())}")
    depth = 0
    for part in _TOML.finditer(text):
        depth += (part[0] in "[{") - (part[0] in "]}")
        if depth > _DEEPEST:
            raise SettingsError(
                f"`{FILE}`: more than {_DEEPEST} arrays and tables inside each other ({_place(text, part.start())})"
            )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"`{FILE}` is not TOML: {error}") from error
    except RecursionError as error:
        raise SettingsError(f"`{FILE}`: its tables are nested too deeply to be read") from error


def _place(text: str, index: int) -> str:
    return f"at line {text.count(chr(10), 0, index) + 1}, column {index - text.rfind(chr(10), 0, index)}"


def settings(**options: str | None) -> Settings:
    """Returns the settings; an option that is None was not given.

    Raises:
        SettingsError: remit.toml isn't TOML, or has an unknown or ill-typed key.
    """
    try:
        return Settings(**cast(dict[str, Any], {key: value for key, value in options.items() if value is not None}))
    except RecursionError as error:
        raise SettingsError(f"`{FILE}`: its tables are nested too deeply to be read") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(f"`{name}`" for name in Settings.model_fields)
        what = (
            f"there is no setting `{key}`; there are {known}"
            if first["type"] == "extra_forbidden"
            else first["msg"][:1].lower() + first["msg"][1:]
        )
        raise SettingsError(f"`{FILE}` or the variable of `{key}`: {what}") from error


def store_option(function: Callable[P, R]) -> Callable[P, R]:
    """Adds `--store`."""
    return click.option("--store", metavar="URL", help="The store, such as sqlite:///remit.db.")(function)


def keys_option(function: Callable[P, R]) -> Callable[P, R]:
    """Adds `--keys`."""
    return click.option("--keys", metavar="DIR", help="The folder of private keys.")(function)


def key_option(function: Callable[P, R]) -> Callable[P, R]:
    """Adds `--key`."""
    return click.option("--key", metavar="FILE", help="Your SSH key; of one in an agent, its .pub file.")(function)


def policies_option(function: Callable[P, R]) -> Callable[P, R]:
    """Adds `--policies`."""
    return click.option("--policies", metavar="DIR", help="The folder of policy files.")(function)


def folder_argument(function: Callable[..., R]) -> Callable[..., R]:
    """Adds `[DIR]`, and `--policies` for the same, which the command gets as `policies`. DIR comes last.

    So it is the same for every command that reads a folder of policies.
    """

    @wraps(function)
    def wrapped(*args: Any, folder: str | None, policies: str | None, **kwargs: Any) -> R:
        if folder is not None and policies is not None:
            raise click.UsageError(
                "the policies are named twice: as DIR or with --policies", click.get_current_context()
            )
        return function(*args, policies=folder if folder is not None else policies, **kwargs)

    return click.argument("folder", metavar="[DIR]", required=False)(policies_option(wrapped))


def json_option(function: Callable[P, R]) -> Callable[P, R]:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON: an array of objects.")(function)


async def _terminable(command: Coroutine[Any, Any, R]) -> R:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await command


def asynchronous(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Runs an async command. Ctrl-C and SIGTERM cancel it, so that it lets go of what it holds."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return asyncio.run(_terminable(function(*args, **kwargs)))
        except asyncio.CancelledError:
            raise click.exceptions.Exit(TERMINATED) from None

    return wrapped
