"""Reads UBL 2.1 / EN 16931 invoices and credit notes: XML from strangers, so with defusedxml."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
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
_LARGEST = 5_000_000
"""Bytes; an invoice with its attachments is smaller."""


class Invoice(BaseModel):
    """What a bookkeeper needs of an e-invoice. Everything in it was written by somebody else."""

    document: Literal["invoice", "credit note"]
    number: str
    issued: str
    supplier: str
    vat: str
    currency: str
    amount: Decimal
    iban: str
    note: str


def read(path: Path) -> Invoice:
    """Reads one file.

    Raises:
        ValueError: it isn't XML, isn't a UBL invoice or credit note, is too large, or lacks what is needed.
    """
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path.name}: over {_LARGEST} bytes")
    try:
        root = parse(path, forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(f"{path.name}: not well-formed XML, or not safe to read: {error}") from error
    document = _ROOTS.get(root.tag) if root is not None else None
    if root is None or document is None:
        raise ValueError(f"{path.name}: neither a UBL invoice nor a credit note")
    party = "a:AccountingSupplierParty/a:Party"
    try:
        amount = Decimal(_text(root, "a:LegalMonetaryTotal/b:PayableAmount", path))
    except InvalidOperation as error:
        raise ValueError(f"{path.name}: the payable amount is not a number") from error
    return Invoice(
        document=document,
        number=_text(root, "b:ID", path),
        issued=_text(root, "b:IssueDate", path),
        supplier=_text(root, f"{party}/a:PartyLegalEntity/b:RegistrationName", path),
        vat=_compact(_find(root, f"{party}/a:PartyTaxScheme/b:CompanyID")),
        currency=_text(root, "b:DocumentCurrencyCode", path),
        amount=amount,
        iban=_compact(_find(root, "a:PaymentMeans/a:PayeeFinancialAccount/b:ID")),
        note="\n".join(" ".join((note.text or "").split()) for note in root.findall("b:Note", _NAMES)),
    )


def _find(root: Element, path: str) -> str:
    return (root.findtext(path, "", _NAMES) or "").strip()


def _text(root: Element, where: str, path: Path) -> str:
    found = _find(root, where)
    if not found:
        raise ValueError(f"{path.name}: there is no {where.rsplit(':', 1)[-1]}")
    return found


def _compact(text: str) -> str:
    return "".join(text.split()).replace(".", "").upper()
