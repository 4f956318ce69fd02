"""A backtest as one self-contained page: no script, no network, everything that others wrote escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from remit.policykit.backtest import Report

_STYLE = """
:root { color-scheme: light dark; --line: #8884 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { text-align: left; vertical-align: top; padding: .15rem 1.2rem .15rem 0 }
th { font-weight: 600; border-bottom: 1px solid var(--line) } td { overflow-wrap: anywhere }
td.n { text-align: right; font-variant-numeric: tabular-nums }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report, title: str) -> str:
    """Returns the page; `title` is the candidate's folder."""
    parts = [
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}"><title>Backtest</title>'
        f"<style>{_STYLE}</style>\n<h1>{_text(title)}: what it would have changed</h1>"
        f"<p>{report.decisions:,} decisions from {_text(report.first)} to {_text(report.last)}, policy set"
        f" {_text(report.policies[:12])}.</p>",
        _table(("", "decisions"), summary(report)),
    ]
    if report.by_rule:
        rows = [(was, then, rule, f"{count:,}") for (was, then, rule), count in report.by_rule.most_common()]
        parts += ["<h2>Changes by rule</h2>", _table(("was", "would be", "rule", "decisions"), rows)]
    if report.undecided:
        rows_ = [(why, f"{count:,}") for why, count in report.undecided.most_common()]
        parts += ["<h2>Can't be decided</h2>", _table(("why", "decisions"), rows_)]
    if report.overruled:
        told = [
            (f"{people}, would be {then}", f"{count:,}") for (people, then), count in sorted(report.overruled.items())
        ]
        parts += ["<h2>Where it disagrees with people</h2>", _table(("ruling", "how often"), told)]
    if report.examples:
        examples = [(one.call, one.tool, one.at, one.was, one.would_be or "?", one.why) for one in report.examples]
        parts += ["<h2>Examples</h2>", _table(("call", "tool", "at", "was", "would be", "why"), examples)]
    return "\n".join([*parts, "<footer>Made by Remit.</footer></html>\n"])


def summary(report: Report) -> list[tuple[str, str]]:
    """Returns names and numbers, as every view of a report shows them."""
    counts = [
        ("the same", report.same),
        ("the same, by other rules", report.other_rules),
        ("newly allowed", report.newly("allow")),
        ("newly escalated", report.newly("escalate")),
        ("newly denied", report.newly("deny")),
        ("newly obliged", sum(count for (what, _), count in report.obliged.items() if what == "added")),
        ("no longer obliged", sum(count for (what, _), count in report.obliged.items() if what == "dropped")),
        ("can't be decided", report.undecidable),
        ("reviews, as it was", report.reviews),
        ("reviews, as it would be", report.reviews_then),
        ("rulings of people", report.rulings),
        ("approved by people, denied by it", report.overruled["approved", "deny"]),
        ("denied by people, allowed by it", report.overruled["denied", "allow"]),
    ]
    return [(name, f"{count:,}") for name, count in counts]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(column)}" for column in columns)
    body = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) for row in rows)
    return f"<table><tr>{head}\n{body}</table>"


def _cell(cell: str) -> str:
    number = " class=n" if cell.replace(",", "").isdigit() else ""
    return f"<td{number}>{_text(cell)}"


def _text(text: str) -> str:
    """Escapes what would be markup, and makes visible what would hide or turn the text."""
    return html.escape("".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text))
