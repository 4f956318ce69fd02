"""What a run has seen so far, and where: the index that provenance is read from.

A source is one leaf: of the principal's input, of a call's result, or of an argument that was sent. Sources are
only ever added, in the order of the journal's entries, so that an index built again from them is the same. A
word, a canonical form or a whole text leads to its sources; the lists are capped, with what was capped away
still in the flags, so that looking up costs what the new value is long and not what the run has read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from remit.core import matching
from remit.core.labels import Labels, ResultLabels, is_trusted, join, leaves, pointer_of
from remit.core.pieces import Pieces

LEAVES_MAX: Final = 20_000
"""Leaves of one result that are indexed."""
POSTINGS_MAX: Final = 48
"""Sources that are kept for a word."""
RECORD_MAX: Final = 64
"""Leaves of one record, and records of one list, that are compared with each other."""

PRINCIPAL, TRUSTED, UNTRUSTED = 1, 2, 4

_SENTENCE: Final = re.compile(r"(?:^|[.!?:]\s+|\d\.\s+)(\w+)")
_PROPER: Final = re.compile(r"\b[A-Z][\w]*[a-z][\w]*\b|\b[a-z]+[A-Z]\w*\b|['\"“‘]([^'\"”’]{2,80})['\"”’]")
_MOST: Final = re.compile(
    r"\b(?:(larg|bigg|high|long|lat|new|great|strong|heavi|fast|small|low|cheap|old|earli|short|near)est"
    r"|(most|best|top|last|maximum|least|first|next|minimum|worst))\b"
    r"(?! +(?:\d+ +)?(?:second|minute|hour|day|week|month|quarter|year|mon|tue|wed|thu|fri|sat|sun|night|time|name))",
    re.IGNORECASE,
)
_KEYS: Final = frozenset("id ids key keys no nr number ref reference".split())
_OPENERS: Final = frozenset(
    "please could would create perform find read make made check send update delete share show tell give take look"
    " what when where which write move add remove book pay plan reserve schedule cancel summarize summarise after"
    " before then next also security today invite visit search list open close reply forward post help using based"
    " according once with from does this that there here have just finally first second third".split()
)
"""Words that begin a sentence and are no names."""
_DOWN: Final = frozenset("small low cheap least old earli short first next near minimum worst".split())


@dataclass(slots=True, eq=False)
class Source:
    """One leaf that was seen.

    Attributes:
        kind: principal, result or sent (an argument).
        record: the object it stands in: the call, and the steps to that object.
        named: whether its text is what the principal named its record by.
        chosen: whether its record needed no choosing: the principal's words led to this result alone.
    """

    kind: str
    call: str
    tool: str
    steps: tuple[str, ...]
    labels: Labels
    text: str
    norm: str
    value: object
    record: tuple[str, tuple[str, ...]]
    named: bool = False
    chosen: bool = False

    @property
    def trusted(self) -> bool:
        return is_trusted(self.labels)

    @property
    def pointer(self) -> str:
        return pointer_of(self.steps)


class Posting:
    """Where a word, or a whole text, was seen."""

    __slots__ = ("flags", "marks", "sources")

    def __init__(self) -> None:
        self.flags = 0
        self.marks: frozenset[Labels] = frozenset()
        self.sources: list[Source] = []


@dataclass(slots=True)
class Principal:
    """The principal's words, as far as they are compared with what is read."""

    texts: list[str] = field(default_factory=list)
    norm: str = " "
    words: frozenset[str] = frozenset()
    proper: frozenset[str] = frozenset()
    forms: frozenset[str] = frozenset()
    numbers: tuple[Decimal, ...] = ()
    amounts: frozenset[str] = frozenset()
    """Canonical forms of numbers that are written to the cent: those name a record too."""
    most: frozenset[str] = frozenset()
    """`up` and `down`, where they ask for the largest, the latest, the cheapest of something."""

    @classmethod
    def of(cls, texts: list[str]) -> Principal:
        whole = "\n".join(matching.plain(text) for text in texts)[: matching.TEXT_MAX]
        found = [matching.words(text) for text in texts]
        flat = [word for some in found for word in some]
        most = {"down" if word.lower() in _DOWN else "up" for pair in _MOST.findall(whole) for word in pair if word}
        numbers: list[Decimal] = []
        for number in matching.numbers(_without_identifiers(whole)):
            if number not in numbers:
                numbers.append(number)
        return cls(
            texts,
            "".join(matching.joined(some) for some in found) or " ",
            frozenset(flat),
            _proper(whole),
            frozenset(matching.forms(whole, flat)),
            tuple(numbers[:16]),
            frozenset(matching.number(one) for one in numbers if one.as_tuple().exponent == -2),
            frozenset(most),
        )

    def names(self, text: str, found: list[str]) -> bool:
        """Whether the principal's words name a record by this leaf of it."""
        if not found or len(found) > 12 or len(text) > 200:
            return False
        if matching.is_identifier(text):
            return self.has(found)
        telling = [word for word in found if matching.informative(word) and not word.isdigit()]
        if not telling or (len(found) == 1 and text[:1].islower() and not matching.is_file(text)):
            return False
        if any(word in self.proper for word in telling):
            return True
        return all(word in self.words for word in telling) and any(len(word) > 3 for word in telling)

    def has(self, found: list[str]) -> bool:
        """Whether these words stand in the principal's, one after the other."""
        return bool(found) and matching.joined(found) in self.norm


def _without_identifiers(text: str) -> str:
    for _, piece in matching.identifiers(text):
        text = text.replace(piece, " ; ")
    return text


def _proper(text: str) -> frozenset[str]:
    """Names: capitalised words within a sentence, and what is in quotes."""
    text = _without_identifiers(text)
    first = {found.start(1) for found in _SENTENCE.finditer(text)}
    kept: set[str] = set()
    for found in _PROPER.finditer(text):
        starts = found.start() in first and found.group().casefold() in _OPENERS
        if found.group(1) is None and not starts:
            kept.update(word for word in matching.words(found.group()) if len(word) > 3 and matching.informative(word))
    return frozenset(kept)


class Index:
    """All sources of a run."""

    def __init__(self) -> None:
        self.principal = Principal()
        self.complete = True
        """Whether everything was indexed; where not, something may have been seen that isn't found."""
        self.sources = 0
        self.cut: Labels = ()
        """Labels of what was too much to be indexed."""
        self._words: dict[str, Posting] = {}
        self._whole: dict[str, Posting] = {}
        self._records: dict[tuple[str, tuple[str, ...]], list[Source]] = {}
        self._lists: dict[tuple[str, tuple[str, ...]], list[tuple[str, ...]]] = {}
        self._of_call: dict[str, list[list[Source]]] = {}
        self._marks: dict[frozenset[Labels], frozenset[Labels]] = {}
        self._inputs: list[Source] = []
        self._pieces = Pieces()

    # --- adding ---

    def add_input(self, value: object, stated: Mapping[str, Iterable[str]] | None = None) -> None:
        """Adds the run's input: the principal's words, except where `stated` labels say otherwise."""
        labels = ResultLabels(stated or {})
        texts: list[str] = []
        for steps, leaf in leaves(value, LEAVES_MAX):
            marks = labels.at(steps)
            if leaf is None or isinstance(leaf, (bool, dict, list)):
                continue
            if is_trusted(marks):
                texts.append(str(leaf))
            source = self._source("principal" if is_trusted(marks) else "result", "", "", steps, marks, leaf)
            self._inputs.append(source)
            self._add(source, matching.words(source.text))
        self.principal = Principal.of(texts)

    def add_sent(self, call: str, tool: str, name: str, value: object, labels: Labels) -> None:
        """Adds an argument that was sent and that nobody vouches for: where it comes back, so do its labels."""
        for steps, leaf in leaves(value, LEAVES_MAX):
            if isinstance(leaf, (str, int, float)) and not isinstance(leaf, bool):
                source = self._source("sent", call, tool, (name, *steps), labels, leaf)
                self._pieces.add(tool, name, source.text, labels)
                found = matching.words(source.text)
                if sum(map(len, found)) > 3:
                    self._add(source, found, whole_only=len(found) > 200)

    def add_result(
        self, call: str, tool: str, labels: ResultLabels, value: object, *, asked: tuple[str, ...], chosen: bool
    ) -> None:
        """Adds a call's result.

        Args:
            asked: the words of its arguments that are the principal's own, each as normal text.
            chosen: all its arguments are vouched for, so that a result without a list needed no choosing.
        """
        count = 0
        for steps, leaf in leaves(value, LEAVES_MAX + 1):
            count += 1
            if count > LEAVES_MAX:
                self.complete = False
                self.cut = join(self.cut, labels.all())
                return
            if leaf is None or isinstance(leaf, (bool, dict, list)):
                if leaf and leaf is not True:  # too deep
                    self.complete, self.cut = False, join(self.cut, labels.all())
                continue
            self._add_leaf(call, tool, steps, leaf, labels.at(steps), asked, chosen)

    def _add_leaf(
        self, call: str, tool: str, steps: tuple[str, ...], leaf: object, marks: Labels, asked: tuple[str, ...],
        chosen: bool,
    ) -> None:  # fmt: skip
        source = self._source("result", call, tool, steps, marks, leaf)
        if len(source.text) > matching.TEXT_MAX:
            self.complete = False
            self.cut = join(self.cut, marks)
        found = matching.words(source.text)
        source.norm = matching.joined(found)
        if source.trusted:
            source.labels = join(marks, self._sent_before(source, found), self._pieces.labels_of(source.text))
        source.named = self.principal.names(source.text, found) or any(one in source.norm for one in asked)
        source.named |= source.trusted and matching.number(leaf) in self.principal.amounts
        source.chosen = chosen and not any(map(_is_choice, source.record[1]))
        key = steps[-1] if steps else ""
        if not source.named and key and not key.isdigit():
            source.named = self.principal.names(key, matching.words(key)) and " " in key.strip()
        self._add(source, found)
        for inner in matching.decoded(source.text) if isinstance(leaf, str) else ():
            hidden = self._source("result", call, tool, steps, source.labels, inner)
            self._add(hidden, matching.words(inner), apart=True)

    def _source(self, kind: str, call: str, tool: str, steps: tuple[str, ...], labels: Labels, leaf: object) -> Source:
        text = leaf if isinstance(leaf, str) else matching.number(leaf)[1:]
        place = len(steps)
        while place > 0 and steps[place - 1].isdigit():  # a list's elements stand in the object that holds the list
            place -= 1
        record = (call, steps[: max(place - 1, 0)])
        if place == 0 and steps:  # a list of scalars: each is a record of its own
            record = (call, steps)
        return Source(kind, call, tool, steps, labels, text, "", leaf, record)

    def _add(self, source: Source, found: list[str], *, apart: bool = False, whole_only: bool = False) -> None:
        self.sources += 1
        source.norm = matching.joined(found)
        flag = PRINCIPAL if source.kind == "principal" else TRUSTED if source.trusted else UNTRUSTED
        self._post(self._whole, source.norm, source, flag)
        form = matching.number(source.value)
        for one in {form} if form else matching.forms(source.text, found):
            self._post(self._whole, one, source, flag)
        if not whole_only:
            for word in set(found):
                self._post(self._words, word, source, flag)
        if source.kind == "result" and not apart:
            record = self._records.setdefault(source.record, [])
            if not record:
                call, steps = source.record
                if len(self._of_call.setdefault(call, [])) < 4 * RECORD_MAX:
                    self._of_call[call].append(record)
                if steps:
                    self._lists.setdefault((call, steps[:-1]), []).append(steps)
            if len(record) < RECORD_MAX:
                record.append(source)

    def _post(self, postings: dict[str, Posting], key: str, source: Source, flag: int) -> None:
        posting = postings.get(key)
        if posting is None:
            posting = postings[key] = Posting()
        # Of each kind of origin there are some: one that is new to the list is never capped away.
        if len(posting.sources) < POSTINGS_MAX or not posting.flags & flag:
            posting.sources.append(source)
        posting.flags |= flag
        if source.labels not in posting.marks and source.kind != "sent":
            marks = posting.marks | {source.labels}
            posting.marks = self._marks.setdefault(marks, marks)  # one object for all words with the same

    def _sent_before(self, source: Source, found: list[str]) -> Labels:
        """Returns the labels of what was sent before and now comes back in a part that its tool calls trusted."""
        norm = matching.joined(found)
        if len(norm) <= 5:
            return ()
        posting = self._whole.get(norm)
        labels = [one.labels for one in posting.sources if one.kind == "sent"] if posting else []
        rare = min(
            (self._words.get(word, _NOTHING) for word in set(found)), key=lambda post: len(post.sources), default=None
        )
        for one in rare.sources if rare is not None else ():
            if one.kind == "sent" and (one.norm in norm or norm in one.norm):
                labels.append(one.labels)
        return join(*labels)

    # --- asking ---

    def seen(self, found: list[str]) -> dict[str, Posting | None]:
        """Returns where each of these words was seen; None where nowhere."""
        return dict(zip(found, map(self._words.get, found), strict=True))

    def whole(self, key: str) -> list[Source]:
        """Returns sources of which this is the whole normal text, or in which this canonical form stands."""
        posting = self._whole.get(key)
        return posting.sources if posting else []

    def flags(self, word: str) -> int:
        """Returns in which kinds of source a word was seen."""
        posting = self._words.get(word)
        return posting.flags if posting else 0

    def marks(self, word: str) -> frozenset[Labels]:
        """Returns the labels of all sources with a word, or with this whole text or form: those capped away too."""
        found = self._words.get(word) or self._whole.get(word)
        return found.marks if found else frozenset()

    def posted(self, word: str) -> list[Source]:
        """Returns sources with this word."""
        posting = self._words.get(word)
        return posting.sources if posting else []

    def containing(self, found: list[str], seen: Mapping[str, Posting | None] | None = None) -> list[Source]:
        """Returns sources in which these words stand one after the other; `seen`: where each was, if that is known."""
        postings = (self.seen(found) if seen is None else seen).values()
        if None in postings:
            return []
        rare = min((posting.sources for posting in postings if posting is not None), key=len)
        norm = matching.joined(found)
        return [source for source in rare if norm in source.norm]

    def record(self, source: Source) -> list[Source]:
        """Returns the leaves of the object that a source stands in."""
        return self._records.get(source.record, [])

    def is_of_kind(self, source: Source, name: str) -> bool:
        """Whether an id that was read is an id of what an argument called `name` speaks of: a file's for `file_id`."""
        said = matching.words(name)
        nouns = [word for word in said if word not in _KEYS]
        key = next((step for step in reversed(source.steps) if not step.isdigit()), "")
        if (
            not nouns
            or len(nouns) == len(said)
            or [word for word in matching.words(key) if word not in _KEYS]
            or len(source.norm) > 10
        ):
            return True
        place = " ".join(matching.words(source.tool))
        return any(noun in place or noun.rstrip("s") in place for noun in nouns)

    def records_of(self, call: str) -> list[list[Source]]:
        """Returns the records of a call's result, each its leaves; at most `RECORD_MAX` of them."""
        return self._of_call.get(call, [])

    def is_named(self, source: Source) -> bool:
        """Whether the principal's words lead to the record that the source stands in, and to no choice beyond it."""
        return source.chosen or any(one.named for one in self.record(source)) or self._is_most(source)

    def _is_most(self, source: Source) -> bool:
        """Whether the principal asked for the most or least of something, and the record is that in a trusted field."""
        if not self.principal.most or not source.record[1]:
            return False
        call, steps = source.record
        beside = self._lists.get((call, steps[:-1]), [])
        if not 1 < len(beside) <= 16 * RECORD_MAX:
            return False
        for mine in self.record(source):
            place = mine.steps[len(steps) :]
            value = _ordered(mine)
            if value is None or not place or re.search(r"(^|_)id_?$", place[-1]) or place[-1].isdigit():
                continue
            others = []
            for other in beside:
                for one in self._records.get((call, other), ()):
                    if one.steps[len(other) :] == place and (found := _ordered(one)) is not None:
                        others.append(found)
            same = [found for found in others if isinstance(found, str) is isinstance(value, str)]
            up = "up" in self.principal.most and value == max(same)
            down = "down" in self.principal.most and value == min(same)
            if len(same) > 1 and (up or down):
                return True
        return False


_NOTHING: Final = Posting()


def _is_choice(step: str) -> bool:
    """Whether a step is one of several like it: a position in a list, or a key that is data and no field's name."""
    return not (step.isascii() and step.isidentifier() and step.islower())


def _ordered(source: Source) -> Decimal | str | None:
    """Returns a trusted number or date that records can be put in order by."""
    if not source.trusted:
        return None
    if matching.number(source.value):
        return Decimal(str(source.value))
    if isinstance(source.value, str) and len(source.value) <= 32:
        return next((day + source.value for day in matching.dates(source.value) if len(day) == 11), None)
    return None
