"""Every exception Remit raises, as a tree: whose fault it is is in the type.

    RemitError
    |-- BadInput               what was handed in is wrong; says where and what to do
    |   |-- NotCanonical       a value that has no canonical JSON form
    |   |-- ToolError          a tool's definition can't be used
    |   |-- GraphError         a graph that can't run
    |   |-- ConditionError     a condition that doesn't compile (carries every problem)
    |   |-- PolicyError        a policy set that can't be loaded (carries every problem)
    |   |-- SettingsError      remit.toml, a variable or an option is wrong
    |   |-- UnknownId          no such run, review or call (or a prefix that fits several)
    |   |-- NotEntitled        this person may not do that
    |   |-- Claimed            somebody else has claimed it
    |   `-- Stale              it was there, but it has expired or changed since
    |-- JournalError           the journal can't be read or written as it should be
    |   |-- Conflict           somebody else appended first
    |   |-- TooLarge           more than an entry holds
    |   |-- Tampered           what is stored isn't what was hashed
    |   |-- NotAuthentic       the store's journal key isn't here, or didn't write what is in the store
    |   `-- NewerJournal       written by a version of Remit that this one can't read
    |-- CallError              raised inside an agent by `ctx.call`
    |   |-- InvalidArguments   the arguments don't fit the tool's schema
    |   |-- Denied             a policy or a person said no
    |   |-- ToolFailed         the tool raised or timed out
    |   |-- ResultLost         the tool ran and what it did is done, but its result can't be had
    |   `-- Misuse             the agent used its context in a way that can't be replayed
    |-- Transient              a tool raises it: trying again may help (only where its `repeat` permits)
    `-- RunError               a run can't go on
        |-- OwnershipLost      another worker took the run over
        `-- ReplayMismatch     the agent's code no longer does what the journal says it did

Messages are lowercase, without a full stop, with what the user typed in backticks.
"""

from __future__ import annotations

from dataclasses import dataclass


class RemitError(Exception):
    """The root of everything Remit raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input, and where.

    `line` and `column` count from 1; 0 means the place isn't known more closely than `file`.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    snippet: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = f"{place}: {self.message}" if place else self.message
        if self.snippet:
            text += "\n    " + self.snippet
            if self.column:
                text += "\n    " + " " * (self.column - 1) + "^"
        if self.hint:
            text += f"\n    {self.hint}"
        return text


class BadInput(RemitError):
    """What was handed in is wrong."""


class NotCanonical(BadInput):
    """A value that has no canonical JSON form; the message names its JSON pointer."""


class ToolError(BadInput):
    """A tool's definition can't be used."""


class GraphError(BadInput):
    """A graph that can't run."""


class _Problems(BadInput):
    """Bad input of which all the problems are told at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class ConditionError(_Problems):
    """A condition that doesn't compile."""


class PolicyError(_Problems):
    """A policy set that can't be loaded."""


class SettingsError(BadInput):
    """`remit.toml`, a variable or an option is wrong."""


class UnknownId(BadInput):
    """No such run, review or call, or a prefix that fits several."""


class NotEntitled(BadInput):
    """This person may not do that."""


class Claimed(BadInput):
    """Somebody else has claimed it."""


class Stale(BadInput):
    """It was there, but it has expired or changed since."""


class JournalError(RemitError):
    """The journal can't be read or written as it should be."""


class Conflict(JournalError):
    """Somebody else appended first, to `stream`; nothing of this append was stored."""

    def __init__(self, message: str, stream: str = "") -> None:
        super().__init__(message)
        self.stream = stream


class TooLarge(JournalError):
    """More than an entry holds; nothing was stored."""


class Tampered(JournalError):
    """What is stored isn't what was hashed."""


class NotAuthentic(JournalError):
    """The store's journal key isn't here, or the store isn't the one that was written with it: nothing runs on it."""


class NewerJournal(JournalError):
    """Written by a version of Remit that this one can't read."""


class CallError(RemitError):
    """Raised inside an agent by `ctx.call`."""


class InvalidArguments(CallError):
    """The arguments don't fit the tool's schema."""


class Denied(CallError):
    """A policy or a person said no; `reasons` are theirs, in words."""

    def __init__(self, message: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reasons = reasons


class ToolFailed(CallError):
    """The tool raised or timed out; `cause` is the type it raised."""

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class ResultLost(CallError):
    """The tool ran, and what it did is done: don't call it again for that. Its result can't be had.

    `cause` says why: `ResultLost` where it can't be kept (it has no JSON form, is too large, or doesn't fit the tool's
    result type), `ResultRefused` where a guardrail, an obligation or the run's purpose withholds it.
    """

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class Misuse(CallError):
    """The agent used its context in a way that can't be replayed."""


class RunError(RemitError):
    """A run can't go on."""


class OwnershipLost(RunError):
    """Another worker took the run over; this one stops without another effect."""


class ReplayMismatch(RunError):
    """The agent's code no longer does what the journal says it did."""


class Transient(RemitError):
    """A tool raises this: trying again may help. It is tried again only where its `repeat` permits."""
