"""Which payloads stay out of a bundle. What is withheld still verifies: its entry's commitment is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from remit.core.entries import (
    CallAnswered,
    CallDecided,
    CallDecidedAgain,
    CallRejected,
    CallSettled,
    CountingBegun,
    Entry,
    ReviewOpened,
)
from remit.errors import BadInput

Kept = Callable[[int, str], bool]
"""Of an entry's number and a payload's path: whether the payload stays out."""
Withhold = Callable[[Sequence[Entry]], Kept]
"""Of a stream's entries: what stays out of it."""


COPIES = ("/facts", "/asked", "/reasons", "/shown", "/reason", "/comment", "/answer", "/grant")
"""Paths of payloads that may quote an argument."""


ORIGINAL = "/original"
"""What a result was before it was masked: it leaves in no bundle."""


def nothing(entries: Sequence[Entry]) -> Kept:
    """Withholds nothing but what guardrails and obligations masked."""
    covered = _covered(entries)
    return lambda seq, path: path == ORIGINAL or (seq, path) in covered


def _covered(entries: Sequence[Entry]) -> set[tuple[int, str]]:
    """Returns the places of arguments as they were before they were masked, and of the facts that may quote them."""
    return {(entry.seq, path) for entry in entries for path in covered_paths(entry)}


def covered_paths(entry: Entry) -> tuple[str, ...]:
    """Returns the paths of what an entry holds as it was before it was masked, and of a store's own secret."""
    body = entry.body
    if isinstance(body, CountingBegun):
        return ("/secret",)  # who has it can try out whom a counter counts
    if isinstance(body, CallDecided) and body.covered:
        return (*(f"/args/{name}" for name in body.covered), "/asked")
    return ("/args",) if isinstance(body, CallRejected) and body.covered else ()


def withholding(rules: Sequence[str]) -> Withhold:
    """Returns what `rules` withhold: `tool:NAME`, `label:NAME`, or a JSON pointer such as `/args/iban`.

    A tool's rule covers its calls' arguments, results, errors, facts, reasons and reviews; a label's the results
    that carry it; a pointer every payload at or below it, and with an argument all that may quote it: the facts,
    the reasons and the reviews of calls that have it. With a tool or an argument go the amounts that counters add up.

    Raises:
        BadInput: a rule is none of these.
    """
    tools = {rule.removeprefix("tool:") for rule in rules if rule.startswith("tool:")}
    labels = {rule.removeprefix("label:") for rule in rules if rule.startswith("label:")}
    pointers = [rule for rule in rules if rule.startswith("/")]
    shows_args = any(rule == "/args" or rule.startswith("/args/") for rule in pointers)
    if shows_args:
        pointers += ["/shown", "/reasons", "/grant"]
    if shows_args or tools:
        pointers += ["/amount"]  # a counter's: it says neither of which tool nor of which argument it is
    for rule in rules:
        if not rule.startswith(("tool:", "label:", "/")):
            raise BadInput(f"--withhold `{rule}`: write tool:NAME, label:NAME, or a JSON pointer such as /args/iban")

    def of_stream(entries: Sequence[Entry]) -> Kept:
        closed = _of_tools(entries, tools)
        if shows_args:
            closed |= {entry.seq for entry in entries if isinstance(entry.body, CallRejected)}
        quoting = quoted_in(entries, {pointer.split("/")[2] for pointer in pointers if pointer.startswith("/args/")})
        marked = {
            entry.seq
            for entry in entries
            if isinstance(entry.body, (CallSettled, CallAnswered)) and labels.intersection(entry.body.labels)
        }
        covered = _covered(entries)
        return lambda seq, path: (
            path == ORIGINAL
            or (seq, path) in covered
            or seq in closed
            or (seq in marked and path == "/result")
            or (seq in quoting and path in COPIES)
            or any(is_below(path, pointer) for pointer in pointers)
        )

    return of_stream


def is_below(path: str, pointer: str) -> bool:
    """Whether a payload is at or below a pointer; an argument as a reviewer changed it is that argument."""
    asked = f"/args/{path.removeprefix('/edited/')}" if path.startswith("/edited/") else path
    return any(one == pointer or one.startswith(f"{pointer}/") for one in (path, asked))


def quoted_in(entries: Sequence[Entry], names: set[str]) -> set[int]:
    """Returns the numbers of the entries whose facts, reasons or reviews may quote an argument of these names.

    A review doesn't say which arguments its call has, so every review may.
    """
    if not names:
        return set()
    if entries and isinstance(entries[0].body, ReviewOpened):
        return {entry.seq for entry in entries}
    having: set[str] = set()
    found = set()
    for entry in entries:
        body = entry.body
        if isinstance(body, CallDecided) and names.intersection(body.call.args):
            having.add(body.call.id)
            found.add(entry.seq)
        elif isinstance(body, CallDecidedAgain) and body.id in having:
            found.add(entry.seq)
    return found


def _of_tools(entries: Sequence[Entry], tools: set[str]) -> set[int]:
    """Returns the numbers of the entries that are about calls of `tools`."""
    if not tools:
        return set()
    first = entries[0].body if entries else None
    if isinstance(first, ReviewOpened):
        return {entry.seq for entry in entries} if first.tool in tools else set()
    calls: dict[str, str] = {}
    found = set()
    for entry in entries:
        body = entry.body
        if isinstance(body, CallDecided):
            calls[body.call.id] = body.call.tool
            id = body.call.id
        elif isinstance(body, (CallRejected, CallSettled, CallAnswered, CallDecidedAgain)):
            id = body.id
            if isinstance(body, CallRejected):
                calls[id] = body.tool
        else:
            continue
        if calls.get(id) in tools:
            found.add(entry.seq)
    return found
