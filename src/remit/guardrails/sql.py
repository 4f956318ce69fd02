"""What a SQL text does: kinds of statements, tables, columns, a missing WHERE. Parsed by sqlglot, never by pattern.

Text that can't be parsed, or that hides statements from the parser, is said to write and to change: a rule
that forbids writing then also forbids what nobody could read.
"""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import msgspec

from remit.core.detectors import Detector, Finding, Places, Report, texts
from remit.errors import BadInput
from remit.guardrails.libraries import library

_READS = {"Select": "select", "Union": "select", "Intersect": "select", "Except": "select", "Subquery": "select"}
_READS |= {"Values": "select", "Table": "select", "Describe": "describe", "Show": "describe"}
_QUIET = {"Transaction": "transaction", "Commit": "transaction", "Rollback": "transaction"}
_WRITES = {"Insert": "insert", "Update": "update", "Delete": "delete", "Merge": "merge", "Copy": "copy"}
_WRITES |= {"Into": "insert", "LoadData": "insert"}
_CHANGES = {"Create": "create", "Drop": "drop", "Alter": "alter", "TruncateTable": "truncate", "Comment": "comment"}
_CHANGES |= {"Grant": "grant", "Revoke": "revoke", "Attach": "attach", "Detach": "detach", "Kill": "kill"}
_CHANGES |= {"Set": "set", "Pragma": "set", "Use": "use"}
_KINDS = _READS | _QUIET | _WRITES | _CHANGES
_OUTSIDE = frozenset(
    "pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file lo_import lo_export dblink dblink_exec dblink_connect"
    " load_file xp_cmdshell xp_dirtree sp_oacreate sp_executesql load_extension readfile writefile edit openrowset"
    " opendatasource utl_http utl_file utl_tcp dbms_scheduler dbms_ldap sys_exec sys_eval query_to_xml"
    " database_to_xml pg_terminate_backend pg_reload_conf set_config pg_execute_server_program read_csv"
    " read_csv_auto readcsv read_parquet readparquet read_json read_text read_blob httpget url s3 file".split()
)
_PARSED_DEPTH = 60
"""Nested brackets that are handed to the parser: it recurses, and Python's stack is not for strangers to fill."""


class SqlFacts(msgspec.Struct, frozen=True):
    """What the SQL in a call's arguments does; several texts are taken together."""

    parsed: bool = True
    statements: int = 0
    kinds: tuple[str, ...] = ()
    """`select`, `insert`, `update`, `delete`, `merge`, `copy`, `create`, `drop`, …; `other` for the rest."""
    writes: bool = False
    """Rows are added, changed or removed, anywhere in it: in a CTE too. True of what can't be parsed."""
    changes: bool = False
    """Tables, rights or settings are changed. True of what can't be parsed."""
    everywhere: bool = False
    """An UPDATE or DELETE without a WHERE, or with one that is always true."""
    tables: tuple[str, ...] = ()
    """Lower case, as far qualified as written (`sales.orders`); names of CTEs aside."""
    columns: tuple[str, ...] = ()
    stars: bool = False
    """`SELECT *`: all columns, whatever they are."""
    outside: bool = False
    """A function that reads files, runs programs, opens connections or changes settings."""
    functions: tuple[str, ...] = ()
    comments: bool = False


def sql(dialect: str = "", longest: int = 100_000, name: str = "sql") -> Detector[SqlFacts]:
    """Returns a detector of what SQL does.

    Args:
        dialect: sqlglot's name of it (`postgres`, `mysql`, `sqlite`, `tsql`, `bigquery`, …); empty: its common core.
        longest: characters of a text that are parsed; a longer one counts as not parsed.

    Raises:
        BadInput: sqlglot is not installed, or has no such dialect.
    """
    glot = library("sqlglot")
    # Its parser logs the statements it doesn't know. They may hold personal data, and logs are not where that goes.
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    try:
        glot.Dialect.get_or_raise(dialect or None)
    except ValueError as error:
        raise BadInput(f"there is no SQL dialect `{dialect}`") from error

    def look(places: Places) -> Report[SqlFacts]:
        whole = _Reading(glot, dialect, longest)
        findings: list[Finding] = []
        for pointer, text in texts(places):
            reading = _Reading(glot, dialect, longest)
            reading.text(text)
            findings += [Finding(kind, pointer, 0, len(text)) for kind in reading.marks()]
            whole.join(reading)
        return Report(whole.facts(), tuple(findings))

    return Detector(name, SqlFacts, look)


class _Reading:
    """What is gathered from the statements of one text, or of all."""

    def __init__(self, glot: ModuleType, dialect: str, longest: int) -> None:
        self._glot = glot
        self._dialect = dialect
        self._longest = longest
        self.statements = 0
        self.flags: set[str] = set()
        self.kinds: set[str] = set()
        self.tables: set[str] = set()
        self.columns: set[str] = set()
        self.functions: set[str] = set()

    def text(self, text: str) -> None:
        """Reads every statement of `text`."""
        # MySQL runs what stands in /*! … */, and the parser takes it for a comment.
        if len(text) > self._longest or "/*!" in text or "\0" in text or _brackets(text) > _PARSED_DEPTH:
            self._unread()
            return
        try:
            statements = [found for found in self._glot.parse(text, dialect=self._dialect or None) if found is not None]
        except (self._glot.errors.SqlglotError, RecursionError, ValueError):
            self._unread()
            return
        for statement in statements:
            self._statement(statement)

    def join(self, other: _Reading) -> None:
        """Adds what `other` gathered."""
        self.statements += other.statements
        for mine, theirs in (
            (self.flags, other.flags),
            (self.kinds, other.kinds),
            (self.tables, other.tables),
            (self.columns, other.columns),
            (self.functions, other.functions),
        ):
            mine |= theirs

    def marks(self) -> list[str]:
        """Returns what a reader of the report should be told of."""
        return sorted(self.flags - {"comments", "stars"})

    def facts(self) -> SqlFacts:
        """Returns all of it as facts."""
        said = self.flags
        return SqlFacts(
            parsed="unparsed" not in said,
            statements=self.statements,
            kinds=tuple(sorted(self.kinds)),
            writes="writes" in said,
            changes="changes" in said,
            everywhere="everywhere" in said,
            tables=tuple(sorted(self.tables)),
            columns=tuple(sorted(self.columns)),
            stars="stars" in said,
            outside="outside" in said,
            functions=tuple(sorted(self.functions)),
            comments="comments" in said,
        )

    def _unread(self) -> None:
        self.statements += 1
        self.flags |= {"unparsed", "writes", "changes"}
        self.kinds.add("other")

    def _statement(self, statement: Any) -> None:
        exp = self._glot.exp
        self.statements += 1
        top = _KINDS.get(type(statement).__name__)
        if top is None:
            self.kinds.add("other")
            self.flags |= {"writes", "changes", "unparsed"}
        else:
            self.kinds.add(top)
        names = {common.alias_or_name.lower() for common in statement.find_all(exp.CTE)}
        for node in statement.walk():
            self._node(exp, node, names)

    def _node(self, exp: Any, node: Any, common: set[str]) -> None:
        kind = type(node).__name__
        if kind in _WRITES:
            self.flags.add("writes")
            self.kinds.add(_WRITES[kind])
        elif kind in _CHANGES:
            self.flags.add("changes")
            self.kinds.add(_CHANGES[kind])
            if kind == "TruncateTable":
                self.flags |= {"writes", "everywhere"}
        elif kind in ("Command", "Execute"):
            self.flags |= {"writes", "changes"}
        if isinstance(node, (exp.Update, exp.Delete)) and self._always(node.args.get("where")):
            self.flags.add("everywhere")
        if isinstance(node, exp.Copy):
            self.flags.add("outside")
        if isinstance(node, exp.Table):
            self._table(exp, node, common)
        elif isinstance(node, exp.Column):
            self.columns.add(node.name.lower())
        elif isinstance(node, exp.Func) and not isinstance(node, (exp.And, exp.Or, exp.Connector)):
            self._function(exp, node)
        if isinstance(node, exp.Star):
            # count(*) names no column.
            self.flags |= set() if isinstance(node.parent, exp.Count) else {"stars"}
        if node.comments:
            self.flags.add("comments")

    def _table(self, exp: Any, node: Any, common: set[str]) -> None:
        name = ".".join(part for part in (node.catalog, node.db, node.name) if part).lower()
        if name and not (name in common and not node.db):
            self.tables.add(name)
        if isinstance(node.this, exp.Func):
            self._function(exp, node.this)

    def _function(self, exp: Any, node: Any) -> None:
        name = (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()
        self.functions.add(name)
        if name in _OUTSIDE:
            self.flags.add("outside")

    def _always(self, where: Any) -> bool:
        """Whether the condition holds for every row, as far as constants tell."""
        if where is None:
            return True
        exp = self._glot.exp
        simplified = library("sqlglot.optimizer.simplify").simplify(where.this.copy(), dialect=self._dialect or None)
        if isinstance(simplified, exp.Boolean):
            return bool(simplified.this)
        if isinstance(simplified, exp.Literal):
            return simplified.is_string or simplified.name not in ("0", "")
        terms = simplified.flatten() if isinstance(simplified, exp.Or) else [simplified]
        return any(isinstance(term, exp.EQ) and term.left == term.right for term in terms)


def _brackets(text: str) -> int:
    deepest = depth = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest
