"""The payables example from end to end, as somebody would play it: nothing is paid twice, and it is all on record."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from shops import Shell

ROOT = Path(__file__).parent.parent
PUBLIC = ROOT.parent / "shared" / "data" / "invoices"
"""Example invoices of the EN 16931 test suite, and whoever has them."""


class Books:
    """A folder of its own with what the repository has, and the company's books in it."""

    def __init__(self, shell: Shell) -> None:
        self.folder = shell.folder
        self._shell = shell

    def remit(self, *command: str, code: int = 0) -> list[dict[str, Any]]:
        """Runs a command, what drives runs in a process of its own; returns its rows."""
        drives = command[0] in ("run", "resume")
        where = {"PAYABLES_BOOKS": str(self.folder / "books")}
        said = self._shell.run(*command, "--json", **where) if drives else self._shell(*command, "--json")
        assert said.code == code, said.out + said.err
        return said.rows

    def at_once(self, *command: str, **each: tuple[str, ...]) -> list[int]:
        """Types a command at the terminals of several people at once; returns their exit codes, in order."""
        typed = each or {name: () for name in ("ann", "bob", "cat")}
        started = [
            self._shell.start(*command, *words, "--key", f"people/{name}", "--json") for name, words in typed.items()
        ]
        return [one.end() for one in started]

    def payments(self) -> list[tuple[str, str, str, str, str]]:
        """What was booked, in that order."""
        with sqlite3.connect(self.folder / "books" / "ledger.db") as ledger:
            query = "SELECT vat, reference, iban, amount, currency FROM payments ORDER BY number"
            rows = ledger.execute(query).fetchall()
        ledger.close()
        return rows


@pytest.fixture
def books(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Books:
    for name in ("examples", "policies"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "remit.toml", tmp_path)
    for name in ("REMIT_STORE", "REMIT_POLICIES", "REMIT_APP"):
        monkeypatch.delenv(name, raising=False)
    return Books(Shell(tmp_path, capsys, monkeypatch))


def calls(view: dict[str, Any], tool: str) -> list[dict[str, Any]]:
    return [call for call in view["calls"] if call["tool"] == tool]


def test_the_example_pays_what_it_may_and_nothing_twice(books: Books) -> None:
    (report,) = books.remit(
        "run", "examples/payables/app.py:graph", "--input", "invoices=examples/payables/invoices", code=8
    )
    assert report["status"] == "waiting" and len(report["reviews"]) == 3
    small = [
        ("DE811907980", "NW-2026-1180", "DE44500105175407324931", "184.20", "EUR"),
        ("NL004495445B01", "PK26-5521", "NL91ABNA0417164300", "96.40", "EUR"),
    ]
    assert books.payments() == small

    reviews = {row["call"]: row["review"] for row in books.remit("review", "list")}
    assert sorted(reviews.values()) == sorted(report["reviews"])
    (view,) = books.remit("runs", "show", report["run"])
    outcomes = [(call["args"]["reference"], call["outcome"], call["status"]) for call in calls(view, "pay")]
    assert outcomes == [
        ("NW-2026-1180", "allow", "settled"),
        ("2026/077", "escalate", "waiting"),
        ("F-88213", "deny", "refused"),  # its note gave another account
        ("PK26-5521", "allow", "settled"),
        ("CN-3309", "escalate", "waiting"),
        ("V-3391", "deny", "refused"),  # USD
        ("FT 2026/311", "escalate", "waiting"),
        ("NW-2026-1180", "deny", "refused"),  # paid before
    ]
    large, credit, unknown = (reviews[call["call"]] for call in calls(view, "pay") if call["outcome"] == "escalate")
    books.remit("review", "approve", large)
    books.remit("review", "deny", credit, "--reason", "set it off")
    assert books.remit("resume", report["run"], code=8)[0]["reviews"] == [unknown]
    books.remit("review", "deny", unknown, "--reason", "we ordered no tiles")

    (done,) = books.remit("resume", report["run"])
    paid = [*small, ("ATU44556677", "2026/077", "AT611904300234573201", "4850.00", "EUR")]
    assert books.payments() == paid
    assert (done["output"]["paid"], done["output"]["total"]) == (3, "5130.60")
    refused = {row["number"]: row["why"] for row in done["output"]["documents"] if row["outcome"] == "refused"}
    assert "said no: set it off" in refused["CN-3309"] and "said no: we ordered no tiles" in refused["FT 2026/311"]
    assert "LT121000011101001000 is not an account of Lumen" in refused["F-88213"]

    books.remit("audit", "export", "--all", "-o", "export.zip")
    (found,) = books.remit("audit", "verify", "export.zip")
    assert found["ok"] and (found["decisions"], found["effects"], found["approvals"]) == (26, 20, 1)


def test_finance_needs_two_people_who_claim_and_edit_from_three_terminals_at_once(books: Books) -> None:
    staff = [sys.executable, "examples/payables/staff.py", "policies", "people"]
    subprocess.run(staff, cwd=books.folder, check=True)
    (report,) = books.remit("run", "--input", "invoices=examples/payables/invoices", code=8)
    (view,) = books.remit("runs", "show", report["run"])
    escalated = [call for call in calls(view, "pay") if call["outcome"] == "escalate"]
    large, credit, unknown = (call["reviews"][0]["review"] for call in escalated)

    assert sorted(books.at_once("review", "claim", large)) == [0, 6, 6]
    (found,) = books.remit("review", "show", large)
    holder = found["claimed_by"]
    second, third = (name for name in ("ann", "bob", "cat") if name != holder)
    # Each wants another amount: the holder's is what is proposed, whoever comes first. Who comes before it finds the
    # review claimed, who comes after it finds it changed.
    amounts = {"ann": "4801.00", "bob": "4802.00", "cat": "4803.00"}
    edits = {name: ("--set", f"amount={amount}", "--if-digest", found["version"]) for name, amount in amounts.items()}
    said = dict(zip(amounts, books.at_once("review", "edit", large, **edits), strict=True))
    assert said.pop(holder) == 0
    assert set(said.values()) <= {6, 7}
    # Two more edit what is proposed now, and say so: one wins, and the other has to look again.
    (found,) = books.remit("review", "show", large)
    more = {
        name: ("--set", f"amount={amounts[name][:-2]}50", "--if-digest", found["version"]) for name in (second, third)
    }
    codes = books.at_once("review", "edit", large, **more)
    assert sorted(codes) == [0, 7]
    winner = (second, third)[codes.index(0)]
    paid = f"{amounts[winner][:-2]}50"
    (found,) = books.remit("review", "show", large)
    assert (found["args"]["amount"], found["approvals"], found["status"]) == (paid, 1, "open")
    (found,) = books.remit("review", "approve", large, "--if-digest", found["version"], "--key", f"people/{holder}")
    assert found["status"] == "approved"

    for review in (credit, unknown):
        assert sorted(books.at_once("review", "deny", review, "--reason", "not ordered")) == [0, 7, 7]
    (done,) = books.remit("resume", report["run"])
    assert done["output"]["paid"] == 3 and books.payments()[-1][3] == paid
    books.remit("audit", "export", "--all", "-o", "export")
    (checked,) = books.remit("audit", "verify", "export")
    assert checked["ok"] and checked["rulings"] == 5


VARIANTS = {
    "collected-by-direct-debit.xml": ("refused", "is collected by Nordwind Bürobedarf GmbH by direct debit"),
    "corrected-invoice.xml": ("waits", "it is of type 384, which another document bears on"),
    "credit-as-invoice.xml": ("waits", "is a credit note"),
    "number-spelt-otherwise.xml": ("refused", "was paid before"),
    "paid-by-card.xml": ("refused", "was paid already"),
    "payable-in-another-currency.xml": ("waits", "it is in EUR, and its payable amount in SEK"),
    "payee-is-another.xml": ("waits", "the money goes to Sofort Factoring AG, who is not the supplier"),
    "prepaid-and-asked-in-full.xml": ("waits", "its payable amount is not its total less what was prepaid"),
    "prepaid-in-part.xml": ("paid", "84.20"),
    "several-accounts.xml": ("waits", "it names several accounts (DE44500105175407324931, DE02120300000000202051)"),
    "several-ways.xml": ("waits", "it names several ways to pay it (payment means 48, 30)"),
    "tax-before-vat.xml": ("paid", "184.20"),
    "way-not-said.xml": ("waits", "nobody can tell from it how it is paid (payment means ZZZ)"),
}


def test_only_what_says_clearly_that_it_is_ours_to_transfer_is_paid_without_asking(books: Books) -> None:
    """One invoice for each way in which paying it would be wrong, of a supplier whose account we know."""
    books.remit("run", "examples/payables/app.py:graph", "--input", "invoices=examples/payables/invoices", code=8)
    before = len(books.payments())
    folder = "examples/payables/invoices/variants"
    (report,) = books.remit("run", "examples/payables/app.py:graph", "--input", f"invoices={folder}", code=8)
    (view,) = books.remit("runs", "show", report["run"])
    reads = {call["task"]: Path(call["args"]["path"]).name for call in calls(view, "read_invoice")}
    found = {}
    for call in calls(view, "pay"):
        outcome = {"allow": "paid", "deny": "refused", "escalate": "waits"}[call["outcome"]]
        said = "; ".join(call["reasons"]) if outcome != "paid" else call["args"]["amount"]
        found[reads[call["task"]]] = (outcome, said)
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        name: outcome for name, (outcome, _) in VARIANTS.items()
    }
    for name, (_, words) in VARIANTS.items():
        assert words in found[name][1], name
    assert [row[3] for row in books.payments()[before:]] == ["84.20", "184.20"]


PUBLISHED = {
    "ubl-tc434-creditnote1.xml": ("credit note", "BE0000000196", "unclear"),
    "ubl-tc434-example1.xml": ("invoice", "NL820098395B01", "transfer"),
    "ubl-tc434-example10.xml": ("invoice", "NL820098395B01", "transfer"),
    "ubl-tc434-example2.xml": ("invoice", "NO123456789MVA", "transfer"),
    "ubl-tc434-example3.xml": ("invoice", "DK16356706", "transfer"),
    "ubl-tc434-example4.xml": ("invoice", "DK16356706", "transfer"),
    "ubl-tc434-example5.xml": ("invoice", "NL16356706", "collected"),
    "ubl-tc434-example6.xml": ("invoice", "DK123456789MVA", "unclear"),
    "ubl-tc434-example7.xml": ("invoice", "", "transfer"),
    "ubl-tc434-example8.xml": ("invoice", "NL809561074B01", "transfer"),
    "ubl-tc434-example9.xml": ("invoice", "NL809163160B01", "transfer"),
}


ACCOUNT = "<cac:PayeeFinancialAccount><cbc:ID>DE44500105175407324931</cbc:ID></cac:PayeeFinancialAccount>"
TOTAL = '<cbc:TaxInclusiveAmount currencyID="EUR">184.20</cbc:TaxInclusiveAmount>'
MEANS = "<cac:PaymentMeans>"
NAME = "<cac:PartyName><cbc:Name>Nordwind Bürobedarf GmbH</cbc:Name></cac:PartyName>"
LEGAL = "<cac:PartyLegalEntity><cbc:CompanyID>HRB 1</cbc:CompanyID></cac:PartyLegalEntity>"
SCHEME = (
    "<cac:PartyTaxScheme><cbc:CompanyID>DE811907980</cbc:CompanyID>"
    "<cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme></cac:PartyTaxScheme>"
)
ODD = [
    (ACCOUNT, ACCOUNT + ACCOUNT.replace("DE445", "DE021"), "it names several accounts"),
    (ACCOUNT, f"{ACCOUNT}<cac:PaymentMandate><cbc:ID>M1</cbc:ID></cac:PaymentMandate>", "a mandate for a direct debit"),
    (ACCOUNT, f"{ACCOUNT}<cac:CardAccount/>", "names a card"),
    (TOTAL, "", "its payable amount is not its total"),
    (TOTAL, TOTAL.replace("184.20", "abc"), "its payable amount is not its total"),
    (TOTAL, TOTAL.replace("EUR", "SEK"), "and its total in SEK"),
    ("184.20", "184.204", "more than two decimals"),
    ("  <cac:LegalMonetaryTotal>", "<cac:LegalMonetaryTotal/><cac:LegalMonetaryTotal>", "it has several totals"),
    (MEANS, f"<cac:PayeeParty>{LEGAL}</cac:PayeeParty>{MEANS}", "the money goes to HRB 1, who is not the supplier"),
    (MEANS, f"<cac:PayeeParty/>{MEANS}", "the money goes to somebody, who is not the supplier"),
    (MEANS, f"<cac:PayeeParty>{NAME}{LEGAL}</cac:PayeeParty>{MEANS}", "with another registration, HRB 1"),
    (SCHEME, SCHEME + SCHEME.replace("DE81", "NL00"), "it names several VAT numbers"),
]


@pytest.mark.parametrize(("old", "new", "words"), ODD)
def test_what_an_invoice_says_oddly_is_a_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: str
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples/payables"))
    import ubl

    text = (ROOT / "examples/payables/invoices/01-nordwind-paper.xml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "odd.xml"
    path.write_text(text, encoding="utf-8")
    assert ubl.read(path).doubt == ""
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert words in ubl.read(path).doubt


def test_what_is_no_invoice_is_refused_with_the_files_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples/payables"))
    import ubl

    text = (ROOT / "examples/payables/invoices/01-nordwind-paper.xml").read_text(encoding="utf-8")
    path = tmp_path / "bad.xml"
    for data in (b"", bytes(range(256)), text.replace('"UTF-8"', '"klingon"').encode(), b"<!DOCTYPE a><a/>"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"bad\.xml: "):
            ubl.read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"bad\.xml: not a regular file"):
        ubl.read(path)


def test_one_document_is_booked_once_however_its_number_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples/payables"))
    monkeypatch.setenv("PAYABLES_BOOKS", str(tmp_path / "books"))
    import books as ledger

    (tmp_path / "books").mkdir()
    ledger.book("key", "DE1", "NW-2026-1", "IBAN", Decimal(1), "EUR")
    spelt = ["nw-2026-1", " NW-2026-1 ", "NW\u20112026\u20111", "NW-20\u200b26-1", "NW-2026-1\u00ad", "NW-2026-\uff11"]
    for number, reference in enumerate(spelt):
        assert ledger.is_paid("DE1", reference)
        with pytest.raises(ValueError, match="was paid before"):
            ledger.book(f"key {number}", "DE1", reference, "IBAN", Decimal(1), "EUR")
    assert not ledger.is_paid("DE1", "NW-2026-11") and not ledger.is_paid("DE2", "NW-2026-1")
    assert ledger.book("key", "DE1", "NW-2026-1", "IBAN", Decimal(1), "EUR") == 1


@pytest.mark.skipif(not PUBLIC.is_dir(), reason=f"the public invoices are not at {PUBLIC}")
def test_the_public_invoices_are_read_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples/payables"))
    import ubl

    found = {path.name: ubl.read(path) for path in sorted(PUBLIC.glob("*.xml"))}
    assert {name: (one.document, one.vat, one.way) for name, one in found.items()} == PUBLISHED
    assert "it names several accounts" in found["ubl-tc434-example1.xml"].doubt
    assert "Ebeneser Scrooge AS" in found["ubl-tc434-example2.xml"].doubt


@pytest.mark.skipif(not PUBLIC.is_dir(), reason=f"the public invoices are not at {PUBLIC}")
def test_the_public_invoices_are_all_decided_and_none_is_paid_twice(books: Books) -> None:
    (report,) = books.remit("run", "--input", f"invoices={PUBLIC}", code=8)
    files = sorted(PUBLIC.glob("*.xml"))
    (view,) = books.remit("runs", "show", report["run"])
    assert len(calls(view, "read_invoice")) == len(files)
    first = books.payments()
    # In the order of the documents, which is the same in every run: ids of reviews aren't.
    waiting = [row["review"] for row in sorted(books.remit("review", "list"), key=lambda row: str(row["call"]))]
    assert sorted(waiting) == sorted(report["reviews"])
    for number, review in enumerate(waiting):
        ruling = ("approve", review) if number % 2 else ("deny", review, "--reason", "not ordered")
        books.remit("review", *ruling)
    (done,) = books.remit("resume", report["run"])
    documents = done["output"]["documents"]
    assert [row["file"] for row in documents] == [path.name for path in files]
    paid = [row for row in documents if row["outcome"] == "paid"]
    assert len(paid) == done["output"]["paid"] == len(books.payments())
    assert len(set(books.payments())) == len(books.payments()) == len(first) + len(report["reviews"]) // 2
    (view,) = books.remit("runs", "show", report["run"])
    allowed = [call for call in calls(view, "pay") if call["outcome"] == "allow"]
    assert len(allowed) == len(paid) and all(call["status"] == "settled" for call in allowed)
    books.remit("audit", "export", report["run"], "-o", "export")
    assert books.remit("audit", "verify", "export")[0]["ok"]
