"""`index.html` of a bundle: what happened, for a person with a browser and nothing else. No script, no network."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import orjson

from remit.export.history import ErasureRow, GrantRow, History, PolicyRow
from remit.export.rows import CallRow, ReviewRow, RulingRow, RunRows

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --allow: #1a7f37; --deny: #b42318; --escalate: #9a6700 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem } h3 { font-size: 1rem; margin: 0 }
table { border-collapse: collapse } td, th { text-align: left; vertical-align: top; padding: .1rem 1rem .1rem 0 }
th { font-weight: 500; opacity: .7; width: 9.5rem } td { overflow-wrap: anywhere }
article { border-left: 4px solid var(--line); padding: .3rem 0 .3rem 1rem; margin: 1rem 0 }
.allow { border-color: var(--allow) } .deny, .rejected { border-color: var(--deny) }
.escalate { border-color: var(--escalate) }
.tag { border: 1px solid currentColor; border-radius: .3rem; padding: 0 .4rem; font-size: .85rem }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; list-style: none; padding: 0 }
a { color: inherit } :target { outline: 2px solid var(--escalate); outline-offset: .3rem } .runs p { margin: .2rem 0 }
code { font-size: .9em } footer { margin-top: 3rem; opacity: .7 }
"""
_PLACES: Final = 100
"""Places of erased values that an erasure names, and uses that a grant does."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


CALLS_MAX: Final = 5_000
"""Calls that are shown one by one, and reviews, policies, grants and erasures each; of more, their number is said."""
VALUE_MAX: Final = 10_000
"""Characters of a value that are shown."""


def write(runs: Sequence[RunRows], history: History, about: Mapping[str, str]) -> Iterator[bytes]:
    """Yields the page; `about` is shown at its head, name and value."""
    yield (
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}"><title>Remit export</title>'
        f"<style>{_STYLE}</style>\n<h1>What the agents asked for, and what was decided</h1>\n"
        "<p>This page is a view. The evidence is in the files beside it: check them with"
        " <code>remit audit verify</code>, or with a verify.py of your own:"
        " <code>python -I YOUR/verify.py THIS-FOLDER</code>.</p>\n"
        f"{_table(about)}\n"
    ).encode()
    reviews = [(run.run, row) for run in runs for row in run.reviews] + [("", row) for row in history.reviews]
    there = _There(runs, history, reviews)
    yield _contents(runs, history).encode()
    yield _totals(runs, history, there).encode()
    left = CALLS_MAX
    for run in runs:
        yield _run(run, there, left).encode()
        left = max(left - len(run.calls), 0)
    yield _section("reviews", "Reviews", [partial(_review, row, there, run) for run, row in reviews]).encode()
    yield _section("policies", "Policies", [partial(_policy, row, there) for row in history.policies]).encode()
    yield _section("grants", "Grants", [partial(_grant, row, there) for row in history.grants]).encode()
    yield _section("erasures", "Erased values", [partial(_erasure, row, there) for row in history.erasures]).encode()
    yield b"<footer>Made by Remit.</footer></html>\n"


class _There:
    """What is on the page, so that nothing links to what isn't."""

    def __init__(self, runs: Sequence[RunRows], history: History, reviews: Sequence[tuple[str, ReviewRow]]) -> None:
        shown = [(run.run, call.call) for run in runs for call in run.calls][:CALLS_MAX]
        self._anchors = {
            *(f"call-{run}-{call}" for run, call in shown),
            *(f"run-{run.run}" for run in runs),
            *(f"review-{row.review}" for _, row in reviews[:CALLS_MAX]),
            *(f"policy-{row.digest}" for row in history.policies[:CALLS_MAX] if row.digest),
            *(f"grant-{row.grant}" for row in history.grants[:CALLS_MAX]),
        }
        self._placed: set[str] = set()

    def link(self, anchor: str, text: str) -> str:
        """Returns markup: a link to a place on this page, or the text alone where there is no such place."""
        if anchor not in self._anchors:
            return _text(text)
        return f'<a href="#{quote(anchor, safe="")}">{_text(text)}</a>'

    def place(self, anchor: str) -> str:
        """Returns the attribute that makes an element the place that links to `anchor` lead to: the first one is."""
        if anchor not in self._anchors or anchor in self._placed:
            return ""
        self._placed.add(anchor)
        # As the link has it: browsers compare a fragment as it stands before they decode it.
        return f' id="{quote(anchor, safe="")}"'


class _Markup(str):
    """Text that is escaped already."""


def _contents(runs: Sequence[RunRows], history: History) -> str:
    sections = [
        ("totals", "Totals", 1), ("runs", "Runs", len(runs)),
        ("reviews", "Reviews", len(history.reviews) + sum(len(run.reviews) for run in runs)),
        ("policies", "Policies", len(history.policies)),
        ("grants", "Grants", len(history.grants)), ("erasures", "Erased values", len(history.erasures)),
    ]  # fmt: skip
    items = [
        f'<li><a href="#{anchor}">{title}</a>' + ("" if anchor == "totals" else f" ({count:,})")
        for anchor, title, count in sections
        if count
    ]
    return f"<nav><ul>{''.join(items)}</ul></nav>\n"


def _totals(runs: Sequence[RunRows], history: History, there: _There) -> str:
    calls = [call for run in runs for call in run.calls]
    rows = {
        "runs": _counts(run.status for run in runs),
        "calls": _counts(call.status for call in calls),
        "last verdicts": _counts(call.outcome or "none" for call in calls),
        "results": _counts(_producer(call) for call in calls if call.produced_by),
        "reviews": _counts(row.status for row in (*history.reviews, *(row for run in runs for row in run.reviews))),
        "policies": _counts(row.what for row in history.policies),
        "grants": _counts(row.status for row in history.grants),
        "erased": f"{sum(len(row.places) for row in history.erasures):,} values" if history.erasures else "",
    }
    first = "<h2 id=runs>Runs</h2>\n" + "".join(
        f"<p>{there.link(f'run-{run.run}', run.run)} {_text(run.status)}: {_text(run.graph)}, for"
        f" {_text(run.principal)}, {len(run.calls):,} calls</p>\n"
        for run in runs
    )
    return f"<section><h2 id=totals>Totals</h2>\n{_table(rows)}</section>\n<section class=runs>{first}</section>\n"


def _producer(call: CallRow) -> str:
    return {"tool": "by the tool", "remit": "by Remit"}.get(call.produced_by, "by a person, the tool did not run")


def _counts(words: Iterable[str]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in sorted(Counter(words).items()))


def _section(anchor: str, title: str, articles: Sequence[Callable[[], str]]) -> str:
    if not articles:
        return ""
    shown = [article() for article in articles[:CALLS_MAX]]
    if len(articles) > CALLS_MAX:
        shown.append(f"<p>{len(articles) - CALLS_MAX:,} more are not shown here: they are in entries.jsonl.</p>")
    return f"<section><h2 id={anchor}>{title}</h2>\n{chr(10).join(shown)}</section>\n"


def _run(run: RunRows, there: _There, left: int) -> str:
    about = {
        "graph": run.graph,
        "for": run.principal,
        "started": f"{run.started} by {run.starter}",
        "ended": run.ended or "not yet",
        "policies": _Markup(there.link(f"policy-{run.policies}", run.policies[:12])),
    }
    calls = "\n".join(_call(run.run, call, there) for call in run.calls[:left])
    if len(run.calls) > left:
        calls += f"\n<p>{len(run.calls) - left:,} more calls are not shown here: they are in entries.jsonl.</p>"
    title = f"<h2{there.place(f'run-{run.run}')}>Run {_text(run.run)} <span class=tag>{_text(run.status)}</span></h2>"
    return f"<section>{title}\n{_table(about)}\n{calls}</section>\n"


def _call(run: str, call: CallRow, there: _There) -> str:
    outcome = call.outcome or "rejected"
    policies = there.link(f"policy-{call.policies}", call.policies[:12]) if call.policies else ""
    verdict = f"{outcome}, by {', '.join(call.rules) or 'no rule'}, under policies "
    about = {
        "call": call.call,
        "when": call.requested,
        "task": f"{call.task}, agent {call.agent}" if call.agent else call.task,
        "verdict": _Markup(f"{_text(verdict)}{policies}") if call.outcome else "not decided",
        "because": "\n".join(call.reasons),
        "people": "\n".join(_ruling(row) for row in call.rulings),
        "reviews": _Markup(", ".join(there.link(f"review-{one}", one) for one in call.reviews)),
        "allowed by": _Markup(", ".join(there.link(f"grant-{one}", f"grant {one}") for one in call.grants)),
        "had read": ", ".join(call.labels),
        **{f"argument {name}": _value(value) for name, value in call.args.items()},
        **{f"asked for {name}": _value(value) for name, value in call.asked.items()},
        "changed by": call.changed_by,
        "status": call.status + (f" after {call.attempts} attempts" if call.attempts > 1 else ""),
        "result": _value(call.result) if call.status == "settled" and not call.error else "",
        "produced by": f"{call.produced_by}, the tool did not run" if _answered(call) else call.produced_by,
        "error": f"{call.cause}: {call.error}" if call.cause else call.error,
        "entry": call.entry,
    }
    title = f"<h3>{_text(call.tool)} <span class=tag>{outcome}</span></h3>"
    return f"<article class={outcome}{there.place(f'call-{run}-{call.call}')}>{title}{_table(about)}</article>"


def _answered(call: CallRow) -> bool:
    return call.produced_by.startswith("person ")


def _review(row: ReviewRow, there: _There, run: str = "") -> str:
    call = there.link(f"call-{run}-{row.call}", f"{row.tool}, call {row.call}")
    about = {
        "of": _Markup(f"{call} of run {there.link(f'run-{run}', run)}") if run else "the activation of a policy set",
        "queue": row.queue + (", whether a call in doubt is run again" if row.in_doubt else ""),
        "opened": row.opened,
        "until": row.expires,
        "said": "\n".join(_ruling(one) for one in row.rulings) or "nothing",
    }  # fmt: skip
    return _article(there, f"review-{row.review}", f"Review {row.review}", row.status, about)


def _policy(row: PolicyRow, there: _There) -> str:
    about = {
        "when": row.at,
        "by": row.by,
        "policy set": row.digest,
        "of": row.of,
        "approved in": _Markup(there.link(f"review-{row.review}", f"review {row.review}")) if row.review else "",
        "because": "not disclosed" if row.reason is None else row.reason,
        "backtest": ", ".join(f"{count:,} {name}" for name, count in (row.effect or {}).items()),
        "expires": row.expires,
        "entry": row.entry,
    }
    title = f"Revision {row.revision}" if row.revision else row.entry
    return _article(there, f"policy-{row.digest}" if row.digest else "", title, row.what, about)


def _grant(row: GrantRow, there: _There) -> str:
    uses = [
        f"{_text(at)}: {there.link(f'call-{run}-{call}', f'call {call}')} of run {there.link(f'run-{run}', run)}"
        for at, run, call in row.calls[:_PLACES]
    ]
    if len(row.calls) > _PLACES:
        uses.append(f"and {len(row.calls) - _PLACES:,} more")
    about = {
        "granted by": ", ".join(row.granted_by),
        "in": _Markup(f"queue {_text(row.queue)}, {there.link(f'review-{row.grant}', f'review {row.grant}')}"),
        "for": f"{row.tool}, called by agent {row.agent} for {row.principal}",
        "where": "not disclosed" if row.condition is None else row.condition,
        "from": row.made,
        "until": row.until,
        "used": f"{len(row.calls):,} of {row.uses:,} times",
        "by": _Markup("<br>".join(uses)),
    }
    return _article(there, f"grant-{row.grant}", f"Grant {row.grant}", row.status, about)


def _erasure(row: ErasureRow, there: _There) -> str:
    places = "\n".join(row.places[:_PLACES])
    if len(row.places) > _PLACES:
        places += f"\nand {len(row.places) - _PLACES:,} more"
    about = {
        "when": row.at, "by": row.by, "because": "not disclosed" if row.reason is None else row.reason,
        "values": places, "entry": row.entry,
    }  # fmt: skip
    return _article(there, "", f"{len(row.places):,} values", "erased", about)


def _article(there: _There, anchor: str, title: str, tag: str, about: Mapping[str, str]) -> str:
    head = f"<h3>{_text(title)} <span class=tag>{_text(tag)}</span></h3>"
    return f"<article{there.place(anchor)}>{head}{_table(about)}</article>"


def _ruling(row: RulingRow) -> str:
    said = "approved" if row.approved else "denied"
    how = ", in single-operator mode" if row.single_operator else ""
    return f"{row.reviewer} {said} at {row.at} in queue {row.queue}{how}" + (f": {row.reason}" if row.reason else "")


def _value(value: Any) -> str:
    if value is None:
        return "not disclosed"
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}… (cut: {len(text):,} characters)"


def _table(rows: Mapping[str, str]) -> str:
    cells = "".join(
        f"<tr><th>{_text(name)}<td>{value if isinstance(value, _Markup) else _text(value)}"
        for name, value in rows.items()
        if value
    )
    return f"<table>{cells}</table>"


def _text(text: str) -> str:
    """Escapes what would be markup, and makes visible what would hide or turn the text."""
    shown = "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)
    return html.escape(shown).replace("\n", "<br>")
