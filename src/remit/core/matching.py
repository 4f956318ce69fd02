"""Texts brought to a form in which the same thing looks the same, and what in them identifies somebody.

Case, Unicode form (NFKC), invisible characters, white space, quotes and punctuation don't count: a text is
its words. Numbers, dates, telephone numbers and account numbers have a canonical form beside, and what is
URL-encoded, or in base64 or hex, is looked at decoded too, a few times over.

Everything here is bounded by its arguments' caps, and every pattern is linear in the text.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Final
from urllib.parse import unquote_plus

TEXT_MAX: Final = 65_536
"""Characters of one text that are looked at."""
FORMS_MAX: Final = 512
"""Canonical forms that are taken from one text."""

_WORD: Final = re.compile(r"[^\W_]+")
_NUMBER: Final = re.compile(r"(?<![\w.,])[-+]?\d{1,24}(?:[.,'’ \u00a0\u202f]\d{1,24}){0,8}(?!\w)")
_PHONE: Final = re.compile(r"(?<!\w)\+?\(?\d[\d ().\-/\u00a0]{5,24}\d(?!\w)")
_ACCOUNT: Final = re.compile(r"[a-z]{2}\d{2}[a-z0-9]{0,30}")
_ISO_DATE: Final = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_DAY_FIRST: Final = re.compile(r"(?<!\d)(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(?!\d)")
_MONTHS: Final = {
    name[:3]: number
    for number, name in enumerate(
        "january february march april may june july august september october november december".split(), 1
    )
}
_MONTH: Final = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_WORDY: Final = (
    re.compile(rf"(?<!\w){_MONTH}\.? {{1,3}}(\d{{1,2}})(?:st|nd|rd|th)?(?:,? {{1,3}}(\d{{4}}))?(?!\w)", re.IGNORECASE),
    re.compile(
        rf"(?<!\w)(\d{{1,2}})(?:st|nd|rd|th)?\.? {{1,3}}{_MONTH}\.?(?:,? {{1,3}}(\d{{4}}))?(?!\w)", re.IGNORECASE
    ),
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2}){6,}(?![0-9A-Za-z])")
_ENCODED_MIN: Final = 12
"""Characters that the two before have at least, none of them a blank."""
_PERCENT: Final = re.compile(r"%[0-9a-fA-F]{2}")
_MAIL: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_URL: Final = re.compile(r"(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>\"'`{}|\\^]{1,2000}", re.IGNORECASE)
_HOST: Final = re.compile(
    r"(?<![\w@.-])(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}(?![\w@-])(?:/[^\s<>\"'`]{0,2000})?", re.IGNORECASE
)
_LONG_DIGITS: Final = re.compile(r"(?<!\w)\d{8,34}(?!\w)")
_FILES: Final = frozenset(
    "doc docx xls xlsx ppt pptx pdf txt md csv tsv json xml yaml yml toml png jpg jpeg gif svg mp3 mp4 zip gz tar"
    " py js ts rs go java html htm css log ini cfg db sql sh rtf odt ods eml ics".split()
)
STOPWORDS: Final = frozenset(
    "a an and are as at be but by can could did do does for from had has have he her him his how i if in into is it"
    " its me my no not of on or our out she should so some than that the their them then there these they this to"
    " too up us was we were what when where which who will with would you your please also all any each new one two"
    " http https www com org net mailto re fwd".split()
)


def plain(text: str) -> str:
    """Returns the text in NFKC, without characters that can't be seen, and cut at `TEXT_MAX`."""
    text = text[:TEXT_MAX]
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")[:TEXT_MAX]


def words(text: str) -> list[str]:
    """Returns the words of a text, folded."""
    return _WORD.findall(plain(text).casefold())


def joined(found: list[str]) -> str:
    """Returns words as one text in which a run of words is found as a substring: a space around each."""
    return f" {' '.join(found)} "


def informative(word: str) -> bool:
    """Whether finding this word somewhere says anything about where a value came from."""
    return len(word) > 2 and word not in STOPWORDS and word not in _MONTH_NAMES


def telling(found: list[str]) -> list[str]:
    """Returns the informative ones of some words."""
    return [word for word in found if len(word) > 2 and word not in _SAYING_NOTHING]


_MONTH_NAMES: Final = frozenset(
    "january february march april june july august september october november december monday tuesday wednesday"
    " thursday friday saturday sunday today tomorrow yesterday".split()
)


_SAYING_NOTHING: Final = STOPWORDS | _MONTH_NAMES


def number(value: object) -> str:
    """Returns the canonical form of a JSON number, "" for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return ""
    try:
        return _canonical(Decimal(str(value)))
    except InvalidOperation:
        return ""


def _canonical(value: Decimal) -> str:
    if not value.is_finite() or abs(value.adjusted()) > 40:
        return ""
    text = f"{value:f}"
    return f"#{text.rstrip('0').rstrip('.') if '.' in text else text}" if value else "#0"


def numbers(text: str) -> Iterator[Decimal]:
    """Yields the numbers in a text, in each way it can be read (`1.200` is 1.2 and 1200). Dates are not numbers."""
    bare = without_dates(text)
    for count, found in enumerate(_NUMBER.finditer(bare)):
        if count >= FORMS_MAX:
            return
        yield from readings(found.group())


def readings(text: str) -> Iterator[Decimal]:
    """Yields what a written number may mean."""
    compact = re.sub(r"['’ \u00a0\u202f]", "", text)
    ways = {compact.replace(",", ""), compact.replace(".", "").replace(",", "."), compact.replace(",", ".")}
    for way in sorted(ways):
        if way.count(".") <= 1 and len(way) <= 40:
            try:
                yield Decimal(way)
            except InvalidOperation:
                continue


def without_dates(text: str) -> str:
    """Returns the text with its dates blanked."""
    for pattern in (_ISO_DATE, _DAY_FIRST, *_WORDY):
        text = pattern.sub(" ; ", text)
    return text


def dates(text: str) -> Iterator[str]:
    """Yields the dates in a text as `@YYYY-MM-DD`, and `@MM-DD` where it names no year."""
    for year, month, day in _ISO_DATE.findall(text)[:FORMS_MAX]:
        yield from _date(year, month, day)
    for first, second, year in _DAY_FIRST.findall(text)[:FORMS_MAX]:
        yield from _date(year, second, first)
        yield from _date(year, first, second)
    for name, day, year in _WORDY[0].findall(text)[:FORMS_MAX]:
        yield from _date(year, str(_MONTHS[name[:3].lower()]), day)
    for day, name, year in _WORDY[1].findall(text)[:FORMS_MAX]:
        yield from _date(year, str(_MONTHS[name[:3].lower()]), day)


def _date(year: str, month: str, day: str) -> Iterator[str]:
    if 1 <= int(month) <= 12 and 1 <= int(day) <= 31:
        short = f"{int(month):02}-{int(day):02}"
        yield f"@{year}-{short}" if year else f"@{short}"


def forms(text: str, found: list[str]) -> set[str]:
    """Returns the canonical forms of all numbers, dates, telephone and account numbers in a text of words `found`."""
    kept: set[str] = set()
    if any(letter.isdigit() for letter in text):
        text = plain(text)
        kept.update(form for value in numbers(text) if (form := _canonical(value)))
        kept.update(dates(text))
        kept.update(f"+{digits[-9:]}" for digits in _phones(text))
        kept.update(_accounts(found))
    return kept if len(kept) <= 8 * FORMS_MAX else set(sorted(kept)[: 8 * FORMS_MAX])


def whole_forms(text: str) -> set[str]:
    """Returns the canonical forms of a text that is, as a whole, a number, a date, a telephone or account number."""
    text = plain(text).strip().strip("\"'`“”‘’«»")
    if not text or len(text) > 64 or not any(letter.isdigit() for letter in text):
        return set()
    kept: set[str] = set()
    bare = re.sub(r"^(?:[A-Z]{3}|[$€£¥]) ?| ?(?:[A-Z]{3}|[$€£¥%])$", "", text)
    if _NUMBER.fullmatch(bare) and not (_ISO_DATE.fullmatch(bare) or _DAY_FIRST.fullmatch(bare)):
        kept.update(form for value in readings(bare) if (form := _canonical(value)))
    for pattern in (_ISO_DATE, _DAY_FIRST, *_WORDY):
        if pattern.fullmatch(text):
            kept.update(dates(text))
    if _PHONE.fullmatch(text):
        kept.update(f"+{digits[-9:]}" for digits in _phones(text))
    compact = "".join(words(text))
    if 14 <= len(compact) <= 34 and _ACCOUNT.fullmatch(compact):
        kept.add(f"={compact}")
    return kept


def _phones(text: str) -> Iterator[str]:
    for found in _PHONE.findall(text)[:FORMS_MAX]:
        digits = "".join(letter for letter in found if letter.isdigit()).lstrip("0")
        if len(digits) >= 7:
            yield digits


def _accounts(found: list[str]) -> Iterator[str]:
    """Yields account numbers, however they are spaced: words joined from one that starts like an IBAN on."""
    for start, word in enumerate(found):
        if not (len(word) >= 4 and word[:2].isalpha() and word[2:4].isdigit() and _ACCOUNT.fullmatch(word)):
            continue
        compact = ""
        for piece in found[start : start + 10]:
            compact += piece
            if len(compact) > 34:
                break
            if len(compact) >= 14:
                yield f"={compact}"


def decoded(text: str, depth: int = 3) -> Iterator[str]:
    """Yields what is encoded in a text (URL, base64, hex, at most 32 pieces), decoded, `depth` deep."""
    if depth <= 0:
        return
    text = text[:TEXT_MAX]
    found: list[str] = []
    if _PERCENT.search(text):
        found.append(unquote_plus(text))
    long = " ".join(piece for piece in text.split() if len(piece) >= _ENCODED_MIN)
    for piece in _BASE64.findall(long)[:64]:
        found += _as_text(_base64(piece))
    for piece in _HEX.findall(long)[:64]:
        found += _as_text(bytes.fromhex(piece))
    for inner in found[:32]:
        if inner != text:
            yield inner
            yield from decoded(inner, depth - 1)


def _base64(piece: str) -> bytes:
    bare = piece.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _as_text(data: bytes) -> list[str]:
    """Only what is text by all appearances: words happen to be base64 too."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return []
    return [text] if text and all(letter.isprintable() or letter in "\r\n\t" for letter in text) else []


def identifiers(text: str) -> list[tuple[str, str]]:
    """Returns what in a text names a place or an account: kind (mail, url, account, digits) and the text of it."""
    text = plain(text)
    found: dict[str, str] = {}
    for kind, pattern in (("mail", _MAIL), ("url", _URL), ("url", _HOST), ("digits", _LONG_DIGITS)):
        for piece in pattern.findall(text)[:64]:
            piece = piece.rstrip(".,;:!?)]}>*")
            covered = any(piece in seen for seen in found)
            if not covered and not (pattern is _HOST and _is_file(piece)):
                found[piece] = kind
    pieces = words(text)
    for account in list(_accounts(pieces))[:64]:
        compact = account[1:]
        digits = sum(letter.isdigit() for letter in compact)
        if digits >= 12 or (digits >= 8 and compact in pieces):
            found.setdefault(compact.upper(), "account")
    return [(kind, piece) for piece, kind in list(found.items())[:128]]


def _is_file(piece: str) -> bool:
    """`notes.docx` is no host, and neither is `e.g` or `Inc`."""
    host = piece.partition("/")[0].lower()
    last = host.rpartition(".")[2]
    return last in _FILES or len(host) < 5


def is_identifier(text: str) -> bool:
    """Whether the whole text is one identifier."""
    text = text.strip()
    return bool(_MAIL.fullmatch(text) or _URL.fullmatch(text) or any(form[0] == "=" for form in whole_forms(text)))


def is_file(text: str) -> bool:
    """Whether the text is a file's name or path, by its ending."""
    head, dot, last = text.strip().rpartition(".")
    return bool(dot and head and last.lower() in _FILES and len(text) <= 260 and "\n" not in text)
