"""What was cut in pieces and put together again is known by its pieces, and other texts are not."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from remit.core.pieces import MADE_MIN, PIECE_MIN, Pieces

WHOLE = st.text("abcdefghijklmnop0123456789", min_size=MADE_MIN, max_size=40)
BAD = ("untrusted",)


def cut(text: str, at: list[int]) -> list[str]:
    ends = sorted({0, len(text), *(1 + one % (len(text) - 1) for one in at)})
    return [text[start:end] for start, end in itertools.pairwise(ends)]


@given(WHOLE, st.lists(st.integers(0, 99), min_size=1, max_size=9), st.text("xyz", max_size=9))
def test_pieces_in_the_order_in_which_they_were_sent_are_found_whatever_their_length(
    whole: str, at: list[int], before: str
) -> None:
    pieces = Pieces()
    for piece in [before, *cut(whole, at)]:
        pieces.add("keep", "part", piece, BAD)
    assert pieces.labels_of(f"Pay to {whole}, please") == BAD
    assert pieces.labels_of(whole.upper()) == BAD


@given(WHOLE.filter(lambda text: len(text) >= 2 * PIECE_MIN), st.integers(PIECE_MIN, 12), st.randoms())
def test_longer_pieces_are_found_in_any_order(whole: str, size: int, dice: random.Random) -> None:
    found = [whole[at : at + size] for at in range(0, len(whole), size)]
    if len(found[-1]) < PIECE_MIN:
        found[-2:] = ["".join(found[-2:])]
    pieces = Pieces()
    for number, piece in enumerate(dice.sample(found, len(found))):
        pieces.add("keep", f"part{number}", piece, BAD)
    assert pieces.labels_of(whole) == (BAD if len(found) > 1 else ())


def test_a_word_that_stands_in_one_piece_alone_says_nothing() -> None:
    pieces = Pieces()
    pieces.add("write", "title", "conference agenda", BAD)
    pieces.add("write", "title", "minutes", BAD)
    for text in ("conference", "the agenda of the conference", "minutes of it", "", "a", "conferences"):
        assert pieces.labels_of(text) == ()


def test_what_is_kept_of_a_run_is_bounded_and_the_newest() -> None:
    pieces = Pieces()
    for number in range(20_000):
        pieces.add("keep", "part", f"{number:05}", BAD)
    assert pieces.labels_of("199981999") == BAD
    assert len(pieces._rows["keep", "part"]._text) <= 16_384
