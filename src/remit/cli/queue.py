"""`remit queue`: what waits where, and how it is ruled on."""

from __future__ import annotations

import click


@click.group()
def queue() -> None:
    """Look at queues."""
