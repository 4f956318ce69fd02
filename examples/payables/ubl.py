"""Reads UBL 2.1 / EN 16931 invoices and credit notes: XML from strangers, so with defusedxml."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse
from pydantic import BaseModel

_UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
_NAMES = {"b": f"{_UBL}CommonBasicComponents-2", "a": f"{_UBL}CommonAggregateComponents-2"}
_ROOTS: dict[str, Literal["invoice", "credit note"]] = {
    f"{{{_UBL}Invoice-2}}Invoice": "invoice",
    f"{{{_UBL}CreditNote-2}}CreditNote": "credit note",
}
_TOTAL = "a:LegalMonetaryTotal"
_LARGEST = 5_000_000
"""Bytes; an invoice with its attachments is smaller."""


Way = Literal["transfer", "collected", "settled", "unclear"]
"""How an invoice is paid: we transfer the money, the supplier collects it, it was paid already, or nobody can tell."""

MEANS: dict[str, Way] = {
    **dict.fromkeys(("30", "42", "45", "50", "56", "58", "93"), "transfer"),
    **dict.fromkeys(("49", "59"), "collected"),
    **dict.fromkeys(("10", "48", "54", "55", "97"), "settled"),
}
"""Payment means (UNTDID 4461, EN 16931 BT-81) that say who moves the money. Any other is `unclear`: a person decides.

Credit transfers, payments to a bank or giro account and SEPA credit transfers; direct debits; cash, cards and clearing.
"""

_OTHERS = ("PaymentMandate", "CardAccount")
"""What belongs to a direct debit or a card, and not to a transfer."""
_PLAIN = ("", "380", "326", "751", "875", "876", "877")
"""Types of invoices (UNTDID 1001) that ask for the whole sum, and no other document bears on."""
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,10})?", re.ASCII)


class Invoice(BaseModel):
    """What a bookkeeper needs of an e-invoice. Everything in it was written by somebody else.

    Attributes:
        vat: the supplier's VAT number; "" where the document gives none.
        iban: the account to transfer to; "" where there is none.
        doubt: what a person should look at before it is paid, in words; "" for nothing.
    """

    document: Literal["invoice", "credit note"]
    number: str
    issued: str
    supplier: str
    vat: str
    currency: str
    amount: Decimal
    iban: str
    note: str
    way: Way
    doubt: str


def read(path: Path) -> Invoice:
    """Reads one file.

    Raises:
        ValueError: it isn't XML, isn't a UBL invoice or credit note, is too large, or lacks what is needed.
    """
    if not path.is_file():
        raise ValueError(f"{path.name}: not a regular file")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path.name}: over {_LARGEST} bytes")
    try:
        root = parse(path, forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException, LookupError, ValueError, OSError) as error:
        raise ValueError(f"{path.name}: not well-formed XML, or not safe to read: {error}") from error
    document = _ROOTS.get(root.tag) if root is not None else None
    if root is None or document is None:
        raise ValueError(f"{path.name}: neither a UBL invoice nor a credit note")
    party = "a:AccountingSupplierParty/a:Party"
    amount = _number(_text(root, f"{_TOTAL}/b:PayableAmount", path))
    if amount is None:
        raise ValueError(f"{path.name}: the payable amount is not a number")
    kind = _find(root, "b:InvoiceTypeCode") or _find(root, "b:CreditNoteTypeCode")
    way, accounts, doubts = _paid_how(root)
    doubts += [*_unlike_the_supplier(root), *_oddities(root, kind, amount)]
    return Invoice(
        document="credit note" if kind in ("381", "396") else document,
        number=_text(root, "b:ID", path),
        issued=_text(root, "b:IssueDate", path),
        supplier=_text(root, f"{party}/a:PartyLegalEntity/b:RegistrationName", path),
        vat=_vat(root.findall(f"{party}/a:PartyTaxScheme", _NAMES)),
        currency=_text(root, "b:DocumentCurrencyCode", path),
        amount=amount,
        iban=accounts[0] if accounts else "",
        note="\n".join(" ".join((note.text or "").split()) for note in root.findall("b:Note", _NAMES)),
        way=way,
        doubt="; ".join(doubts),
    )


def _vat(schemes: list[Element]) -> str:
    """The VAT number: of the tax schemes of a party the one that is VAT, wherever it stands."""
    for scheme in schemes:
        if _is_vat(scheme):
            return _compact(_find(scheme, "b:CompanyID"))
    return ""


def _is_vat(scheme: Element) -> bool:
    return _find(scheme, "a:TaxScheme/b:ID").upper() == "VAT"


def _paid_how(root: Element) -> tuple[Way, list[str], list[str]]:
    """How it is paid, the accounts that are named for a transfer, and what is unclear about it."""
    means = root.findall("a:PaymentMeans", _NAMES)
    codes = list(dict.fromkeys(_find(one, "b:PaymentMeansCode") or "none" for one in means))
    ways: list[Way] = list(dict.fromkeys(MEANS.get(code, "unclear") for code in codes))
    found = [account for one in means for account in one.findall("a:PayeeFinancialAccount/b:ID", _NAMES)]
    accounts = list(dict.fromkeys(compact for one in found if (compact := _compact(one.text or ""))))
    if not means:
        return "unclear", [], ["it doesn't say how it is paid"]
    if len(ways) > 1:
        return "unclear", accounts, [f"it names several ways to pay it (payment means {', '.join(codes)})"]
    doubts = [f"nobody can tell from it how it is paid (payment means {', '.join(codes)})"] if "unclear" in ways else []
    if ways == ["transfer"] and any(root.find(f"a:PaymentMeans/a:{other}", _NAMES) is not None for other in _OTHERS):
        doubts.append("it asks for a transfer, and names a card or a mandate for a direct debit")
    if len(accounts) > 1:
        doubts.append(f"it names several accounts ({', '.join(accounts)})")
    return ways[0], accounts, doubts


def _oddities(root: Element, kind: str, amount: Decimal) -> list[str]:
    """What else a person should look at."""
    doubts = []
    if kind not in (*_PLAIN, "381", "396"):
        doubts.append(f"it is of type {kind}, which another document bears on")
    whole = _number(_find(root, f"{_TOTAL}/b:TaxInclusiveAmount"))
    prepaid = _number(_find(root, f"{_TOTAL}/b:PrepaidAmount") or "0")
    rounding = _number(_find(root, f"{_TOTAL}/b:PayableRoundingAmount") or "0")
    if whole is None or prepaid is None or rounding is None or whole - prepaid + rounding != amount:
        doubts.append("its payable amount is not its total less what was prepaid")
    if amount != round(amount, 2):
        doubts.append("its payable amount has more than two decimals")
    if len(root.findall(_TOTAL, _NAMES)) > 1:
        doubts.append("it has several totals")
    currency = _find(root, "b:DocumentCurrencyCode")
    for name, words in (("PayableAmount", "its payable amount"), ("TaxInclusiveAmount", "its total")):
        said = root.find(f"{_TOTAL}/b:{name}", _NAMES)
        named = said.get("currencyID", currency) if said is not None else currency
        if named != currency:
            doubts.append(f"it is in {currency}, and {words} in {named}")
    return doubts


def _unlike_the_supplier(root: Element) -> list[str]:
    """What says that the money, or the VAT number, may be somebody else's than the supplier's."""
    supplier = root.find("a:AccountingSupplierParty/a:Party", _NAMES)
    payee = root.find("a:PayeeParty", _NAMES)
    doubts = []
    if supplier is None:
        return ["it names no supplier"]
    vats = {_compact(_find(one, "b:CompanyID")) for one in supplier.findall("a:PartyTaxScheme", _NAMES) if _is_vat(one)}
    if len(vats) > 1:
        doubts.append(f"it names several VAT numbers ({', '.join(sorted(vats))})")
    if payee is None:
        return doubts
    name = _find(payee, "a:PartyName/b:Name")
    known = {
        _folded(_find(supplier, where)) for where in ("a:PartyLegalEntity/b:RegistrationName", "a:PartyName/b:Name")
    }
    legal = _find(payee, "a:PartyLegalEntity/b:CompanyID")
    if not name or _folded(name) not in known:
        doubts.append(f"the money goes to {name or legal or 'somebody'}, who is not the supplier")
    elif legal and legal != _find(supplier, "a:PartyLegalEntity/b:CompanyID"):
        doubts.append(f"the money goes to {name} with another registration, {legal}, than the supplier's")
    return doubts


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _number(text: str) -> Decimal | None:
    """A decimal as XML writes it (xsd:decimal), of at most 15 digits before the point; None for anything else."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _find(root: Element, path: str) -> str:
    return (root.findtext(path, "", _NAMES) or "").strip()


def _text(root: Element, where: str, path: Path) -> str:
    found = _find(root, where)
    if not found:
        raise ValueError(f"{path.name}: there is no {where.rsplit(':', 1)[-1]}")
    return found


def _compact(text: str) -> str:
    """Without blanks, dots, and characters that nobody sees."""
    return "".join(letter for letter in text if letter.isprintable() and letter not in " .").upper()
