"""Lists beside the policies: what conditions see as `lists.<name>`.

    blocked.list.txt      a line each                     args.to in lists.blocked
    suppliers.list.csv    first column is the key         lists.suppliers[args.iban].limit

A list is a file of the policy set as any other: its bytes are in the set's digest and in the journal.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import Final

from remit.core.yamltext import WIDEST
from remit.errors import Problem

SUFFIXES: Final = (".list.txt", ".list.csv")
LARGEST: Final = 10_000_000
"""Characters in a list."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ListFile:
    """A list: its name, its type as a JSON Schema, and its entries; and what is wrong with the file.

    Attributes:
        entries: key to `true`, or to a row's other columns by their names, all of them text.
    """

    name: str
    schema: dict[str, object]
    entries: dict[str, object]
    problems: tuple[Problem, ...] = ()


def is_list(file: str) -> bool:
    """Whether a file is a list, by its name."""
    return file.endswith(SUFFIXES)


def read_list(file: str, text: str) -> ListFile:
    """Returns what a list says; entries are taken as they are written, without the blanks around them."""
    reading = _Reading(file)
    name = file.rpartition("/")[2][: -len(SUFFIXES[0])]
    if not _NAME.fullmatch(name):
        hint = "a list is small letters, digits and `_`, a letter first: `suppliers.list.csv`"
        reading.refuse(0, f"list `{name}` can't be named in a condition", hint)
    text = text.removeprefix("\ufeff")  # spreadsheets write one
    if len(text) > LARGEST:
        reading.refuse(
            0, f"longer than {LARGEST:,} characters", "keep it in a system of its own, and ask a fact provider"
        )
    elif bad := _CONTROL.search(text.replace("\r\n", "\n")):
        line = text.replace("\r\n", "\n").count("\n", 0, bad.start()) + 1
        reading.refuse(line, f"character U+{ord(bad[0]):04X} can't be in a list", "is it UTF-8 text?")
    elif file.endswith(".txt"):
        reading.lines(text)
    else:
        reading.table(text)
    return ListFile(name, reading.schema, reading.entries, tuple(reading.problems))


class _Reading:
    def __init__(self, file: str) -> None:
        self._file = file
        self._first: dict[str, int] = {}
        self.schema: dict[str, object] = {"type": "object", "additionalProperties": {"type": "boolean"}}
        self.entries: dict[str, object] = {}
        self.problems: list[Problem] = []

    def refuse(self, line: int, message: str, hint: str = "", snippet: str = "") -> None:
        self.problems.append(Problem(self._file, line, 1 if line else 0, message, hint, snippet[:WIDEST]))

    def _add(self, line: int, key: str, value: object, snippet: str) -> None:
        if not key:
            self.refuse(line, "an entry without a key", "the first column is the key", snippet)
        elif key in self.entries:
            self.refuse(line, f"`{key[:80]}` is here twice", f"the first is on line {self._first[key]}", snippet)
        else:
            self.entries[key], self._first[key] = value, line

    def lines(self, text: str) -> None:
        """A line each; one that is blank or starts with `#` is none."""
        for number, line in enumerate(text.splitlines(), 1):
            key = line.strip()
            if key and not key.startswith("#"):
                self._add(number, key, True, line)

    def table(self, text: str) -> None:
        """RFC 4180, with a header: the first column is the key."""
        rows = csv.reader(text.splitlines(keepends=True), strict=True)
        try:
            header = [name.strip() for name in next(rows, [])]
            if not self._is_header(header):
                return
            columns = header[1:]
            if columns:
                row = {"type": "object", "properties": {name: {"type": "string"} for name in columns}}
                self.schema["additionalProperties"] = {**row, "required": columns, "additionalProperties": False}
            for cells in rows:
                if not cells:
                    continue
                if len(cells) != len(header):
                    self.refuse(rows.line_num, f"{len(cells)} columns, and the header has {len(header)}")
                    continue
                key, *values = (cell.strip() for cell in cells)
                self._add(
                    rows.line_num, key, dict(zip(columns, values, strict=True)) if columns else True, ",".join(cells)
                )
        except csv.Error as error:
            self.refuse(rows.line_num, f"not a table of comma-separated values: {error}")

    def _is_header(self, header: list[str]) -> bool:
        if not header:
            self.refuse(1, "the table has no header", "the first line names the columns: `iban,limit`")
        elif len(header) == 1 and ";" in header[0]:
            self.refuse(1, "columns are separated by `;`", "separate them with commas", header[0])
        elif bad := next((name for name in header if not _NAME.fullmatch(name)), None):
            hint = "a column is small letters, digits and `_`, a letter first"
            self.refuse(1, f"column `{bad[:60]}` can't be named in a condition", hint, ",".join(header))
        elif len(set(header)) < len(header):
            self.refuse(1, "two columns have the same name", "", ",".join(header))
        return not self.problems
