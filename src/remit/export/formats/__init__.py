"""Views of runs in the formats of others. Derived from the journal, never the evidence: that is the bundle.

Each format's module is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator

from remit.export.rows import RunRows

Writer = Callable[[Iterable[RunRows]], Iterator[bytes]]
FORMATS = {
    "csv": ("table", "write_csv"),
    "parquet": ("table", "write_parquet"),
    "ocsf": ("ocsf", "write"),
    "otlp": ("otlp", "write"),
    "prov": ("prov", "write"),
}


def writer(name: str) -> Writer:
    """Returns what writes the format `name`, one of `FORMATS`."""
    module, function = FORMATS[name]
    found: Writer = getattr(importlib.import_module(f"remit.export.formats.{module}"), function)
    return found
