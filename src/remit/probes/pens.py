"""SSH keys in memory: those of `remit.testing`."""

from __future__ import annotations

from remit.testing import Pen

__all__ = ["Pen"]
