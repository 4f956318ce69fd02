"""Values cut in pieces: short texts that were sent one by one, and a text that somebody made of them again.

A tool that stores pieces and returns them joined may call its result trusted. What is made of at least two pieces that
nobody vouched for has their labels all the same: pieces of any length, in the order in which they were sent; or of four
characters and more, in any. A word that stands in one piece alone says nothing here.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from remit.core import matching
from remit.core.labels import Labels, join

MADE_MIN: Final = 8
"""Characters, without blanks and punctuation, that a text has at least to be looked at: shorter ones meet by chance."""
PIECE_MIN: Final = 4
PIECE_MAX: Final = 256
"""What is longer is no piece of a name, an address or a number."""
KEPT_MAX: Final = 16_384
"""Characters of the pieces sent to one argument of one tool that are kept in their order: the newest."""


class Pieces:
    """The short texts that a run sent and that nobody vouches for."""

    def __init__(self) -> None:
        self._known: dict[str, Labels] = {}
        self._lengths: set[int] = set()
        self._begin: set[str] = set()
        self._rows: dict[tuple[str, str], _Row] = {}

    def add(self, tool: str, argument: str, text: str, labels: Labels) -> None:
        """Adds a text that was sent."""
        piece = "".join(matching.words(text[: 2 * PIECE_MAX]))
        if not 0 < len(piece) <= PIECE_MAX:
            return
        self._rows.setdefault((tool, argument), _Row()).add(piece, labels)
        if len(piece) >= PIECE_MIN:
            self._known[piece] = join(self._known.get(piece, ()), labels)
            self._lengths.add(len(piece))
            self._begin.add(piece[:PIECE_MIN])

    def labels_of(self, text: str) -> Labels:
        """Returns the labels of the pieces that a part of a text is made of; none where it is made of none."""
        found: list[Labels] = []
        for word in text.split() if self._rows else ():
            made = "".join(matching.words(word)) if len(word) >= MADE_MIN else ""
            if len(made) >= MADE_MIN and made not in self._known:
                found += [row.labels for row in self._rows.values() if row.holds(made)]
                found += self._made_of(made)
        return join(*found)

    def _made_of(self, made: str) -> list[Labels]:
        """Returns the labels of known pieces that make a text when they are put one after the other."""
        if made[:PIECE_MIN] not in self._begin or len(made) > PIECE_MAX:
            return []
        reached: dict[int, Labels] = {0: ()}
        for at in range(len(made)):
            if at in reached:
                for length in self._lengths:
                    labels = self._known.get(made[at : at + length])
                    if labels is not None and at + length <= len(made):
                        reached[at + length] = join(reached.get(at + length, ()), reached[at], labels)
        return [reached[len(made)]] if len(made) in reached else []


class _Row:
    """Pieces sent to one argument of one tool, one after the other."""

    def __init__(self) -> None:
        self.labels: Labels = ()
        self._text = ""
        self._ends: list[int] = []
        self._grams: set[str] = set()

    def add(self, piece: str, labels: Labels) -> None:
        if len(self._text) + len(piece) > KEPT_MAX:
            self._text, self._ends, self._grams = self._text[-PIECE_MAX:], [], set()
        start = max(len(self._text) - 3, 0)
        self._text += piece
        self._ends.append(len(self._text))
        self._grams.update(self._text[at : at + 4] for at in range(start, len(self._text) - 3))
        self.labels = join(self.labels, labels)

    def holds(self, made: str) -> bool:
        """Whether a text stands here across the end of a piece."""
        if made[:4] not in self._grams or made[-4:] not in self._grams:
            return False
        at = self._text.find(made)
        while at >= 0:
            end = bisect_right(self._ends, at)
            if end < len(self._ends) and self._ends[end] < at + len(made):
                return True
            at = self._text.find(made, at + 1)
        return False
