"""Text that looks like other text: what a reader is told about it, because escaping can't show it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

from remit.core.identity import UNSEEN

_UNSEEN: Final = "".join(sorted(UNSEEN - frozenset(map(chr, range(0x180B, 0x1810)))))
"""Characters that show nothing, but for Mongolian's variation selectors, which are a part of how it is written."""
_WORD: Final = re.compile(rf"[^\W_][^\W_{_UNSEEN}]*(?:[{_UNSEEN}]+[^\W_{_UNSEEN}]*)*")
_HIDDEN: Final = re.compile(f"[{_UNSEEN}]")
_SCRIPTS: Final = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "FULLWIDTH", "MATHEMATICAL")
"""Scripts, as Unicode names begin, whose letters pass for those of another."""
_LOOKS_LATIN: Final = frozenset("асеорхуіјѕһԁԛԝгАВЕЗКМНОРСТХУІЈЅԌԜαοριυνΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")  # noqa: RUF001
_MOST: Final = 3
"""Words that are named; of more it is only said that there are."""
_LONGEST: Final = 40


def disguises(found: Any) -> list[str]:
    """Returns what to tell a reader about the texts in a JSON value that are not what they look like."""
    notes: dict[str, None] = {}
    for text in _texts(found):
        if text.isascii():
            continue
        for word in _WORD.findall(text):
            if not word.isascii() and (why := _why(word)):
                notes[f"`{_spelt(word[:_LONGEST])}` {why}"] = None
    shown = [*notes][:_MOST]
    return shown + ([f"and {len(notes) - _MOST} more such words"] if len(notes) > _MOST else [])


def _why(word: str) -> str:
    if _HIDDEN.search(word):
        return "has a character in it that nobody sees"
    if any(not one.isascii() and one.isalpha() and unicodedata.normalize("NFKC", one).isascii() for one in word):
        return "is written in letters that look like others"
    scripts = {_script(character) for character in word if character.isalpha()} - {""}
    if len(scripts) > 1:
        return "mixes letters of " + " and ".join(sorted(script.capitalize() for script in scripts))
    if scripts & {"FULLWIDTH", "MATHEMATICAL"}:
        return "is written in letters that look like others"
    if all(character in _LOOKS_LATIN or character.isascii() for character in word) and scripts != {"LATIN"}:
        return "has no Latin letter and looks as if it had"
    if any(character.isdigit() and not character.isascii() for character in word):
        return "has digits of another script"
    return ""


def _script(character: str) -> str:
    first = unicodedata.name(character, "").partition(" ")[0]
    return first if first in _SCRIPTS else ""


def _spelt(word: str) -> str:
    """What isn't ASCII as its escape: `p\\u0430ypal`."""
    return "".join(character if character.isascii() else f"\\u{ord(character):04x}" for character in word)


def _texts(found: Any) -> Iterator[str]:
    left = [found]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left += [*value.values(), *value.keys()]
        elif isinstance(value, list):
            left += value
