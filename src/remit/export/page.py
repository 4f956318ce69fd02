"""`index.html` of a bundle: what happened, for a person with a browser and nothing else. No script, no network."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from remit.export.rows import CallRow, RulingRow, RunRows

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
code { font-size: .9em } footer { margin-top: 3rem; opacity: .7 }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write(runs: Iterable[RunRows], about: Mapping[str, str]) -> Iterator[bytes]:
    """Yields the page; `about` is shown at its head, name and value."""
    yield (
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}"><title>Remit export</title>'
        f"<style>{_STYLE}</style>\n<h1>What the agents asked for, and what was decided</h1>\n"
        "<p>This page is a view. The evidence is in the files beside it: <code>python -I verify.py</code> checks them."
        "</p>\n"
        f"{_table(about)}\n"
    ).encode()
    for run in runs:
        yield _run(run).encode()
    yield b"<footer>Made by Remit.</footer></html>\n"


def _run(run: RunRows) -> str:
    about = {
        "graph": run.graph,
        "for": run.principal,
        "started": f"{run.started} by {run.starter}",
        "ended": run.ended or "not yet",
        "policies": run.policies[:12],
    }
    calls = "\n".join(_call(call) for call in run.calls)
    title = f"<h2>Run {_text(run.run)} <span class=tag>{_text(run.status)}</span></h2>"
    return f"<section>{title}\n{_table(about)}\n{calls}</section>\n"


def _call(call: CallRow) -> str:
    outcome = call.outcome or "rejected"
    about = {
        "when": call.requested,
        "task": f"{call.task}, agent {call.agent}" if call.agent else call.task,
        "verdict": f"{outcome}, by {', '.join(call.rules) or 'no rule'}" if call.outcome else "not decided",
        "because": "\n".join(call.reasons),
        "people": "\n".join(_ruling(row) for row in call.rulings),
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
    return f"<article class={outcome}>{title}{_table(about)}</article>"


def _answered(call: CallRow) -> bool:
    return call.produced_by.startswith("person ")


def _ruling(row: RulingRow) -> str:
    said = "approved" if row.approved else "denied"
    how = ", in single-operator mode" if row.single_operator else ""
    return f"{row.reviewer} {said} at {row.at} in queue {row.queue}{how}" + (f": {row.reason}" if row.reason else "")


def _value(value: Any) -> str:
    if value is None:
        return "not disclosed"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _table(rows: Mapping[str, str]) -> str:
    cells = "".join(f"<tr><th>{_text(name)}<td>{_text(value)}" for name, value in rows.items() if value)
    return f"<table>{cells}</table>"


def _text(text: str) -> str:
    """Escapes what would be markup, and makes visible what would hide or turn the text."""
    shown = "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)
    return html.escape(shown).replace("\n", "<br>")
