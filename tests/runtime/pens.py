"""SSH keys in memory: the probes', for tests that sign a thousand times."""

from __future__ import annotations

from remit.probes.pens import Pen

__all__ = ["Pen"]
