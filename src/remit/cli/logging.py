"""The options of the commands that write logs. Apart, because structlog takes its time to import."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, TypeVar, cast

import click

from remit.logs import configure

R = TypeVar("R")


def log_options(function: Callable[..., R]) -> Callable[..., R]:
    """Adds `--log-format` and `--log-level`, and sets up the operators' logs on stderr."""

    @click.option(
        "--log-format",
        type=click.Choice(["console", "json"]),
        default="console",
        show_default=True,
        help="How the operators' logs on stderr look.",
    )
    @click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="warning",
        show_default=True,
        help="From which level on they are written; info tells of every call.",
    )
    @wraps(function)
    def wrapped(*args: Any, log_format: str, log_level: str, **kwargs: Any) -> R:
        configure(
            cast(Literal["console", "json"], log_format),
            cast(Literal["debug", "info", "warning", "error"], log_level),
        )
        return function(*args, **kwargs)

    return wrapped
