"""Personal data in values: numbers with a checksum (python-stdnum), phone numbers (libphonenumber), addresses of mail,
and fields whose names say it.

Names of people, and whatever has no form, can't be seen this way: with the option `presidio` a model guesses at them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec

from remit.core.detectors import Detector, Finding, Places, Report, texts
from remit.errors import BadInput
from remit.guardrails.libraries import library

_MAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}(?:@|\s?[\[(]\s?at\s?[\])]\s?)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.|\s?[\[(]\s?dot\s?[\])]\s?))+[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ \-.]?[A-Z0-9]){11,30}(?![A-Za-z0-9])", re.I)
_CARD = re.compile(r"(?<![\dA-Za-z.])\d(?:[ \-.]?\d){12,18}(?![\dA-Za-z])")
_CARD_STARTS = re.compile(r"4|5[1-5]|2[2-7]|3[47]|3[068]|6(?:011|5|4[4-9])|35|62|50|5[6-9]|6[0-9]")
# What a number's neighbours must look like; its own checks come after.
_NUMBERS: dict[str, tuple[str, str]] = {
    "us.ssn": ("us_ssn", r"\d{3}[- ]\d{2}[- ]\d{4}"),
    "us.itin": ("us_itin", r"9\d{2}[- ]\d{2}[- ]\d{4}"),
    "gb.nhs": ("gb_nhs", r"\d{3}[ -]\d{3}[ -]\d{4}"),
    "fr.nir": ("fr_nir", r"[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}"),
    "es.dni": ("es_dni", r"\d{8}-?[A-Za-z]"),
    "es.nie": ("es_nie", r"[XYZxyz]-?\d{7}-?[A-Za-z]"),
    "it.codicefiscale": ("it_codice", r"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]"),
    "pl.pesel": ("pl_pesel", r"\d{11}"),
    "de.idnr": ("de_idnr", r"\d{2} ?\d{3} ?\d{3} ?\d{3}"),
    "se.personnummer": ("se_personnummer", r"(?:\d{2})?\d{6}[-+]\d{4}"),
    "fi.hetu": ("fi_hetu", r"\d{6}[-+A]\d{3}[0-9A-Z]"),
    "dk.cpr": ("dk_cpr", r"\d{6}-\d{4}"),
    "no.fodselsnummer": ("no_fodselsnummer", r"\d{6} ?\d{5}"),
    "ch.ssn": ("ch_ahv", r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}"),
    "be.nn": ("be_nn", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}"),
    "br.cpf": ("br_cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    "in_.aadhaar": ("in_aadhaar", r"\d{4} \d{4} \d{4}"),
    "in_.pan": ("in_pan", r"[A-Z]{5}\d{4}[A-Z]"),
    "cn.ric": ("cn_ric", r"\d{17}[\dXx]"),
    "kr.rrn": ("kr_rrn", r"\d{6}-\d{7}"),
    "ca.sin": ("ca_sin", r"\d{3}[ -]\d{3}[ -]\d{3}"),
    "ro.cnp": ("ro_cnp", r"[1-9]\d{12}"),
    "ie.pps": ("ie_pps", r"\d{7}[A-W][A-IW]?"),
}
_FIELDS = re.compile(
    r"(?i)^(?:(?:first|last|middle|given|family|full|maiden|birth)_?name|surname|forename|(?:date_?of_?)?birth(?:_?date|day)?"
    r"|dob|ssn|(?:social|national)_?(?:security|insurance|id)\w*|passport\w*|driv(?:er|ing)\w*licen[cs]e\w*|tax_?id"
    r"|(?:e_?)?mail(?:_?address)?|(?:mobile|cell|home|work)?_?(?:phone|telephone|tel)(?:_?(?:number|no))?|street\w*"
    r"|(?:home|postal|postal_?)_?address|post_?code|zip(?:_?code)?|gender|sex|ethnicity|religion|nationality|marital\w*"
    r"|salary|iban|account_?(?:number|no)|credit_?card\w*|card_?(?:number|no)|cvv|cvc|diagnos[ie]s|blood_?(?:type|group)"
    r"|medical\w*|health\w*|disabilit\w*|vorname|nachname|geburtsdatum|prenom|fecha_?nacimiento)$"
)
_SEPARATORS = re.compile(r"[\s\-.()/]+")


class PiiFacts(msgspec.Struct, frozen=True):
    """Personal data in a call's arguments, or in a result."""

    found: bool = False
    count: int = 0
    kinds: tuple[str, ...] = ()
    """`email`, `phone`, `iban`, `card`, `us_ssn`, …: numbers are found by their checksum; and `field`; with `presidio`,
    `person`, `location` and `group`."""
    fields: tuple[str, ...] = ()
    """Names of fields that say they hold personal data, as written."""


def pii(
    regions: Sequence[str] = ("US", "GB", "DE"), numbers: Sequence[str] = (), presidio: str = "", name: str = "pii"
) -> Detector[PiiFacts]:
    """Returns a detector of personal data.

    Args:
        regions: two-letter countries whose phone numbers are known without `+`; numbers with `+` always are.
        numbers: kinds of national numbers to look for (`us_ssn`, `fr_nir`, …); empty: all.
        presidio: an installed model of spaCy's, such as `en_core_web_sm`, by which names of people and places are
            guessed at; the detector then scores. Empty: none are.

    Raises:
        BadInput: a library is not installed, or a region or kind of number is unknown.
    """
    phones = library("phonenumbers")
    if unknown := [region for region in regions if region not in phones.SUPPORTED_REGIONS]:
        raise BadInput(f"no such region: `{unknown[0]}`: two letters in upper case")
    kinds = {kind: module for module, (kind, _) in _NUMBERS.items()}
    if unknown := [kind for kind in numbers if kind not in kinds]:
        raise BadInput(f"no such kind of number: `{unknown[0]}`: one of {', '.join(kinds)}")
    checks = [
        (kind, re.compile(rf"(?<![A-Za-z0-9.-]){pattern}(?![A-Za-z0-9-])"), library(f"stdnum.{module}").is_valid)
        for module, (kind, pattern) in _NUMBERS.items()
        if not numbers or kind in numbers
    ]
    iban, luhn = library("stdnum.iban"), library("stdnum.luhn")
    named = import_module("remit.guardrails.presidio").named(presidio) if presidio else None

    def look(places: Places) -> Report[PiiFacts]:
        findings = [
            Finding(kind, pointer, start, end)
            for pointer, text in texts(places)
            for kind, start, end in _spans(text, iban, luhn, checks, phones, regions)
        ]
        for pointer, text in texts(places) if named is not None else ():
            taken = [(one.start, one.end) for one in findings if one.pointer == pointer]
            for kind, start, end in named(text) if named is not None else ():
                if not any(a < end and start < b for a, b in taken):
                    findings.append(Finding(kind, pointer, start, end))
        fields = sorted({key for _, value in places for key in _keys(value) if _FIELDS.match(key)})
        found = {finding.kind for finding in findings} | ({"field"} if fields else set())
        facts = PiiFacts(bool(found), len(findings), tuple(sorted(found)), tuple(fields))
        return Report(facts, tuple(findings))

    return Detector(name, PiiFacts, look, scores=bool(presidio))


Check = tuple[str, re.Pattern[str], Callable[[str], bool]]


def _spans(
    text: str, iban: ModuleType, luhn: ModuleType, checks: Sequence[Check], phones: Any, regions: Sequence[str]
) -> Iterator[tuple[str, int, int]]:
    """Yields what is found; the widest meaning of a place first, and nothing twice."""
    taken: list[tuple[int, int]] = []
    plain, places = _folded(text)
    for kind, start, end in _candidates(plain, iban, luhn, checks, phones, regions):
        if not any(a < end and start < b for a, b in taken):
            taken.append((start, end))
            yield kind, places[start], places[end - 1] + 1


def _candidates(
    text: str, iban: ModuleType, luhn: ModuleType, checks: Sequence[Check], phones: Any, regions: Sequence[str]
) -> Iterator[tuple[str, int, int]]:
    for match in _MAIL.finditer(text):
        yield "email", *match.span()
    for match in _IBAN.finditer(text):
        # What follows may look like more of it: the country says how long it is.
        compact = _SEPARATORS.sub("", match.group()).upper()
        for length in range(min(len(compact), 34), 14, -1):
            if iban.is_valid(compact[:length], check_country=False):
                yield "iban", match.start(), match.start() + _reach(match.group(), length)
                break
    for match in _CARD.finditer(text):
        digits = _SEPARATORS.sub("", match.group())
        if 13 <= len(digits) <= 19 and len(set(digits)) > 1 and _CARD_STARTS.match(digits) and luhn.is_valid(digits):
            yield "card", *match.span()
    for kind, pattern, is_valid in checks:
        for match in pattern.finditer(text):
            if is_valid(match.group()) or is_valid(match.group().replace(" ", "-")):
                yield kind, *match.span()
    if sum(character.isdigit() for character in text) >= 7:
        for region in (None, *regions):
            for phone in phones.PhoneNumberMatcher(text, region, leniency=phones.Leniency.VALID):
                if region is not None and not re.search(r"[ ()./-]|^0|^\+", phone.raw_string):
                    continue  # a bare run of digits is more often an order number
                yield "phone", phone.start, phone.end


def _folded(text: str) -> tuple[str, list[int]]:
    """Returns the text as it reads (full-width digits as digits, nothing invisible) and where each came from."""
    if text.isascii():
        return text, list(range(len(text)))
    kept, places = [], []
    for place, character in enumerate(text):
        category = unicodedata.category(character)
        if category == "Cf":
            continue
        for plain in unicodedata.normalize("NFKC", character):
            digit = unicodedata.decimal(plain, None)
            kept.append(str(digit) if digit is not None else "-" if category == "Pd" else plain)
            places.append(place)
    return "".join(kept), places


def _reach(written: str, length: int) -> int:
    """Returns after how many characters of `written` there were `length` that are no separators."""
    seen = 0
    for place, character in enumerate(written):
        seen += character.isalnum()
        if seen == length:
            return place + 1
    return len(written)


def _keys(value: object) -> Iterator[str]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield from map(str, item)
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item
