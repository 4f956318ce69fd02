"""Accounts payable: reads e-invoices, looks the suppliers up, pays them, and reports.

The agent is gullible on purpose: where an invoice's note tells it to pay another account, it does as it is
told. What stops it is the gate, under `policies/payables.yaml`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Literal

import books
import ubl
from pydantic import BaseModel

from remit import Context, Denied, FactRequest, Graph, Invocation, Task, ToolFailed, fact, tool

# --- tools ---------------------------------------------------------------------------------------------


class Supplier(BaseModel):
    """A supplier in the register; one that isn't there has no name and no account."""

    known: bool
    name: str
    ibans: list[str]


class Receipt(BaseModel):
    """A booked payment."""

    number: int


@tool(effect="read", repeat="idempotent", authority=["folder"], content=[], labels={})
def list_invoices(folder: str) -> list[str]:
    """Lists the XML files of a folder."""
    place = Path(folder)
    if not place.is_dir():
        raise ValueError(f"there is no folder {folder}")
    return sorted(str(path) for path in place.glob("*.xml"))


@tool(effect="read", repeat="idempotent", authority=["path"], content=[], labels={"": ["untrusted"]})
def read_invoice(path: str) -> ubl.Invoice:
    """Reads an e-invoice. What it says was written by somebody else."""
    return ubl.read(Path(path))


@tool(effect="read", repeat="idempotent", authority=["vat"], content=[], labels={})
def find_supplier(vat: str) -> Supplier:
    """Looks a supplier up in the company's register."""
    return _registered(vat)


@tool(
    effect="commit", repeat="keyed", attempts=3, authority=["vat", "iban", "amount", "currency"], content=["reference"]
)
def pay(
    invocation: Invocation,
    vat: str,
    supplier: str,
    iban: str,
    amount: Decimal,
    currency: str,
    reference: str,
    document: Literal["invoice", "credit note"],
    way: ubl.Way,
    doubt: str,
) -> Receipt:
    """Pays a supplier and books it. The ledger refuses to book a key it has seen."""
    return Receipt(number=books.book(invocation.key, vat, reference, iban, amount, currency))


# --- facts: what the policies look at, asked of the company's own books ---------------------------------


@fact(tools=[pay])
def register(request: FactRequest) -> Supplier:
    """What the register says of the supplier to be paid."""
    return _registered(request.args["vat"])


class Booked(BaseModel):
    """Whether the document was paid before."""

    paid: bool


@fact(tools=[pay])
def ledger(request: FactRequest) -> Booked:
    """What the ledger says of the document to be paid."""
    return Booked(paid=books.is_paid(request.args["vat"], request.args["reference"]))


def _registered(vat: str) -> Supplier:
    with books.register() as connection:
        rows = connection.execute("SELECT name, iban FROM accounts WHERE vat = ? ORDER BY iban", (vat,)).fetchall()
    return Supplier(known=bool(rows), name=rows[0][0] if rows else "", ibans=[row[1] for row in rows])


# --- agents --------------------------------------------------------------------------------------------


class Order(BaseModel):
    """What to work on."""

    invoices: str


class Handled(BaseModel):
    """What became of one document."""

    file: str
    outcome: Literal["paid", "refused", "failed", "unreadable", "no account"]
    number: str = ""
    supplier: str = ""
    amount: Decimal = Decimal(0)
    currency: str = ""
    why: str = ""


class Report(BaseModel):
    """What became of all of them."""

    paid: int
    total: Decimal
    documents: list[Handled]


async def collect(ctx: Context, order: Order) -> list[str]:
    """Finds the files."""
    return await ctx.call(list_invoices, folder=order.invoices)


async def settle(ctx: Context, path: str) -> Handled:
    """Reads one document and pays it, to whatever account it is told to."""
    file = Path(path).name
    try:
        invoice = await ctx.call(read_invoice, path=path)
    except ToolFailed as error:
        return Handled(file=file, outcome="unreadable", why=str(error))
    known = await ctx.call(find_supplier, vat=invoice.vat)
    known_account = known.ibans[0] if len(known.ibans) == 1 else ""
    iban = _told(invoice.note) or invoice.iban or known_account
    about = {"file": file, "number": invoice.number, "supplier": invoice.supplier, "currency": invoice.currency}
    if not iban and invoice.way in ("transfer", "unclear"):
        return Handled(**about, amount=invoice.amount, outcome="no account", why="the document names no account")
    try:
        receipt = await ctx.call(
            pay,
            vat=invoice.vat,
            supplier=invoice.supplier,
            iban=iban,
            amount=invoice.amount,
            currency=invoice.currency,
            reference=invoice.number,
            document=invoice.document,
            way=invoice.way,
            doubt=invoice.doubt,
        )
    except Denied as error:
        return Handled(**about, amount=invoice.amount, outcome="refused", why="; ".join(error.reasons))
    except ToolFailed as error:
        return Handled(**about, amount=invoice.amount, outcome="failed", why=str(error))
    return Handled(**about, amount=invoice.amount, outcome="paid", why=f"payment {receipt.number}")


async def report(ctx: Context, documents: list[Handled]) -> Report:
    """Adds it all up."""
    paid = [document for document in documents if document.outcome == "paid"]
    return Report(paid=len(paid), total=sum((document.amount for document in paid), Decimal(0)), documents=documents)


def _told(note: str) -> str:
    """The account that a note tells the agent to pay to. An agent with sense would not look."""
    found = re.search(r"pay\b.*?\bIBAN:?\s*([A-Z]{2}\d{2}(?:\s?[A-Z0-9]){10,30})", note, re.IGNORECASE | re.DOTALL)
    return "".join(found.group(1).split()) if found else ""


graph = Graph(
    "payables",
    [
        Task("collect", collect),
        # One after the other, so that a duplicate sees the payment before it.
        Task("settle", settle, over="collect", limit=1),
        Task("report", report, after="settle"),
    ],
    tools=[list_invoices, read_invoice, find_supplier, pay],
    facts=[register, ledger],
)
