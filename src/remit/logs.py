"""Logs are for operators, on stderr; never evidence: that is the journal, and neither replaces the other.

A module says `_log = logs.get(__name__)` and `_log.warning("lease lost", worker=name)`. Lines go through the
standard library's logger `remit`, so an application that uses Remit sees them where it sees its own: until
it or the CLI says otherwise, warnings and worse on stderr. Ids bound with `bound(run=..., call=...)` are on
every line that the same thread of control writes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.contextvars import bound_contextvars as bound

__all__ = ["bound", "configure", "get", "is_on"]

Format = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]

_ROOT: Final = "remit"
_COLOURS: Final = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31;1m"}


def get(name: str = _ROOT) -> structlog.stdlib.BoundLogger:
    """Returns a logger whose lines go to the standard library's logger `name`, below `remit`."""
    below = name if name == _ROOT or name.startswith(_ROOT + ".") else f"{_ROOT}.{name}"
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(below),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            _hand_over,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return logger


def is_on(level: Level) -> bool:
    """Whether lines of `level` go anywhere: asked on hot paths, before a line is made."""
    return logging.getLogger(_ROOT).isEnabledFor(logging.getLevelNamesMapping()[level.upper()])


def configure(format: Format = "console", level: Level = "warning", stream: TextIO | None = None) -> None:
    """Sends Remit's lines to `stream` (stderr) in `format`, from `level` on. For programs, not libraries.

    Said again, it replaces what was said before.
    """
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    coloured = target.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(_Json() if format == "json" else _Console(coloured))
    root = logging.getLogger(_ROOT)
    root.handlers = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def _hand_over(
    logger: logging.Logger, method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    """Makes a line of the event; the fields go along for formatters that want them apart."""
    options = {name: event.pop(name) for name in ("exc_info", "stack_info", "stacklevel") if name in event}
    if method == "exception":
        options.setdefault("exc_info", True)
    # The line is the message itself, not a template: a `%` in a value must not be taken for one.
    words = str(event.pop("event", ""))
    return (_line(words, event),), {**options, "extra": {"remit_event": words, "remit_fields": dict(event)}}


class _Console(logging.Formatter):
    """`12:30:01 WARNING lease lost  run=r-1 worker=a`, coloured by level where that can be seen."""

    def __init__(self, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        text = f"{clock} {record.levelname:7} {_message(record)}"
        if self._coloured and record.levelname in _COLOURS:
            text = f"{_COLOURS[record.levelname]}{text}\x1b[0m"
        return _with_traceback(self, record, text)


class _Json(logging.Formatter):
    """One object a line: `at`, `level`, `logger`, `event`, the fields, and `exception` if there was one."""

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, Any] = getattr(record, "remit_fields", {})
        line = {
            **fields,
            "at": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "remit_event", None) or record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _message(record: logging.LogRecord) -> str:
    if hasattr(record, "remit_event"):
        return record.getMessage()
    return _shown(record.getMessage())  # a line that the standard library's own call wrote


def _line(words: str, fields: Mapping[str, Any]) -> str:
    pairs = " ".join(f"{name}={_value(value)}" for name, value in sorted(fields.items()))
    return f"{_shown(words)}  {pairs}" if pairs else _shown(words)


def _value(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text and not any(character in text for character in ' "=')
    return text if plain else json.dumps(text)


def _shown(text: str) -> str:
    """Returns `text` on one line: what a tool or model wrote can't forge a line or move the cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _with_traceback(formatter: logging.Formatter, record: logging.LogRecord, text: str) -> str:
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    return text
