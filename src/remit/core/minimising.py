"""Minimising: of a result, an agent has the parts that the run's purpose lets be seen, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from remit.core.labels import pointer_of, steps_of

WITHHELD: Final = "[withheld]"
"""What stands for text that a result's type needs and a purpose doesn't let be seen: neither its length nor form."""


def minimised(value: object, columns: Iterable[str]) -> tuple[object, object, tuple[str, ...]]:
    """Returns a result with only the parts at the pointers, in two ways, and pointers to what was taken out.

    The first leaves out fields and items that are not to be seen. The second keeps every name and position, for a
    result whose type needs them: text becomes `WITHHELD`, a list or object is emptied, any other value is null.

    Args:
        columns: JSON pointers; `*` is any name or position. All below what a pointer leads to may be seen.
    """
    taken: list[str] = []
    cut = _cut(value, (), [steps_of(pointer) for pointer in columns], taken)
    left, blanked = cut if cut is not None else (None, _blank(value))
    return left, blanked, tuple(taken)


def _cut(
    value: Any, here: tuple[str, ...], columns: Sequence[tuple[str, ...]], taken: list[str]
) -> tuple[Any, Any] | None:
    """Returns the value without, and with, blanks for what is not to be seen; None where nothing of it is."""
    if any(not steps for steps in columns):
        return value, value
    if not columns or not isinstance(value, (dict, list)):
        taken.append(pointer_of(here))
        return None
    parts = list(value.items()) if isinstance(value, dict) else [(str(at), item) for at, item in enumerate(value)]
    kept = []
    for name, item in parts:
        below = [steps[1:] for steps in columns if steps[0] in ("*", name)]
        kept.append((name, item, _cut(item, (*here, name), below, taken)))
    if isinstance(value, list):
        return [cut[0] for _, _, cut in kept if cut], [cut[1] if cut else _blank(item) for _, item, cut in kept]
    return (
        {name: cut[0] for name, _, cut in kept if cut},
        {name: cut[1] if cut else _blank(item) for name, item, cut in kept},
    )


def _blank(value: object) -> object:
    if isinstance(value, str):
        return WITHHELD
    return type(value)() if isinstance(value, (dict, list)) else None
