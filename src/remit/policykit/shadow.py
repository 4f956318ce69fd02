"""What rules in mode `shadow` would have done, from what the journal says of each decision.

Reads the journal's entries in their order and keeps a count for each rule, a few examples, and the calls that wait for
people. So memory grows with rules and with what waits, not with the journal.

The verdict with such a rule in force follows from what was recorded of the verdict without it (`enforced`): nothing is
evaluated again. A call is counted once for each rule, at the first decision for which the rule applied: had it been in
force, people would have been asked then, and not a second time after they had approved.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from remit.core.canonical import plain
from remit.core.entries import Outcome, RuleHit
from remit.core.facts import roots
from remit.core.policy import CompiledRule, PolicySet
from remit.core.tools import ToolSpec
from remit.errors import PolicyError, RemitError, Tampered
from remit.policykit.backtest import Loaded, Row
from remit.policykit.toolset import recorded_tools

_EXAMPLES: Final = 5
"""The newest calls of each rule that are kept: as many whose verdict would have been another, and of the others."""
_TICK: Final = 5_000
_ALLOW, _ESCALATE, _DENY = Outcome.ALLOW, Outcome.ESCALATE, Outcome.DENY


def enforced(outcome: Outcome, granted: bool, ceiling_escalates: bool, hit: RuleHit) -> Outcome:
    """Returns the outcome with a shadowed rule in force, from that without it; see `core.decide`.

    Args:
        granted: whether a rule allowed it, or asked people.
        ceiling_escalates: whether an escalate rule was in error.
        hit: the rule, which was true or in error for this call.
    """
    if hit.effect is _DENY:
        return _DENY
    if outcome is _DENY:
        if granted or hit.error:
            return _DENY
        return _ESCALATE if hit.effect is _ESCALATE or ceiling_escalates else _ALLOW
    return _ESCALATE if hit.effect is _ESCALATE else outcome


@dataclass(frozen=True, slots=True)
class ShadowExample:
    """A call for which a shadowed rule applied; `why` is the rule's reason."""

    run: str
    call: str
    tool: str
    at: str
    was: str
    would_be: str
    why: str

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "run": self.run, "call": self.call, "tool": self.tool, "at": self.at, "was": self.was,
            "would_be": self.would_be, "why": self.why,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShadowRule:
    """What a rule in mode `shadow` would have done.

    Attributes:
        policies: the newest policy set that has it; `newest` where no set came after that one.
        calls: decisions on its tools while it was there, first ones only.
        applied: of them, those for which it was true, or in error (`broken`).
        changes: calls whose verdict would have been another, by what it was and would be.
    """

    name: str
    effect: str
    digest: str
    policies: str
    newest: bool
    calls: int
    applied: int
    broken: int
    changes: Mapping[tuple[str, str], int]
    examples: tuple[ShadowExample, ...]

    @property
    def changed(self) -> int:
        """How many verdicts would have been others."""
        return sum(self.changes.values())

    @property
    def would_have(self) -> str:
        """What it would have done."""
        return {"allow": "allowed", "escalate": "escalated", "deny": "denied"}[self.effect]

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "rule": self.name, "effect": self.effect, "digest": self.digest, "policies": self.policies,
            "newest": self.newest, "calls": self.calls, "would_have": self.would_have, "applied": self.applied,
            "broken": self.broken, "changed": self.changed,
            "changes": [
                {"was": was, "would_be": then, "calls": count} for (was, then), count in sorted(self.changes.items())
            ],
            "examples": [one.row() for one in self.examples],
        }  # fmt: skip


# What is read of an entry; the rest of it is skipped.


class _Verdict(msgspec.Struct):
    outcome: Outcome
    policies: str
    rules: tuple[msgspec.Raw, ...] = ()
    broken: tuple[RuleHit, ...] = ()
    shadow: tuple[RuleHit, ...] = ()


class _Call(msgspec.Struct):
    id: str
    tool: str
    args: dict[str, str]


class _Body(msgspec.Struct):
    verdict: _Verdict | None = None
    call: _Call | None = None
    id: str = ""


class _Entry(msgspec.Struct):
    at: str
    stream: str
    body: _Body


_entry = msgspec.json.Decoder(_Entry)


@dataclass(slots=True)
class _Kept:
    """An example as it was read, to be put into words at the end."""

    entry: _Entry
    call: str
    tool: str
    would_be: Outcome
    values: bytes


@dataclass(slots=True)
class _Count:
    applied: int = 0
    broken: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    changing: deque[_Kept] = field(default_factory=lambda: deque(maxlen=_EXAMPLES))
    others: deque[_Kept] = field(default_factory=lambda: deque(maxlen=_EXAMPLES))


_Key = tuple[str, str, str]  # policy, rule, digest


class Shadow:
    """Hand it rows in the journal's order (`feed`), then ask for `rules`."""

    def __init__(self, loaded: Iterable[Loaded], progress: Callable[[int], None] | None = None) -> None:
        """Takes every recorded policy set, in the journal's order; `progress` is told how many decisions are done."""
        self._loaded = list(loaded)
        self._progress = progress
        self._counts: dict[_Key, _Count] = {}
        self._calls: Counter[tuple[str, str]] = Counter()  # by policy set and tool
        self._waiting: dict[str, dict[str, tuple[str, set[_Key]]]] = {}
        self.decisions = 0

    def feed(self, rows: Iterable[Row]) -> None:
        """Counts what the rows say. Raises Tampered where an entry isn't one."""
        try:
            for kind, data, values in rows:
                if kind.startswith("call.") or kind == "run.finished":
                    self._take(kind, _entry.decode(data), values)
        except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError) as error:
            after = f"after {self.decisions} decisions"
            raise Tampered(f"{after}, an entry can't be read: {error}: `remit audit verify` says where") from error

    def _take(self, kind: str, entry: _Entry, values: bytes) -> None:
        body = entry.body
        if kind == "run.finished":
            self._waiting.pop(entry.stream, None)
        elif body.verdict is None:
            self._waiting.get(entry.stream, {}).pop(body.id, None)
        elif body.call is not None:
            self.decisions += 1
            if self._progress is not None and self.decisions % _TICK == 0:
                self._progress(self.decisions)
            self._calls[body.verdict.policies, body.call.tool] += 1
            counted = self._count(entry, body.verdict, body.call.id, body.call.tool, values, set())
            if body.verdict.outcome is _ESCALATE:
                self._waiting.setdefault(entry.stream, {})[body.call.id] = (body.call.tool, counted)
        else:
            tool, counted = self._waiting.get(entry.stream, {}).get(body.id, ("", set()))
            if tool:  # of one that was first asked for before the period, nothing is known
                counted = self._count(entry, body.verdict, body.id, tool, values, counted)
            if body.verdict.outcome is not _ESCALATE:
                self._waiting.get(entry.stream, {}).pop(body.id, None)

    def _count(
        self, entry: _Entry, verdict: _Verdict, call: str, tool: str, values: bytes, counted: set[_Key]
    ) -> set[_Key]:
        """Counts the shadowed rules that applied and are not in `counted`, and adds them."""
        for hit in verdict.shadow:
            key = (hit.policy, hit.rule, hit.digest)
            if key in counted:
                continue
            counted.add(key)
            count = self._counts.setdefault(key, _Count())
            granted = verdict.outcome is not _DENY or bool(verdict.rules)
            escalates = any(one.effect is _ESCALATE for one in verdict.broken)
            then = enforced(verdict.outcome, granted, escalates, hit)
            count.applied += 1
            count.broken += hit.error
            kept = _Kept(entry, call, tool, then, values)
            if then is verdict.outcome:
                count.others.append(kept)
            else:
                count.changes[verdict.outcome.value, then.value] += 1
                count.changing.append(kept)
        return counted

    def rules(self) -> list[ShadowRule]:
        """Returns every rule in mode `shadow` of the sets, those of the newest first, then by how much they change.

        Raises:
            Tampered: a recorded set can't be read any more.
        """
        sets = self._sets()
        found: dict[_Key, tuple[int, CompiledRule, Counter[str]]] = {}
        for number, (one, policies, _) in enumerate(sets):
            for tool, rules in policies.shadowed.items():
                for rule in rules:
                    key = (rule.policy, rule.id, rule.digest)
                    last, _, seen = found.get(key, (0, rule, Counter[str]()))
                    # The same set may have been loaded by several apps, with tools of their own.
                    seen[f"{one.digest}/{tool}"] = self._calls[one.digest, tool]
                    found[key] = max(last, number), rule, seen
        rows = []
        for key, (number, rule, seen) in found.items():
            count = self._counts.get(key, _Count())
            kept = [*reversed(count.changing), *reversed(count.others)][:_EXAMPLES]
            rows.append(
                (
                    -number,
                    ShadowRule(
                        rule.name, rule.effect.value, rule.digest, sets[number][0].digest, number == len(sets) - 1,
                        seen.total(), count.applied, count.broken, dict(count.changes),
                        tuple(_example(one, rule.digest, sets) for one in kept),
                    ),
                )
            )  # fmt: skip
        return [row for _, row in sorted(rows, key=lambda item: (item[0], -item[1].changed, item[1].name))]

    def _sets(self) -> list[_Set]:
        """The recorded sets as they load again; of those with one digest and one set of tools, the last."""
        unique = {(one.digest, one.types): one for one in self._loaded}
        last = {key: number for number, key in enumerate((one.digest, one.types) for one in self._loaded)}
        found = []
        for key in sorted(unique, key=last.__getitem__):
            tools = recorded_tools(key[1])
            try:
                found.append((unique[key], tools.load(unique[key].texts, recorded=True), tools.specs))
            except PolicyError as error:
                raise Tampered(f"policy set {key[0][:12]} doesn't load again: {error}") from error
        return found


_Set = tuple[Loaded, PolicySet, Mapping[str, ToolSpec]]


def _example(kept: _Kept, digest: str, sets: list[_Set]) -> ShadowExample:
    verdict = kept.entry.body.verdict
    assert verdict is not None  # only decisions are kept
    return ShadowExample(
        kept.entry.stream.removeprefix("run/"), kept.call, kept.tool, kept.entry.at, verdict.outcome.value,
        kept.would_be.value, _why(kept, verdict.policies, digest, sets),
    )  # fmt: skip


def _why(kept: _Kept, set_digest: str, digest: str, sets: list[_Set]) -> str:
    """The rule's reason for this call; without the values that it quotes, what it does."""
    for one, policies, specs in reversed(sets):
        for rule in policies.shadow_for(kept.tool) if one.digest == set_digest else ():
            if rule.digest != digest:
                continue
            if rule.reason is None:
                return f"rule `{rule.name}` {rule.says}"
            values = plain(kept.values)
            call = kept.entry.body.call
            names = call.args if call is not None else {}
            args = {name: values[f"/args/{name}"] for name in names if f"/args/{name}" in values}
            try:
                return rule.reason.render(roots(values["/facts"], specs[kept.tool], args))
            except (RemitError, LookupError, TypeError, ValueError):
                return f"rule `{rule.name}` {rule.says}; what it says of this call was erased or withheld"
    return ""
