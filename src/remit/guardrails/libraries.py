"""The detectors' libraries, imported on request: none of them is needed by those who use none."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from remit.errors import BadInput


def library(name: str, extra: str = "guardrails") -> ModuleType:
    """Imports a detector's library; `extra` is the one of ours that brings it.

    Raises:
        BadInput: it isn't installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise BadInput(f"`{name}` is not installed: pip install 'remit[{extra}]'") from error
