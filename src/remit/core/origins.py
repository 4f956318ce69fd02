"""Where a value came from: each leaf of an argument, looked up in the run's index.

When in doubt the worse origin wins: a value that was seen in trusted and in untrusted places says both, one that
was put together says the worst of its parts, one that was seen nowhere is unknown. The words are explained in
docs/howto/information-flow.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Final

from remit.core import matching
from remit.core.labels import PESSIMISTIC, Labels, ResultLabels, join, leaves
from remit.core.sources import PRINCIPAL, TRUSTED, UNTRUSTED, Index, Posting, Source
from remit.core.tools import Effect, JsonSchema, ToolSpec

VALUE_LEAVES_MAX: Final = 1_000
"""Leaves of one call's arguments that are looked up one by one; the rest is one leaf of unknown origin."""
WORDS_MAX: Final = 4_000
NUMBERS_MAX: Final = 8
CALLED_MAX: Final = 32


@dataclass(slots=True)
class Origin:
    """Where one value came from.

    Attributes:
        principal: all of it stands in the principal's input, in one piece.
        selected: it is a trusted part of a record that the principal's words lead to.
        trusted: all of it was seen in parts of results that are trusted, in one piece.
        untrusted: it, or a part of it, was seen in what others wrote.
        unknown: a part of it was seen nowhere: the agent made it.
        ambiguous: seen in trusted and untrusted places both.
        endorsed: it comes from a source that the principal has endorsed, as far as that goes.
        constant: it carries no choice: the tool's default, one of its listed values, true, false, nothing.
        computed: a number computed from numbers of the principal's and of records the principal named.
    """

    principal: bool = False
    selected: bool = False
    trusted: bool = False
    untrusted: bool = False
    unknown: bool = False
    ambiguous: bool = False
    endorsed: bool = False
    constant: bool = False
    computed: bool = False
    labels: Labels = ()
    source: Source | None = None
    how: str = ""

    @property
    def vouched(self) -> bool:
        """Whether the principal stands behind the value."""
        return self.principal or self.selected or self.endorsed or self.constant or self.computed


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A source that the principal endorses in advance: a tool (and a part of its results), or one by its name."""

    text: str

    def covers(self, source: Source, tools: Iterable[str], names: Iterable[Source]) -> bool:
        """Whether it speaks of this source; `names` are the leaves that may carry the source's name."""
        tool, slash, rest = self.text.partition("/")
        if tool in tools:
            steps = tuple(rest.split("/")) if slash else ()
            return source.tool == tool and any(
                source.steps[start : start + len(steps)] == steps for start in range(len(source.steps) - len(steps) + 1)
            )
        wanted = matching.words(self.text)
        return bool(wanted) and any(one.norm == matching.joined(wanted) for one in names)


@dataclass(slots=True)
class Lineage:
    """The run's index, and what else looking up needs."""

    endorsements: tuple[Endorsement, ...] = ()
    tools: frozenset[str] = frozenset()
    index: Index = field(default_factory=Index)
    removed: tuple[tuple[str, Endorsement], ...] = ()
    """Labels that people have removed from what comes from a tool, or a part of what it returns."""
    _asked: dict[str, list[Source]] = field(default_factory=dict)
    """The arguments of each call, by which its result may be called."""
    _called: list[Source] = field(default_factory=list)
    """Texts of others that the principal's input names: by file name or by who sent them."""
    _numbers: list[Decimal] = field(default_factory=list)
    """Numbers of records that the principal named."""

    def settled(
        self, call: str, tool: ToolSpec, args: Mapping[str, object], result: object, more: Sequence[str] = (),
        by_people: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """Adds what a call returned; the arguments first, so that what only comes back from them is known.

        Args:
            more: labels that guardrails gave the result, all of it.
            by_people: names of the arguments that a reviewer changed, and vouches for.
        """
        reading = tool.effect in (Effect.READ, Effect.FETCH)
        chosen, asked, sent = True, [], []
        named = []
        for name, value in args.items():
            for steps, leaf in parts_of(tool, name, value, VALUE_LEAVES_MAX):
                origin = Origin(endorsed=True) if name in by_people else self.origin(tool, name, steps, leaf)
                if not origin.vouched and (reading or tool.is_authority(name) or not tool.is_content(name)):
                    chosen = False
                if not origin.vouched and not origin.constant:
                    sent.append((name, leaf, origin.labels or PESSIMISTIC))
                if isinstance(leaf, str) and leaf:
                    found = matching.words(leaf)
                    named.append(
                        Source(
                            "sent", call, tool.name, (name, *steps), (), leaf, matching.joined(found), leaf, (call, ())
                        )
                    )
                    telling = [word for word in found if matching.informative(word) and not word.isdigit()]
                    if telling and (origin.principal or origin.endorsed) and len("".join(telling)) > 5:
                        asked.append((matching.joined(found), origin.principal))
        for name, leaf, labels in sent:
            self.index.add_sent(call, tool.name, name, leaf, labels)
        self._asked[call] = named
        self.index.add_result(
            call, tool.name, ResultLabels(tool.labels, more, self._removed_from(tool.name)), result,
            asked=tuple(norm for norm, by_principal in asked if by_principal), chosen=chosen,
        )  # fmt: skip
        self._learn(call)

    def _removed_from(self, tool: str) -> list[tuple[str, tuple[str, ...]]]:
        found = []
        for label, source in self.removed:
            name, _, part = source.text.partition("/")
            if name == tool:
                found.append((label, tuple(part.split("/")) if part else ()))
        return found

    # --- one value ---

    def origin(self, tool: ToolSpec, name: str, steps: tuple[str, ...], leaf: object) -> Origin:
        """Returns where one leaf of one argument came from."""
        if _is_constant(tool, name, steps, leaf):
            return Origin(constant=True, how="is one of the tool's own values")
        called = next((step for step in reversed((name, *steps)) if not step.isdigit()), name)
        if isinstance(leaf, str):
            return self.of_text(leaf, tool.effect, called)
        if isinstance(leaf, (Mapping, list)):
            return worst(Origin(), "is nested too deep to be looked up")
        return self.of_number(leaf, tool.effect, called)

    def of_number(self, leaf: object, effect: Effect, called: str = "") -> Origin:
        """Returns where a number came from: it is compared by what it is worth."""
        found = [one for one in self.index.whole(matching.number(leaf)) if self._fits(one, called)]
        origin = self._found(found, exact=matching.number(leaf), short=False)
        if not origin.vouched:
            self._references(origin, found, lambda one: bool(matching.number(one.value)), effect)
        if not origin.vouched:
            self._compute(origin, Decimal(str(leaf)), effect)
        return origin

    def of_text(self, text: str, effect: Effect, called: str = "") -> Origin:
        """Returns where a text came from."""
        found = matching.words(text)
        if not found:
            return Origin(constant=True, how="holds no word") if not text.strip() else Origin(unknown=True)
        if len(text) > matching.TEXT_MAX or len(found) > WORDS_MAX:
            origin = self._composed(found[:WORDS_MAX])
            return worst(origin, "is too long to be looked up")
        norm = matching.joined(found)
        sources = {id(one): one for one in self.index.whole(norm)}
        forms = matching.whole_forms(text)
        for form in forms:
            sources.update((id(one), one) for one in self.index.whole(form))
        short = (len(found) == 1 and len(found[0]) <= 3) or (norm.strip().isdigit() and len(norm) <= 6)
        seen = self.index.seen(found)
        if not short:
            sources.update((id(one), one) for one in self.index.containing(found, seen))
        sources = {key: one for key, one in sources.items() if self._fits(one, called)}
        origin = self._found(list(sources.values()), exact=norm, short=short, forms=forms)
        if not short and self.index.principal.has(found):
            origin.principal, origin.unknown = True, False
        if not origin.vouched:
            self._references(origin, list(sources.values()), lambda one: one.norm == norm, effect)
        if origin.source is not None or origin.principal:
            return self._decoded(origin, text, effect)
        if short:  # so short a text stands in many a place by chance
            origin.untrusted = any(self.index.flags(word) & UNTRUSTED for word in found)
            return origin
        origin = self._composed(found, seen)
        origin.principal &= not matching.is_identifier(text)  # an address made of the principal's words is another one
        return self._decoded(origin, text, effect)

    def _fits(self, source: Source, called: str) -> bool:
        """Whether a source may be where the value of an argument of this name is from; others are chance."""
        return source.kind != "result" or not source.trusted or self.index.is_of_kind(source, called)

    def _found(self, sources: Sequence[Source], *, exact: str, short: bool, forms: Iterable[str] = ()) -> Origin:
        origin = Origin(unknown=True, labels=join(*self.index.marks(exact)) if not short else ())
        kinds = {"principal": False, "trusted": False, "untrusted": False}
        best: Source | None = None
        for one in sources:
            if one.kind == "sent":
                continue
            whole = exact in (one.norm, matching.number(one.value)) or bool(set(forms) & matching.whole_forms(one.text))
            if short and not whole:
                if one.kind == "principal" and not _refers(one.text, exact):
                    continue
                if one.kind == "result" and one.trusted:
                    continue
            origin.unknown = False
            origin.labels = join(origin.labels, one.labels)
            kind = "principal" if one.kind == "principal" else "trusted" if one.trusted else "untrusted"
            kinds[kind] = True
            if kind == "trusted" and whole and not origin.selected:
                origin.selected = self.index.is_named(one)
                best = one if origin.selected else best
        origin.principal, origin.trusted, origin.untrusted = kinds["principal"], kinds["trusted"], kinds["untrusted"]
        origin.ambiguous = origin.untrusted and (origin.principal or origin.trusted)
        order = ("result", "principal") if not origin.principal else ("principal", "result")
        listed = [one for kind in order for one in sources if one.kind == kind]
        worst = [one for one in listed if not one.trusted] if not origin.principal and not origin.selected else []
        origin.source = best or (worst or listed or [None])[0]  # type: ignore[list-item]
        return origin

    def _composed(self, found: list[str], seen: Mapping[str, Posting | None] | None = None) -> Origin:
        """Returns the origin of a text that stands nowhere as it is: the worst of its telling words'."""
        telling = matching.telling(found) or found
        principal = trusted = True
        unknown = untrusted = False
        source: Source | None = None
        looking = True
        marks: set[frozenset[Labels]] = set()  # nearly always the same few objects
        postings = self.index.seen(found) if seen is None else seen
        for word in dict.fromkeys(telling):
            posting = postings[word]
            if posting is None:
                unknown, principal, trusted = True, False, False
                marks.add(self.index.marks(word))
                continue
            flags = posting.flags
            if flags & PRINCIPAL:
                continue
            principal = False
            if not flags & TRUSTED:
                trusted = False
                untrusted |= flags == UNTRUSTED
            marks.add(posting.marks)
            for one in posting.sources[:4] if looking else ():
                if one.kind != "sent" and (source is None or (source.trusted and not one.trusted)):
                    source = one
                    looking = source.trusted  # there is no worse than an untrusted one
        origin = Origin(principal, trusted=trusted, untrusted=untrusted, unknown=unknown, source=source)
        origin.labels = join(*{labels for some in marks for labels in some})
        if len(telling) > 3 or len(found) > len(telling) + 1:
            origin.principal = False  # so many words of the principal's may be made into anything
        if origin.unknown or not self.index.complete:
            origin.labels = join(origin.labels, self.index.cut)
        origin.how = "was put together from words of" if origin.source is not None else ""
        return origin

    def _decoded(self, origin: Origin, text: str, effect: Effect) -> Origin:
        """Joins what is encoded in the value: its origins are the value's."""
        for inner in matching.decoded(text):
            found = matching.words(inner)
            for one in self.index.containing(found) if found else ():
                if one.kind != "sent":
                    origin.labels = join(origin.labels, one.labels)
                    origin.untrusted |= not one.trusted
                    origin.source = origin.source or one
            if found and not origin.vouched:
                pieces = self._composed(found)
                origin.untrusted |= pieces.untrusted
                origin.labels = join(origin.labels, pieces.labels)
                origin.source = origin.source or pieces.source
        return origin

    # --- endorsed sources ---

    def _references(
        self, origin: Origin, sources: Sequence[Source], whole: Callable[[Source], bool], effect: Effect
    ) -> None:
        """Says `endorsed` where an endorsed source holds the value, or where one that is named leads to its record."""
        for one in sources:
            if one.kind == "result" and self._is_endorsed(one):
                origin.endorsed, origin.source = True, one
                return
        if effect is not Effect.WRITE:
            return
        for one in sources:
            if one.kind == "result" and one.trusted and whole(one) and self._is_led_to(one):
                origin.endorsed, origin.source, origin.how = (
                    True,
                    one,
                    "is of a record named in a source named by the principal,",
                )
                return

    def _names(self, source: Source) -> list[Source]:
        """Returns the leaves by which a source may be called: its call's arguments, trusted leaves of its record."""
        beside = [one for one in self.index.record(source) if one.trusted]
        args = self._asked.get(source.call, []) if not source.record[1] or len(beside) == 0 else []
        return [*beside, *args]

    def _is_endorsed(self, source: Source) -> bool:
        return any(one.covers(source, self.tools, self._names(source)) for one in self.endorsements)

    def _is_called(self, source: Source) -> bool:
        principal = self.index.principal
        for one in self._names(source):
            name = isinstance(one.value, str) and (matching.is_file(one.value) or matching.is_identifier(one.value))
            if name and principal.has(matching.words(one.text)):
                return True
        return False

    def _is_led_to(self, target: Source) -> bool:
        """Whether a source that the principal named names, in turn, the record that the target stands in."""
        beside = self.index.record(target)
        for source in self._called:
            if source.call == target.call and source.record == target.record:
                continue
            for one in beside:
                found = matching.words(one.text)
                telling = [word for word in found if matching.informative(word) and not word.isdigit()]
                name = matching.is_file(one.text) or (len(found) <= 6 and one.text[:1].isupper())
                if telling and name and one is not source and matching.joined(found) in source.norm:
                    return True
        return False

    # --- numbers ---

    def _compute(self, origin: Origin, value: Decimal, effect: Effect) -> None:
        """Says `computed` where at most two steps lead from the principal's and named records' numbers to `value`."""
        given = self.index.principal.numbers[:NUMBERS_MAX]
        how = _steps(value, given, self._numbers[:NUMBERS_MAX]) if given else ""
        if how:
            origin.computed, origin.unknown, origin.how = True, False, f"is {how}"
        elif effect is Effect.WRITE:
            self._change(origin, value)

    def _change(self, origin: Origin, value: Decimal) -> None:
        """Says `endorsed` where a source that the principal named says by how much a number of theirs changes."""
        for source in self._called:
            for number in list(matching.numbers(source.text[:4_000]))[:NUMBERS_MAX]:
                for before, sign in ((value - number, "+"), (value + number, "-")):
                    own = [one for one in self.index.whole(matching.number(before)) if matching.number(one.value)]
                    if number and any(self._is_theirs(one) for one in own):
                        origin.endorsed, origin.unknown, origin.source = True, False, source
                        origin.how = f"is {before} {sign} {number}, where the latter was read from"
                        origin.labels = join(origin.labels, source.labels)
                        return

    def _is_theirs(self, one: Source) -> bool:
        return one.kind == "result" and one.trusted and (self.index.is_named(one) or self._is_led_to(one))

    def _learn(self, call: str) -> None:
        """Notes what a call's result adds to the sources that the principal named, and to the numbers."""
        for record in self.index.records_of(call):
            for one in record:
                if (
                    not one.trusted
                    and isinstance(one.value, str)
                    and len(self._called) < CALLED_MAX
                    and self._is_called(one)
                ):
                    self._called.append(one)
            if record and len(self._numbers) < NUMBERS_MAX and self.index.is_named(record[0]):
                self._numbers += [
                    Decimal(str(one.value)) for one in record
                    if one.trusted and matching.number(one.value) and not _is_key(one.steps[-1:])
                ]  # fmt: skip


def _is_constant(tool: ToolSpec, name: str, steps: tuple[str, ...], leaf: object) -> bool:
    """Whether the value carries no choice that anybody could have put there."""
    if leaf is None or isinstance(leaf, bool) or leaf == [] or leaf == {}:
        return True
    schema = tool.normal.get("properties", {}).get(name, {})
    if not steps and "default" in schema and schema["default"] == leaf:
        return True
    return isinstance(leaf, str) and (
        leaf in _listed(schema, tool.normal.get("$defs", {})) or (bool(steps) and _is_documented(tool, schema, leaf))
    )


def _is_documented(tool: ToolSpec, schema: JsonSchema, text: str) -> bool:
    """Whether the tool's own description quotes a short key or value: `{"type": "file"}`."""
    said = f"{tool.description} {schema.get('description', '')}"
    return 0 < len(text) <= 24 and text.isidentifier() and any(f"{mark}{text}{mark}" in said for mark in "'\"`")


def _listed(schema: JsonSchema, shared: object, depth: int = 8) -> set[str]:
    """Returns the texts that a schema lists one by one, itself or in what it refers to."""
    found: set[str] = set()
    parts: list[tuple[object, int]] = [(schema, depth), (shared if "$ref" in str(schema) else {}, depth)]
    while parts:
        part, left = parts.pop()
        if isinstance(part, Mapping):
            found.update(one for one in (*part.get("enum", ()), part.get("const")) if isinstance(one, str))
            parts += [(one, left - 1) for key, one in part.items() if left and key not in ("enum", "const", "default")]
        elif isinstance(part, list):
            parts += [(one, left - 1) for one in part if left]
    return found


def parts_of(tool: ToolSpec, name: str, value: object, limit: int) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yields the leaves of an argument, and the keys of its objects where the schema doesn't say what those are."""
    schema = tool.normal.get("properties", {}).get(name, {})
    free = isinstance(value, (Mapping, list)) and not any(f"'{word}'" in str(schema) for word in ("properties", "$ref"))
    seen: set[tuple[str, ...]] = set()
    for steps, leaf in leaves(value, limit):
        for length in range(1, len(steps) + 1) if free else ():
            if steps[:length] not in seen and not steps[length - 1].isdigit():
                seen.add(steps[:length])
                yield steps[:length], steps[length - 1]
        yield steps, leaf


def _refers(text: str, norm: str) -> bool:
    """Whether a text has a short value as a reference or in quotes, and not just somewhere: `id 13`, `"13"`, `#13`."""
    found = matching.words(text)
    value = norm.strip().lstrip("#")
    if found == [value]:
        return True
    quoted = any(f"{left}{value}{right}" in text.casefold() for left, right in (('"', '"'), ("'", "'"), ("`", "`")))
    before = {found[place - 1] for place, word in enumerate(found) if word == value and place}
    return quoted or f"#{value}" in text or bool(before & {"id", "ids", "number", "no", "nr", "file", "event", "item"})


def _is_key(steps: tuple[str, ...]) -> bool:
    last = steps[0].casefold() if steps else ""
    return last in ("id", "id_", "key", "number") or last.endswith("_id")


def worst(origin: Origin, how: str) -> Origin:
    labels = join(origin.labels, PESSIMISTIC)
    return Origin(untrusted=True, unknown=True, labels=labels, source=origin.source, how=how)


def _steps(value: Decimal, given: Sequence[Decimal], read: Sequence[Decimal]) -> str:
    """Returns how `value` is made in at most two steps, the first with a number that was read, each with one given."""
    cent = Decimal("0.005")
    if abs(value) > Decimal(10) ** 15:
        return ""
    first = [(one, f"{one}") for one in read]
    for number, text in list(first):
        first += _one_step(number, text, given)
    for number, text in first:
        if text != f"{number}" and abs(number - value) < cent:
            return text
    for number, text in first:
        for result, how in _one_step(number, text, given):
            if abs(result - value) < cent:
                return how
    return ""


def _one_step(number: Decimal, text: str, given: Sequence[Decimal]) -> list[tuple[Decimal, str]]:
    found = []
    for one in given:
        found += [
            (number + one, f"{text} + {one}"), (number - one, f"{text} - {one}"), (one - number, f"{one} - {text}"),
            (number - one / 2, f"{text} - {one} / 2"), (number * one / 100, f"{text} x {one} %"),
            (number * (100 + one) / 100, f"{text} + {one} %"),
        ]  # fmt: skip
        try:
            found.append((number / one, f"{text} / {one}"))
        except (DivisionByZero, InvalidOperation):
            continue
    return found
