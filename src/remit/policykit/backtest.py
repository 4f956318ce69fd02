"""Recorded decisions made again under other policies: what would have been allowed, denied or asked, and wasn't.

Reads the journal's entries in their order, with the values beside them, and keeps only what is still open: calls that
wait, reviews that nobody ruled on. So memory doesn't grow with the journal.

A recorded decision is made again from exactly the facts it saw. What the journal doesn't hold (a fact that nobody asked
for then, an erased value) can't be decided, and that is counted, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from remit.core import entries as e
from remit.core.canonical import digest, plain
from remit.core.cel.tree import Field, Has, Node, Root, children
from remit.core.decide import Approval, Verdict, decide
from remit.core.entries import Outcome, RuleHit
from remit.core.facts import roots
from remit.core.obligations import in_words
from remit.core.obliging import as_obliged, decide_approved, settled
from remit.core.policy import PolicySet
from remit.core.tools import ToolSpec
from remit.errors import PolicyError, RemitError, Tampered
from remit.policykit.toolset import Toolset, recorded_tools

KINDS: Final = (
    "call.decided",
    "call.decided_again",
    "call.refused",
    "review.opened",
    "review.ruled",
    "review.expired",
    "review.withdrawn",
    "run.finished",
    "grant.made",
)
"""The kinds of entries that are read; the sets that were loaded are handed in before."""
UNREAD: Final = ("/reasons", "/findings")
"""Values of a decision that deciding needs not; a guardrail's facts are among `/facts`."""
_EXAMPLES_EACH: Final = 10
"""Examples of each kind of change that are kept."""
_TICK: Final = 5_000


class Row(NamedTuple):
    """An entry as it is stored, and the values beside it: a JSON object of them by their path, such as `/facts`."""

    kind: str
    data: bytes
    values: bytes


class Loaded(NamedTuple):
    """A policy set that was in force, and the artifact with the tools it was checked against."""

    digest: str
    types: bytes
    texts: Mapping[str, str]


# What is read of an entry: the rest of it is skipped, and not checked. `audit verify` checks.


class _Hit(msgspec.Struct):
    policy: str
    rule: str


class _Verdict(msgspec.Struct):
    outcome: Outcome
    policies: str
    rules: tuple[_Hit, ...] = ()
    obliged: tuple[e.Obligation, ...] = ()


class _Call(msgspec.Struct):
    id: str
    tool: str
    tool_digest: str
    args: dict[str, str]


class _Decided(msgspec.Struct):
    call: _Call
    verdict: _Verdict
    reviews: tuple[str, ...] = ()
    edited: dict[str, str] = {}
    grants: tuple[str, ...] = ()


class _DecidedEntry(msgspec.Struct):
    at: str
    stream: str
    body: _Decided


class _Other(msgspec.Struct):
    at: str
    stream: str
    body: msgspec.Raw


_decided_entry = msgspec.json.Decoder(_DecidedEntry)
_other_entry = msgspec.json.Decoder(_Other)
_BODIES: Final = {kind: msgspec.json.Decoder(e.KINDS[kind]) for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Example:
    """A decision that comes out otherwise, or can't be made."""

    call: str
    tool: str
    at: str
    was: str
    would_be: str
    rules: tuple[str, ...]
    why: str

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "call": self.call, "tool": self.tool, "at": self.at, "was": self.was, "would_be": self.would_be,
            "rules": list(self.rules), "why": self.why,
        }  # fmt: skip


@dataclass(slots=True)
class Report:
    """What a backtest found. `changes` counts decisions by what they were and would be, where these differ."""

    policies: str
    decisions: int = 0
    same: int = 0
    other_rules: int = 0
    """Of the same: those that other rules determine."""
    obliged: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Obligations that calls which run had and wouldn't have (`dropped`), or would have and hadn't (`added`)."""
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_rule: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Of the changes, by the rules that determine the new outcome: (was, would be, rule)."""
    undecided: Counter[str] = field(default_factory=Counter)
    """Decisions that can't be made again, by why."""
    reviews: int = 0
    """Reviews that were opened for calls that can be decided again, and that would be."""
    reviews_then: int = 0
    overruled: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rulings that the candidate disagrees with: (approved or denied, what it would be)."""
    rulings: int = 0
    examples: list[Example] = field(default_factory=list)
    first: str = ""
    last: str = ""

    @property
    def widened(self) -> int:
        """Decisions that come out less strict."""
        return sum(count for (was, then), count in self.changes.items() if _strict(then) < _strict(was))

    @property
    def narrowed(self) -> int:
        """Decisions that come out stricter."""
        return sum(count for (was, then), count in self.changes.items() if _strict(then) > _strict(was))

    def newly(self, outcome: str) -> int:
        """Returns how many decisions come out so, and didn't."""
        return sum(count for (_, then), count in self.changes.items() if then == outcome)

    @property
    def undecidable(self) -> int:
        """Decisions that can't be made again."""
        return sum(self.undecided.values())

    def row(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "policies": self.policies,
            "decisions": self.decisions,
            "from": self.first,
            "to": self.last,
            "same": self.same,
            "by_other_rules": self.other_rules,
            "obligations": [
                {"change": change, "obligation": words, "decisions": count}
                for (change, words), count in self.obliged.most_common()
            ],
            "newly_allowed": self.newly("allow"),
            "newly_escalated": self.newly("escalate"),
            "newly_denied": self.newly("deny"),
            "widened": self.widened,
            "narrowed": self.narrowed,
            "changes": [
                {"was": was, "would_be": then, "decisions": count}
                for (was, then), count in sorted(self.changes.items())
            ],
            "by_rule": [
                {"was": was, "would_be": then, "rule": rule, "decisions": count}
                for (was, then, rule), count in self.by_rule.most_common()
            ],
            "undecided": [{"why": why, "decisions": count} for why, count in self.undecided.most_common()],
            "reviews": {"were": self.reviews, "would_be": self.reviews_then},
            "rulings": self.rulings,
            "overruled": [
                {"people": people, "would_be": then, "rulings": count}
                for (people, then), count in sorted(self.overruled.items())
            ],
            "examples": [example.row() for example in self.examples],
        }


@dataclass(frozen=True, slots=True)
class _Ready:
    """The candidate, compiled for a tool as it was recorded under one policy set; `why` it can't be.

    Attributes:
        unasked: of its rules by digest, the names they look at that nobody asked for, or recorded, then.
        vital: names among them whose absence no error tells: `has(facts.x)`.
    """

    spec: ToolSpec | None
    rules: PolicySet | None = None
    unasked: Mapping[str, frozenset[str]] = field(default_factory=dict)
    vital: frozenset[str] = frozenset()
    why: str = ""


class _Asked(NamedTuple):
    """A call as it was asked for, and the facts it was decided from first."""

    args: Mapping[str, object]
    document: Mapping[str, Any]


class _Waiting(NamedTuple):
    """A call that waits for people, its arguments if they are there, and the reviews that ask about it."""

    call: _Call
    args: Mapping[str, object] | None
    reviews: tuple[str, ...] = ()


class Backtest:
    """Hand it rows in the journal's order (`feed`); `done` is the report so far."""

    def __init__(
        self,
        files: Mapping[str, str],
        loaded: Iterable[Loaded],
        tools: Toolset | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Takes the candidate's files and every recorded set, in the journal's order.

        Args:
            tools: tools of today, which recorded sets may lack; a recorded tool is always as it was recorded.
            progress: is told now and then how many decisions are done.

        Raises:
            PolicyError: the candidate doesn't load for the newest tools.
        """
        self._files = files
        self._progress = progress
        self._recorded: dict[str, list[tuple[Loaded, Toolset]]] = {}
        newest = Toolset({}, {})
        for one in loaded:
            set_ = recorded_tools(one.types)
            self._recorded.setdefault(one.digest, []).append((one, set_))
            newest = set_.over(newest)
        self._newest = newest = newest if tools is None else tools.over(newest)
        self._current = newest.load(files)
        self._ready: dict[tuple[str, str], _Ready] = {}
        self._sets: dict[str, PolicySet] = {}
        self._old_rules: dict[str, frozenset[str]] = {}
        self._waiting: dict[str, dict[str, _Waiting]] = {}
        self._asked: dict[str, Outcome | None] = {}
        self._queues: dict[str, str] = {}
        self._shown: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._granted: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._kept: Counter[tuple[str, str]] = Counter()
        self.done = Report(self._current.digest)

    def feed(self, rows: Iterable[Row]) -> None:
        """Decides what was decided again. Raises Tampered where an entry, or a value, isn't one."""
        try:
            for kind, data, values in rows:
                if kind == "call.decided":
                    self._decided(_decided_entry.decode(data), values)
                else:
                    self._other(kind, _other_entry.decode(data), values)
        except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError) as error:
            after = f"after {self.done.decisions} decisions"
            raise Tampered(f"{after}, an entry can't be read: {error}: `remit audit verify` says where") from error

    # --- entries ---

    def _decided(self, entry: _DecidedEntry, data: bytes) -> None:
        body = entry.body
        call, verdict = body.call, body.verdict
        values = plain(data)
        args = _args(call, values)
        if body.grants and not set(body.grants) <= self._granted.keys():
            self._count(entry.at)
            self.done.undecided["a grant that allowed it was made before the period"] += 1
            return
        granted = [self._granted[grant] for grant in body.grants]
        approval = self._disclosed(call, verdict.policies, granted) if granted else None
        if body.edited:
            ran = _args(call, values, body.edited)
            asked = _Asked(args, values.get("/asked")) if args is not None and "/asked" in values else None
            then = self._decide(entry.at, entry.stream, call, verdict, ran, values.get("/facts"), approval, asked)
            args = ran
        else:
            then = self._decide(entry.at, entry.stream, call, verdict, args, values.get("/facts"), approval)
        if verdict.outcome is Outcome.ESCALATE:
            self._waiting.setdefault(entry.stream, {})[call.id] = _Waiting(call, args, body.reviews)
            for review in body.reviews:
                self._asked[review] = None if then is None else then[0]
        if then is not None:
            self.done.reviews += len(body.reviews)
            self.done.reviews_then += then[1]

    def _other(self, kind: str, entry: _Other, data: bytes) -> None:
        if kind == "run.finished":
            # Nobody is asked any more, whatever became of the reviews.
            for waiting in self._waiting.pop(entry.stream, {}).values():
                for review in waiting.reviews:
                    self._closed(review)
            return
        body = _BODIES[kind].decode(entry.body)
        if isinstance(body, e.CallDecidedAgain):
            self._decided_again(entry, body, plain(data))
        elif isinstance(body, e.CallRefused):
            self._waiting.get(entry.stream, {}).pop(body.id, None)
            for ruling in body.rulings:
                self._shown.pop(ruling.review, None)
        elif isinstance(body, e.ReviewOpened):
            if not body.in_doubt:
                self._queues[body.review] = body.queue
        elif isinstance(body, e.ReviewRuled):
            self._ruled(body)
        elif isinstance(body, e.GrantMade):
            self._granted[body.grant] = (body.queue, body.disclosed)
        elif isinstance(body, (e.ReviewExpired, e.ReviewWithdrawn)):
            self._closed(body.review)

    def _closed(self, review: str) -> None:
        self._asked.pop(review, None)
        self._queues.pop(review, None)
        self._shown.pop(review, None)

    def _ruled(self, body: e.ReviewRuled) -> None:
        queue = self._queues.pop(body.review, None)
        if queue is None or body.review not in self._asked:
            return  # of a call in doubt, or of one from before the period
        then = self._asked.pop(body.review)
        self._shown[body.review] = (queue, body.disclosed)
        self.done.rulings += 1
        if body.approved and then is Outcome.DENY:
            self.done.overruled["approved", then.value] += 1
        elif not body.approved and then is Outcome.ALLOW:
            self.done.overruled["denied", then.value] += 1

    def _decided_again(self, entry: _Other, body: e.CallDecidedAgain, values: Mapping[str, Any]) -> None:
        waiting = self._waiting.get(entry.stream, {})
        found = waiting.get(body.id)
        verdict = _Verdict(
            body.verdict.outcome,
            body.verdict.policies,
            tuple(_name(hit) for hit in body.verdict.rules),
            body.verdict.obliged,
        )
        if found is None:
            self._count(entry.at)
            self.done.undecided["it was first asked for before the period"] += 1
            return
        approval = self._approval(found.call, body)
        if body.edited:
            edited = {name: values.get(f"/edited/{name}") for name in body.edited}
            known = found.args is not None and None not in edited.values()
            args = {**(found.args or {}), **edited} if known else None
            found = waiting[body.id] = found._replace(args=args)
        self._decide(entry.at, entry.stream, found.call, verdict, found.args, values.get("/facts"), approval)
        if body.verdict.outcome is not Outcome.ESCALATE:
            waiting.pop(body.id)
            for ruling in body.rulings:
                self._shown.pop(ruling.review, None)
        for review in body.reviews:
            self._asked.setdefault(review, None)

    def _approval(self, call: _Call, body: e.CallDecidedAgain) -> Approval:
        shown = [self._shown.get(ruling.review, ("", ())) for ruling in body.rulings]
        return self._disclosed(call, body.verdict.policies, shown)

    def _disclosed(self, call: _Call, policies: str, shown: Iterable[tuple[str, tuple[str, ...]]]) -> Approval:
        """What people were shown; rules of the candidate that were not in force then they would have been shown."""
        disclosed: dict[str, set[str]] = {}
        for queue, digests in shown:
            disclosed.setdefault(queue, set()).update(digests)
        ready = self._candidate(call.tool_digest, policies)
        old = self._old(policies)
        for rule in ready.rules.rules_for(call.tool) if ready.rules is not None else ():
            if rule.queue in disclosed and rule.digest not in old:
                disclosed[rule.queue].add(rule.digest)
        return Approval({queue: frozenset(digests) for queue, digests in disclosed.items()})

    # --- deciding ---

    def _decide(
        self,
        at: str,
        stream: str,
        call: _Call,
        was: _Verdict,
        args: Mapping[str, object] | None,
        document: Mapping[str, Any] | None,
        approval: Approval | None,
        asked: _Asked | None = None,
    ) -> tuple[Outcome, int] | None:
        """Counts a decision made again; returns its outcome and in how many queues it would wait.

        `asked`: the call as it was asked for, where obligations changed it to `args`.
        """
        self._count(at)
        ready = self._ready.get((call.tool_digest, was.policies)) or self._candidate(call.tool_digest, was.policies)
        if ready.spec is None or ready.rules is None:
            return self._cannot(at, stream, call, was, ready.why)
        if args is None or document is None:
            return self._cannot(at, stream, call, was, "its arguments or facts were erased or withheld")
        try:
            seen = roots(document, ready.spec, args)
        except RemitError as error:
            return self._cannot(at, stream, call, was, str(error))
        verdict = decide(call.tool, seen, ready.rules, approval)
        if verdict.obliged or asked is not None or "guarded" in document:
            verdict = self._obliged(ready.spec, ready.rules, document, args, approval, asked)
        if ready.unasked:
            missing = _missing(ready, document, verdict.broken)
            if missing:
                return self._cannot(at, stream, call, was, missing)
        outcome = verdict.outcome
        done = self.done
        if verdict.obliged != was.obliged and outcome is not Outcome.DENY and was.outcome is not Outcome.DENY:
            for one in {*verdict.obliged} ^ {*was.obliged}:
                done.obliged["added" if one in verdict.obliged else "dropped", in_words(one)] += 1
        if outcome is was.outcome:
            done.same += 1
            if not _same_rules(was.rules, verdict.rules):
                done.other_rules += 1
        else:
            done.changes[was.outcome.value, outcome.value] += 1
            names = tuple(sorted({f"{hit.policy}/{hit.rule}" for hit in verdict.rules})) or ("no rule",)
            for name in names:
                done.by_rule[was.outcome.value, outcome.value, name] += 1
            self._example(at, stream, call, was, outcome.value, names, "; ".join(verdict.reasons))
        return outcome, len(verdict.queues)

    def _obliged(
        self, spec: ToolSpec, rules: PolicySet, document: Mapping[str, Any], args: Mapping[str, object],
        approval: Approval | None, asked: _Asked | None,
    ) -> Verdict:  # fmt: skip
        """Decides with obligations. A call that is changed otherwise than it was is decided from what it saw then."""
        if approval is not None:
            return decide_approved(spec, document, args, rules, approval)
        begun = asked or _Asked(args, document)
        first = as_obliged(spec, begun.document, begun.args, rules)
        return settled(spec, first, document, rules).verdict if first.changed else first.verdict

    def _count(self, at: str) -> None:
        done = self.done
        done.decisions += 1
        done.first = done.first or at
        done.last = at
        if self._progress is not None and done.decisions % _TICK == 0:
            self._progress(done.decisions)

    def _cannot(self, at: str, stream: str, call: _Call, was: _Verdict, why: str) -> tuple[Outcome, int] | None:
        self.done.undecided[why] += 1
        if self.done.undecided[why] <= _EXAMPLES_EACH:
            self._example(at, stream, call, was, "", (), why)
        return None

    def _example(
        self, at: str, stream: str, call: _Call, was: _Verdict, then: str, names: tuple[str, ...], why: str
    ) -> None:
        """Keeps a few of each kind."""
        kind = (was.outcome.value, then)
        if self._kept[kind] < _EXAMPLES_EACH:
            self._kept[kind] += 1
            place = f"{stream.removeprefix('run/')}/{call.id}"
            self.done.examples.append(Example(place, call.tool, at, was.outcome.value, then, names, why))

    # --- the candidate for a recorded tool ---

    def _candidate(self, tool_digest: str, policies: str) -> _Ready:
        key = (tool_digest, policies)
        if key not in self._ready:
            self._ready[key] = self._made(tool_digest, policies)
        return self._ready[key]

    def _made(self, tool_digest: str, policies: str) -> _Ready:
        facts: dict[str, Any] = {}
        findings: dict[str, Any] = {}
        spec: ToolSpec | None = None
        for _, tools in self._recorded.get(policies, ()):
            for one in tools.specs.values():
                if one.digest == tool_digest:
                    spec = one
                    facts.update(tools.facts.get(one.name, {}))
                    findings.update(tools.findings.get(one.name, {}))
        if spec is None:
            return _Ready(None, why="the policy set or the tool that it was decided with is not there")
        typed = {**self._newest.facts.get(spec.name, {}), **facts}
        found = {**self._newest.findings.get(spec.name, {}), **findings}
        sum_ = digest({"tool": spec.digest, "facts": typed, "findings": found})
        if sum_ not in self._sets:
            try:
                then = Toolset({spec.name: spec}, {spec.name: typed}, {spec.name: found})
                self._sets[sum_] = then.over(self._newest).load(self._files)
            except PolicyError as error:
                words = error.problems[0].message
                return _Ready(spec, why=f"the candidate doesn't load for tool `{spec.name}` as it was: {words}")
        rules = self._sets[sum_]
        there = {"args", "tool", *_DOCUMENT, *(f"facts.{name}" for name in facts)}
        there |= {f"findings.{name}" for name in findings}
        unasked: dict[str, frozenset[str]] = {}
        vital: set[str] = set()
        for rule in rules.rules_for(spec.name):
            looked, asked = looks_at(rule.condition.tree)
            unasked[rule.digest] = looked - there
            vital |= asked - there
        unasked = {name: names for name, names in unasked.items() if names}
        return _Ready(spec, rules, unasked, frozenset(vital))

    def _old(self, policies: str) -> frozenset[str]:
        """Returns the digests of the rules that were in force then."""
        if policies not in self._old_rules:
            digests: set[str] = set()
            for one, tools in self._recorded.get(policies, ()):
                try:
                    set_ = tools.load(one.texts, recorded=True)
                except PolicyError:
                    continue
                digests |= {rule.digest for rules in set_.enforced.values() for rule in rules}
            self._old_rules[policies] = frozenset(digests)
        return self._old_rules[policies]


def looks_at(tree: Node) -> tuple[frozenset[str], frozenset[str]]:
    """Returns the names a condition looks at, facts as `facts.name`; and those of them that it asks `has` of."""
    if isinstance(tree, (Field, Has)) and isinstance(tree.operand, Root) and tree.operand.name in _BY_NAME:
        names = frozenset({f"{tree.operand.name}.{tree.name}"})
        return names, names if isinstance(tree, Has) else frozenset()
    if isinstance(tree, Root):
        return (frozenset() if tree.name in _BY_NAME else frozenset({tree.name})), frozenset()
    looked: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    for child in children(tree):
        below, has = looks_at(child)
        looked, asked = looked | below, asked | has
    return looked, asked


_BY_NAME: Final = ("facts", "findings", "counters")
_DOCUMENT: Final = ("now", "agent", "task", "run", "spent", "labels", "history", "facts", "approval")
"""Names that every recorded decision has."""


def _missing(ready: _Ready, document: Mapping[str, Any], broken: tuple[RuleHit, ...]) -> str:
    """Returns why the decision rests on what the journal doesn't have; empty where it doesn't.

    A rule that looks at an absent value is in error, unless the value makes no difference to it.
    """
    needed = set(ready.vital)
    for hit in broken:
        needed |= ready.unasked.get(hit.digest, frozenset())
    for name in sorted(needed):
        root, _, fact = name.partition(".")
        if fact and fact not in document.get(root, {}):
            what = {"facts": "fact", "findings": "guardrail"}.get(root, "counter")
            return f"{what} `{fact}` was not asked for then"
        if not fact and root not in document:
            return f"`{root}` was not recorded then"
    return ""


def _args(
    call: _Call, values: Mapping[str, Any], edited: Mapping[str, str] | tuple[()] = ()
) -> dict[str, object] | None:
    try:
        return {name: values[("/edited/" if name in edited else "/args/") + name] for name in call.args}
    except KeyError:
        return None


def _name(hit: RuleHit) -> _Hit:
    return _Hit(hit.policy, hit.rule)


def _same_rules(was: tuple[_Hit, ...], now: tuple[RuleHit, ...]) -> bool:
    if len(was) == len(now) == 1:
        return was[0].rule == now[0].rule and was[0].policy == now[0].policy
    return {(hit.policy, hit.rule) for hit in was} == {(hit.policy, hit.rule) for hit in now}


def _strict(outcome: str) -> int:
    return ("allow", "escalate", "deny").index(outcome)
