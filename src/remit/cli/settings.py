"""Where the store, the policies and the app are: options, then variables, then `remit.toml`."""

from __future__ import annotations

import asyncio
import signal
import tomllib
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar, cast

import click
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from remit.cli import TERMINATED
from remit.errors import SettingsError

FILE = "remit.toml"
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

    model_config = SettingsConfigDict(env_prefix="REMIT_", toml_file=FILE, extra="forbid", env_ignore_empty=True)

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
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def settings(**options: str | None) -> Settings:
    """Returns the settings; an option that is None was not given.

    Raises:
        SettingsError: remit.toml isn't TOML, or has an unknown or ill-typed key.
    """
    try:
        return Settings(**cast(dict[str, Any], {key: value for key, value in options.items() if value is not None}))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"`{FILE}` is not TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"`{FILE}` is not UTF-8: byte {error.start}") from error
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
