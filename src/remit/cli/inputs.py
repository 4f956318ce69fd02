"""Values that people type: `k=v`, `k:=JSON`, `@file.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from remit.errors import BadInput


def read_inputs(inputs: tuple[str, ...]) -> object:
    """Returns a run's input as the options say it.

    Raises:
        BadInput: an option is not `k=v`, `k:=JSON` or `@file.json`, or the file can't be read.
    """
    found: dict[str, Any] = {}
    for text in inputs:
        if text.startswith("@"):
            loaded = _file(text[1:])
            if len(inputs) == 1:
                return loaded
            if not isinstance(loaded, dict):
                raise BadInput(f"--input `{text}`: beside other inputs the file must hold an object")
            found |= loaded
            continue
        name, equals, said = text.partition("=")
        if not equals or not name.rstrip(":"):
            raise BadInput(f"--input `{text}`: write k=v, k:=JSON, or @file.json")
        given = _parsed(said, f"--input `{text}`: after `:=` comes JSON") if name.endswith(":") else said
        found[name.removesuffix(":")] = given
    return found or None


def _file(name: str) -> Any:
    try:
        data = Path(name).read_bytes()
    except (OSError, ValueError) as error:
        raise BadInput(f"--input `@{name}`: it can't be read: {getattr(error, 'strerror', error)}") from error
    return _parsed(data, f"--input `@{name}`: it is not JSON")


def parse_json(text: str, what: str) -> Any:
    """Returns what JSON says. Raises BadInput: `what` isn't JSON."""
    return _parsed(text, f"{what} is not JSON")


def _parsed(data: str | bytes, complaint: str) -> Any:
    """Not by orjson, to which a large integer is a float."""
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{complaint}: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def run_and_call(text: str) -> tuple[str, str]:
    """Returns the run and the call that `RUN/TASK#N` names. Raises BadInput."""
    run, slash, call = text.partition("/")
    if not slash:
        raise BadInput(f"`{text}`: write RUN/TASK#N; `remit runs show {run}` names the calls")
    return run, call
