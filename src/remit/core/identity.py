"""Names of people, services and agents: which can be one, and when two of them are the same.

Who asked is compared with who rules by these functions and no others: when somebody rules, when a worker acts on it,
and when an auditor looks. They depend on the Unicode tables of Python and on the table below, and on nothing that is
installed beside, so that a name compares tomorrow as it does today.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

LONGEST: Final = 200
"""Characters that a name may have."""
_WORD: Final = re.compile(r"[^\W\d_]+")
UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    chr(code)
    for start, end in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
    for code in range(start, end + 1)
)
"""Characters that show nothing, of categories that mostly do: Default_Ignorable_Code_Point, and the braille blank."""
_CATEGORIES: Final = {
    "Cc": "a control character",
    "Cf": "a format character, which shows nothing",
    "Cs": "half a surrogate pair",
    "Co": "a private-use character",
    "Cn": "a code point that is no character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_SCRIPTS: Final = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU")
"""Scripts, as Unicode's names begin, whose letters pass for those of another."""
_SMALL: Final = {
    "a": "\u0251\u03b1\u0430",
    "b": "\u0184\u042c\u13cf",
    "c": "\u0441\u1d04\u2ca5\uabaf",
    "d": "\u0501\u13e7\ua4d2",
    "e": "\u0435\u04bd\uab32",
    "f": "\u0584\u1e9d\ua799\uab35",
    "g": "\u018d\u0261\u0581\u1d83",
    "h": "\u04bb\u0570\u13c2",
    "i": "\u0131\u0269\u026a\u03b9\u0456\u04cf\u13a5\ua647\uab75",
    "j": "\u03f3\u0458",
    "l": "\u01c0\u04c0\ua4f2",
    "n": "\u0578\u057c",
    "o": "\u03bf\u03c3\u043e\u0585\u1d0f\u1d11\u2c9f\uab3d",
    "p": "\u03c1\u0440\u2ca3",
    "q": "\u051b\u0563\u0566",
    "r": "\u0433\u1d26\u2c85\uab47\uab48\uab81",
    "s": "\u01bd\u0455\ua731\uabaa",
    "u": "\u028b\u03c5\u057d\u1d1c\ua79f\uab4e\uab52",
    "v": "\u03bd\u0475\u1d20\uaba9",
    "w": "\u026f\u0461\u051d\u0561\u1d21\uab83",
    "x": "\u0445",
    "y": "\u0263\u028f\u03b3\u0443\u04af\u1d8c\u1eff\uab5a",
    "z": "\u1d22\uab93",
}
"""Letters that look like a small ASCII letter: Unicode's confusables.txt (UTS #39), of the scripts above."""
_CAPITAL: Final = {
    "a": "\u0391\u0410\u13aa\ua4ee",
    "b": "\u0392\u0412\u13f4\ua4d0\ua7b4",
    "c": "\u0421\u13df\u2ca4\ua4da",
    "d": "\u13a0\ua4d3",
    "e": "\u0395\u0415\u13ac\ua4f0",
    "f": "\u03dc\ua4dd\ua798",
    "g": "\u050c\u13c0\u13f3\ua4d6",
    "h": "\u0397\u041d\u13bb\u2c8e\ua4e7",
    "i": "\u0196\u0399\u0406\u2c92\ua4f2",
    "j": "\u037f\u0408\u13ab\ua4d9\ua7b2",
    "k": "\u039a\u041a\u13e6\u2c94\ua4d7",
    "l": "\u13de\u2cd0\ua4e1",
    "m": "\u039c\u03fa\u041c\u13b7\u2c98\ua4df",
    "n": "\u039d\u2c9a\ua4e0",
    "o": "\u039f\u041e\u0555\u2c9e\ua4f3",
    "p": "\u03a1\u0420\u13e2\u2ca2\ua4d1",
    "r": "\u01a6\u13a1\u13d2\ua4e3",
    "s": "\u0405\u054f\u13d5\u13da\ua4e2",
    "t": "\u03a4\u0422\u13a2\u2ca6\ua4d4",
    "u": "\u054d\ua4f4",
    "v": "\u0474\u13d9\ua4e6",
    "w": "\u051c\u13b3\u13d4\ua4ea",
    "x": "\u03a7\u0425\u2cac\ua4eb\ua7b3",
    "y": "\u03a5\u0423\u04ae\u13a9\u13bd\u2ca8\ua4ec",
    "z": "\u0396\u13c3\ua4dc",
}
"""Letters that look like a capital ASCII letter, by its small one."""


def _table(rows: dict[str, str]) -> dict[int, str]:
    return {ord(letter): ascii_ for ascii_, letters in rows.items() for letter in letters}


_AS_SMALL: Final = _table(_SMALL)
_AS_CAPITAL: Final = _table(_CAPITAL)


def unfit(name: str) -> str:
    """Returns why a text can't be the name of somebody; "" where it can.

    A name is seen as it is: no blanks at its ends, nothing that shows nothing, and no word of two scripts whose letters
    pass for each other.
    """
    if not name.strip():
        return "it is empty"
    if len(name) > LONGEST:
        return f"it has more than {LONGEST} characters"
    for index, character in enumerate(name):
        what = _CATEGORIES.get(unicodedata.category(character), "")
        if what or character in UNSEEN:
            what = what or "a character that shows nothing"
            return f"character {index + 1} is U+{ord(character):04X}, {what}: remove it"
    if name != name.strip():
        return "it begins or ends with a blank: remove it"
    for word in _WORD.findall("" if name.isascii() else unicodedata.normalize("NFC", name)):
        scripts = sorted({script for letter in word if (script := _script(letter))})
        if len(scripts) > 1:
            return f"`{spelt(word)}` mixes letters of {' and '.join(scripts)}, which look alike: write it in one script"
    return ""


def identity(name: str) -> str:
    """Returns what is compared of a name: NFKC, without case, without what shows nothing, each blank one space."""
    if name.isascii() and name.isprintable():
        return " ".join(name.casefold().split())
    shown = "".join(
        " " if character.isspace() else character
        for character in unicodedata.normalize("NFKC", name)
        if character.isspace() or not (character in UNSEEN or unicodedata.category(character) in _CATEGORIES)
    )
    folded = unicodedata.normalize("NFKC", shown.casefold())
    return " ".join(folded.casefold().split())


def looks(name: str) -> str:
    """Returns the identity with every letter that looks like an ASCII one as that: one count for all who look so."""
    return identity(name).translate(_AS_SMALL)


def is_alike(one: str, other: str) -> bool:
    """Whether two names are the same, or can't be told apart by looking at them, in small letters or capitals."""
    return bool(_forms(one) & _forms(other))


def is_one_of(name: str, names: Iterable[str]) -> bool:
    """Whether a name is alike with one of several."""
    forms = _forms(name)
    return any(forms & _forms(other) for other in names)


def spelt(name: str) -> str:
    """Returns a name with what isn't ASCII as its escape: `\\u0430nn`, so that nothing in it passes for another."""
    return "".join(c if c.isascii() and c.isprintable() else f"\\u{ord(c):04x}" for c in name)


def _forms(name: str) -> frozenset[str]:
    found = identity(name)
    if found.isascii():
        return frozenset((found,))
    capitals = unicodedata.normalize("NFKC", found.upper()).translate(_AS_CAPITAL).casefold()
    return frozenset((found, found.translate(_AS_SMALL), capitals))


def _script(letter: str) -> str:
    first = unicodedata.name(letter, "").partition(" ")[0]
    return first.capitalize() if first in _SCRIPTS else ""
