"""Writes the generated parts of the documentation: `python docs/generate.py`.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`, and is made from the code: the state
diagrams from the transition tables, the entries from their models, the command line from its own `--help`.
`tests/test_docs.py` fails where a part is not what this writes.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from remit.cli import cli
from remit.core import entries
from remit.core.calendarfile import json_schema as calendars_schema
from remit.core.counterfile import json_schema as counters_schema
from remit.core.entries import counters, facts, flows, grants, policies, reviews, runs, stores
from remit.core.filenames import KINDS, LEFTOVERS
from remit.core.filenames import json_schema as folders_schema
from remit.core.grants import GRANTS
from remit.core.lifecycle import CALLS, TASKS
from remit.core.policyfiles import json_schema
from remit.core.purposes import json_schema as purposes_schema
from remit.core.reviews import REVIEWS
from remit.policykit.casefiles import cases_schema
from remit.policykit.toolset import tools_schema

DOCS = Path(__file__).parent
COLUMNS = 80

_PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# --- state diagrams --------------------------------------------------------------------------------------


def diagram(table: Mapping[tuple[StrEnum, str], StrEnum]) -> str:
    """Returns a transition table as a mermaid diagram; it begins where the table's first row begins."""
    starts = list(dict.fromkeys(state for state, _ in table))
    ends = sorted({after for after in table.values() if after not in starts})
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {starts[0]}",
        *(f"    {state} --> {after}: {event}" for (state, event), after in table.items()),
        *(f"    {state} --> [*]" for state in ends),
        "```",
    ]
    return "\n".join(lines) + "\n"


# --- entries ---------------------------------------------------------------------------------------------

_STREAMS = {
    "review": "review/<id>",
    "flow": "flow/<run>",
    "grant": "grant/<id>",
    "counter": "counter/<id>",
    "policy": "policy",
    "store": "store",
}


def journal_entries() -> str:
    """Returns every kind of entry with its fields, then the records inside them."""
    modules = (facts, runs, flows, reviews, policies, stores, grants, counters)
    classes = {
        node.name: node
        for module in modules
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and {"Fact", "PolicyLoaded"} & {ast.unparse(base) for base in node.bases}
    }
    named = {model.__name__: kind for kind, model in entries.KINDS.items()}
    parts = []
    for name, kind in named.items():
        stream = _STREAMS.get(kind.partition(".")[0], "run/<id>")
        parts.append(f"#### `{kind}` in `{stream}`\n\n{_model(classes[name])}")
    parts.append("### Records inside entries\n")
    parts += [f"#### {name}\n\n{_model(node)}" for name, node in classes.items() if name not in named]
    return "\n".join(parts)


def _model(node: ast.ClassDef) -> str:
    about = (ast.get_docstring(node) or "").strip()
    rows = ["| field | type | default | |", "|---|---|---|---|"]
    for name, kind, default, words in _fields(node):
        rows.append(f"| `{name}` | `{kind}` | {f'`{default}`' if default else ''} | {words} |")
    return (f"{about}\n\n" if about else "") + "\n".join(rows).replace(" | None`", " or None`") + "\n"


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str, str]]:
    for index, part in enumerate(node.body):
        if not isinstance(part, ast.AnnAssign):
            continue
        after = node.body[index + 1] if index + 1 < len(node.body) else None
        words = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            words = " ".join(str(after.value.value).split())
        default = ast.unparse(part.value) if part.value else ""
        yield ast.unparse(part.target), ast.unparse(part.annotation), default, words


# --- command line ----------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, str]]:
    """Yields every command, groups included, with its `--help` at 80 columns."""
    yield from _commands(cli, None, "remit")


def _commands(command: click.Command, parent: click.Context | None, name: str) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command, parent, name, terminal_width=COLUMNS - 2, max_content_width=COLUMNS, **command.context_settings
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                yield from _commands(found, context, below)


def command_line() -> str:
    """Returns the `--help` of every command."""
    return "\n".join(f"### {path}\n\n```\n{text}\n```\n" for path, text in commands())


# --- policy files ----------------------------------------------------------------------------------------


def policy_keys() -> str:
    """Returns every key of every kind of policy file, from the JSON Schemas."""
    kinds = {
        "Policies: `*.yaml`": json_schema("policy"),
        "Queues: `queues.yaml`": json_schema("queues"),
        "Reviewers: `reviewers.yaml`": json_schema("reviewers"),
        "Cases: `*.cases.yaml`": cases_schema(),
        "Tools: `tools.yaml`": tools_schema(),
        "Purposes: `purposes.yaml`": purposes_schema(),
        "Calendars: `calendars.yaml`": calendars_schema(),
        "Counters: `counters.yaml`": counters_schema(),
        "Folders: `folders.yaml`": folders_schema(),
    }
    parts = []
    for title, schema in kinds.items():
        parts.append(f"## {title}\n")
        for model in (schema, *schema.get("$defs", {}).values()):
            if "properties" in model:
                parts.append(_keys(model))
    return "\n".join(parts)


def _keys(model: Mapping[str, Any]) -> str:
    rows = [f"{model.get('description', '').strip()}\n", "| key | value | |", "|---|---|---|"]
    for name, about in model["properties"].items():
        needed = "needed" if name in model.get("required", ()) else ""
        rows.append(f"| `{name}` | {about.get('description', '').replace('|', chr(92) + '|')} | {needed} |")
    return "\n".join(rows) + "\n"


def policy_kinds() -> str:
    """Returns the kinds of files in a folder of policies."""
    rows = {
        "`*.yaml`, `*.yml`": "a policy: rules under a name",
        **{f"`{kind}.yaml`": words for kind, words in KINDS.items()},
        "`*.cases.yaml`": "cases that a policy is tested with; not loaded",
        "`*.list.txt`, `*.list.csv`": "lists that conditions look things up in",
    }
    return "\n".join(["| file | what it is |", "|---|---|", *(f"| {name} | {words} |" for name, words in rows.items())])


def left_over() -> str:
    """Returns the names that are passed over in a folder of policies."""
    rows = (f"| {words} | {', '.join(f'`{one}`' for one in names)} |" for words, names in LEFTOVERS.items())
    return "\n".join(["| what leaves it | names |", "|---|---|", *rows])


# --- writing ---------------------------------------------------------------------------------------------

PARTS: Mapping[str, Callable[[], str]] = {
    "tasks": lambda: diagram(TASKS),
    "calls": lambda: diagram(CALLS),
    "reviews": lambda: diagram(REVIEWS),
    "grants": lambda: diagram(GRANTS),
    "entries": journal_entries,
    "commands": command_line,
    "policy-keys": policy_keys,
    "policy-kinds": policy_kinds,
    "left-over": left_over,
}


def rendered(text: str) -> str:
    """Returns a page's text with its generated parts made anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n{found[3]}", text)


def pages() -> list[Path]:
    """Returns the pages that have a generated part."""
    return [path for path in sorted(DOCS.rglob("*.md")) if _PART.search(path.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    for page in pages():
        page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")
