"""Labels: marks on data that only ever join, and how a tool's result labels apply to the parts of a result.

Integrity has two levels: data without `untrusted` is trusted, data with it isn't. Confidentiality is what
may be read by whom: data without a mark is public, `private` is the principal's, and a compartment
(`in:finance`) is read by those it names. Any other label is the user's own, such as `pii`. A join takes
the union, so it is commutative, associative and idempotent, and never loses a mark.

`trusted` and `public` may be written where a tool states what a part of its result is; they are the absence
of marks, not marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

UNTRUSTED: Final = "untrusted"
PRIVATE: Final = "private"
COMPARTMENT: Final = "in:"
REVIEWER: Final = "by:"
NEUTRAL: Final = frozenset({"trusted", "public"})
PESSIMISTIC: Final = (PRIVATE, UNTRUSTED)

Labels = tuple[str, ...]
Stated = Mapping[str, Iterable[str]]


def join(*labels: Iterable[str]) -> Labels:
    """Returns the least labels that are at least each of `labels`: sorted, without the neutral ones."""
    return tuple(sorted({label for some in labels for label in some} - NEUTRAL))


def at_most(low: Iterable[str], high: Iterable[str]) -> bool:
    """Whether data with labels `low` may be treated as data with labels `high`: nothing is lost by it."""
    return set(low) - NEUTRAL <= set(high) - NEUTRAL


def is_trusted(labels: Iterable[str]) -> bool:
    """Whether nobody outside has had a hand in it."""
    return UNTRUSTED not in labels


def is_private(labels: Iterable[str]) -> bool:
    """Whether not everybody may read it: it is private, or in a compartment."""
    return any(label == PRIVATE or label.startswith(COMPARTMENT) for label in labels)


def may_read(labels: Iterable[str], reader: str, readers: Mapping[str, Iterable[str]]) -> bool:
    """Whether `reader` is entitled to data with these labels.

    Args:
        readers: who may read what is `private` or in a compartment, by label; nobody where a label is not named.
    """
    marks = [label for label in labels if label == PRIVATE or label.startswith(COMPARTMENT)]
    return all(reader in readers.get(label, ()) for label in marks)


def by_reviewer(labels: Iterable[str], reviewer: str) -> Labels:
    """Returns the labels of a value that a reviewer wrote or edited, made from a value with `labels`.

    The reviewer answers for its integrity, so it isn't untrusted any more and names them (`by:ann@example.com`);
    who may read it has not changed. This is how an edit endorses: the ruling is the entry that says so.
    """
    name = "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in reviewer.casefold())[:60]
    return join(set(labels) - {UNTRUSTED}, (REVIEWER + name,))


def remove(labels: Iterable[str], removed: Iterable[str]) -> Labels:
    """Returns labels without those that an entry made under policy (an endorsement) removes."""
    return join(set(labels) - set(removed))


class ResultLabels:
    """What a tool says about its result, by JSON pointer, ready to be asked for each part.

    The longest pointer that leads to or above a part says its labels; `*` in a pointer is any name or
    position, and gives way to a name of the same length. A part that no pointer leads to is private and
    untrusted, unless the tool states that nothing is marked at all (`{}`).
    """

    __slots__ = ("_exact", "_removed", "_rest", "_wild")

    def __init__(
        self, stated: Stated, more: Iterable[str] = (), removed: Sequence[tuple[str, tuple[str, ...]]] = ()
    ) -> None:
        """`more`: labels that every part has besides; `removed`: labels that parts with these steps don't have."""
        self._removed = removed
        more = tuple(more)
        self._rest: Labels = join(() if not stated else PESSIMISTIC, more)
        self._exact: dict[tuple[str, ...], Labels] = {}
        self._wild: list[tuple[tuple[str, ...], Labels]] = []
        for pointer, labels in stated.items():
            steps = steps_of(pointer)
            if "*" in steps:
                self._wild.append((steps, join(labels, more)))
            else:
                self._exact[steps] = join(labels, more)
        self._wild.sort(key=lambda found: (-len(found[0]), found[0].count("*"), found[0]))

    def at(self, steps: tuple[str, ...]) -> Labels:
        """Returns the labels of the part at these steps below the result's root."""
        found = self._stated(steps)
        for label, part in self._removed:
            if label in found and any(steps[at : at + len(part)] == part for at in range(len(steps) - len(part) + 1)):
                found = remove(found, (label,))
        return found

    def _stated(self, steps: tuple[str, ...]) -> Labels:
        for length in range(len(steps), -1, -1):
            found = self._exact.get(steps[:length])
            if found is not None:
                return found
            for pattern, labels in self._wild:
                if len(pattern) == length and _fits(pattern, steps):
                    return labels
        return self._rest

    def all(self) -> Labels:
        """Returns the join over every part that a result may have."""
        rest = () if () in self._exact else self._rest
        return join(rest, *self._exact.values(), *(labels for _, labels in self._wild))


def _fits(pattern: tuple[str, ...], steps: tuple[str, ...]) -> bool:
    return all(step in ("*", steps[place]) for place, step in enumerate(pattern))


def steps_of(pointer: str) -> tuple[str, ...]:
    """Returns the steps of a JSON pointer (RFC 6901)."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def pointer_of(steps: Iterable[str]) -> str:
    """Returns the JSON pointer of these steps."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def leaves(value: object, limit: int, depth: int = 64) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yields the scalars of a JSON value with the steps to each, in order; at most `limit`, none below `depth`.

    An empty list or object is a leaf too. What is cut off is for the caller to notice by counting.
    """
    stack: list[tuple[tuple[str, ...], object]] = [((), value)]
    while stack and limit > 0:
        steps, found = stack.pop()
        if isinstance(found, Mapping) and found and len(steps) < depth:
            stack.extend([((*steps, str(key)), item) for key, item in found.items()][::-1])
        elif isinstance(found, (list, tuple)) and found and len(steps) < depth:
            stack.extend([((*steps, str(place)), item) for place, item in enumerate(found)][::-1])
        else:
            limit -= 1
            yield steps, found
