"""The detectors that come with Remit, by the name that `guardrails.yaml` uses for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import import_module
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from remit.core.detectors import Detector
from remit.errors import BadInput

BUILTIN: Mapping[str, str] = {
    name: f"remit.guardrails.{name}"
    for name in ("paths", "pii", "quality", "schema", "secrets", "shell", "sql", "text", "urls")
}
"""Name to the module that makes it: a function of the same name."""


def build(detector: str, name: str, options: Mapping[str, Any], now: Callable[[], datetime]) -> Detector[Any]:
    """Returns a detector made with options as a file gives them.

    Args:
        detector: a name of `BUILTIN`.
        name: what its facts are called.
        now: the clock, for detectors that ask how old something is.

    Raises:
        BadInput: there is no such detector, its library is not installed, or an option is unknown, missing or wrong.
    """
    if detector not in BUILTIN:
        raise BadInput(f"there is no detector `{detector}`")
    make = getattr(import_module(BUILTIN[detector]), detector)
    given = {key: value for key, value in (("name", name), ("now", now)) if key in inspect.signature(make).parameters}
    return make(**given, **_typed(detector, make, options))  # type: ignore[no-any-return]  # all of them make one


def options_of(detector: str) -> tuple[str, ...]:
    """Returns the names of the options that a detector of `BUILTIN` takes."""
    make = getattr(import_module(BUILTIN[detector]), detector)
    return tuple(name for name in inspect.signature(make).parameters if name not in ("name", "now"))


def _typed(detector: str, make: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(make)
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is inspect.Parameter.empty else parameter.default)
        for name, parameter in inspect.signature(make).parameters.items()
        if name not in ("name", "now")
    }
    model = create_model(detector, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **fields)
    try:
        checked = model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"option `{place}` of detector `{detector}`: {first['msg'].lower()}") from error
    return {name: getattr(checked, name) for name in options}
