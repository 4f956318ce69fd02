"""The supplier register and the ledger: two SQLite databases of the company's own."""

from __future__ import annotations

import csv
import os
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).parent


def folder() -> Path:
    """Where the databases are: the variable PAYABLES_BOOKS, or `payables-books` in the working directory."""
    path = Path(os.environ.get("PAYABLES_BOOKS", "payables-books"))
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def register() -> Iterator[sqlite3.Connection]:
    """The register of suppliers, made from suppliers.csv where there is none yet."""
    with _open(folder() / "register.db") as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS accounts (vat TEXT, name TEXT, iban TEXT, PRIMARY KEY (vat, iban))"
        )
        if not connection.execute("SELECT count(*) FROM accounts").fetchone()[0]:
            with (HERE / "suppliers.csv").open(newline="", encoding="utf-8") as file:
                rows = [(row["vat"], row["name"], row["iban"]) for row in csv.DictReader(file)]
            connection.executemany("INSERT INTO accounts VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
        yield connection


@contextmanager
def ledger() -> Iterator[sqlite3.Connection]:
    """The ledger: a payment's key can be booked once, and so can a supplier's document."""
    with _open(folder() / "ledger.db") as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS payments (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
            " vat TEXT NOT NULL, reference TEXT NOT NULL, iban TEXT NOT NULL, amount TEXT NOT NULL,"
            " currency TEXT NOT NULL, UNIQUE (vat, reference))"
        )
        yield connection


def book(key: str, vat: str, reference: str, iban: str, amount: Decimal, currency: str) -> int:
    """Books a payment and returns its number; the same key gives the same number and books nothing.

    Raises:
        ValueError: the supplier's document was paid before, with another key.
    """
    with ledger() as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            seen = connection.execute("SELECT number FROM payments WHERE key = ?", (key,)).fetchone()
            if seen is None and _is_booked(connection, vat, reference):
                raise sqlite3.IntegrityError
            if seen is None:
                row = (key, vat, reference, iban, str(amount), currency)
                connection.execute(
                    "INSERT INTO payments (key, vat, reference, iban, amount, currency) VALUES (?, ?, ?, ?, ?, ?)", row
                )
                seen = connection.execute("SELECT number FROM payments WHERE key = ?", (key,)).fetchone()
        except sqlite3.IntegrityError as error:
            connection.execute("ROLLBACK")
            raise ValueError(f"document {reference} of {vat} was paid before") from error
        connection.execute("COMMIT")
        return int(seen[0])


def is_paid(vat: str, reference: str) -> bool:
    """Whether the supplier's document was paid before."""
    with ledger() as connection:
        return _is_booked(connection, vat, reference)


def _is_booked(connection: sqlite3.Connection, vat: str, reference: str) -> bool:
    rows = connection.execute("SELECT reference FROM payments WHERE vat = ?", (vat,)).fetchall()
    return any(_folded(known) == _folded(reference) for (known,) in rows)


def _folded(reference: str) -> str:
    """A document's number as people mean it: whatever its case, without blanks and what nobody sees, with one hyphen.

    Compatibility forms such as full-width digits are folded by NFKC (Unicode Standard Annex #15).
    """
    text = unicodedata.normalize("NFKC", reference).casefold()
    kept = ("-" if unicodedata.category(one) == "Pd" else one for one in text)
    return "".join(one for one in kept if unicodedata.category(one)[0] not in "CZ")


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()
