"""Every function of conditions: CEL's own, and the ones that we add, with their types for the checker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from remit.core.cel.calendars import is_during
from remit.core.cel.conversions import FUNCTIONS as STANDARD
from remit.core.cel.matchers import MATCHERS
from remit.core.cel.money import is_money_in, to_decimal
from remit.core.cel.shapes import Kind

_NUMBERS: Final = ("int", "uint", "double")


@dataclass(frozen=True, slots=True)
class Added:
    """A function that is not CEL's: its overloads as (arguments, result), and whether it is called on its first."""

    apply: Callable[..., object]
    overloads: tuple[tuple[tuple[str, ...], str], ...]
    result: Kind
    member: bool = True


ADDED: Final[Mapping[str, Added]] = MappingProxyType(
    {
        **{name: Added(apply, ((("string", "string"), "bool"),), Kind.BOOL) for name, apply in MATCHERS.items()},
        "isDuring": Added(is_during, ((("timestamp", "dyn"), "bool"),), Kind.BOOL),
        "isMoneyIn": Added(is_money_in, tuple(((kind, "string"), "bool") for kind in _NUMBERS), Kind.BOOL),
        "decimal": Added(
            to_decimal, tuple(((kind,), "double") for kind in ("string", *_NUMBERS)), Kind.DECIMAL, member=False
        ),
    }
)

FUNCTIONS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType(
    {**STANDARD, **{name: added.apply for name, added in ADDED.items()}}
)


def declarations() -> Iterator[str]:
    """The lines of the checker's configuration that declare what we add."""
    for name, added in ADDED.items():
        yield f"  - name: '{name}'"
        yield "    overloads:"
        for number, (arguments, result) in enumerate(added.overloads):
            yield f"      - id: 'remit_{name}{number}'"
            target, *rest = arguments if added.member else ("", *arguments)
            if target:
                yield f"        target: {{type_name: {target}}}"
            yield f"        args: [{', '.join(f'{{type_name: {each}}}' for each in rest)}]"
            yield f"        return: {{type_name: {result}}}"
