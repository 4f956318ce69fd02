"""People in charge: queues and their terms, reviewers, their keys and delegates, as policy says them.

`read_people` needs the two files' texts and nothing else: no tool and no rule. So a reviewer's terminal and a
verifier know who was in charge from what the journal holds of a policy set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from remit.core.entries import GrantLimits, Terms
from remit.core.identity import identity, is_alike, is_one_of, spelt, unfit
from remit.core.peoplefiles import GrantText, HoursText, QueuesText, QueueText, ReviewerText
from remit.core.policyfiles import read_policy, read_queues, read_reviewers, suggest
from remit.core.reviews import seats_filled
from remit.core.yamltext import Path, Source
from remit.errors import PolicyError, Problem

QUEUES: Final = ("queues.yaml", "queues.yml")
REVIEWERS: Final = ("reviewers.yaml", "reviewers.yml")
PRINCIPAL: Final = "principal"
"""Whom `flow` may name beside people and groups: whom the run acts for."""
IN_DOUBT: Final = "in-doubt"
"""The queue of calls that nobody knows the end of; it is there whether or not `queues.yaml` describes it."""

_PACK: Final = "pack-"
_PACK_QUEUE: Final = "What a policy pack asks about; declare the queue in queues.yaml to say more."
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONGEST: Final = 10_000
"""Working days that a deadline may lie ahead; past them it is counted in plain time."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Working hours; `days` from 0 for Monday, `start` and `end` in minutes of the zone's clock."""

    zone: str
    days: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Queue:
    """Where escalated calls wait, and on which terms; `ttl` and `claim` are in seconds."""

    name: str
    ttl: int
    description: str = ""
    reviewers: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)
    hours: Hours | None = None
    hand_on_to: tuple[str, ...] = ()
    priority: str = ""
    title: str = ""
    """By what reviewers know one review from another: text with expressions; "" for the tool and its arguments."""
    notify: tuple[str, ...] = ()
    remind: tuple[int, ...] = ()
    """Seconds before a deadline, the longest first."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key as a `.pub` file says it; it signs from `since` until before `until` (RFC 3339, "" for open)."""

    text: str
    since: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Delegation:
    """`to` may rule on behalf of the person this belongs to; no `queues`: in all."""

    to: str
    until: str
    since: str = ""
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """A reviewer; `also` are the names that runs know them by."""

    id: str
    name: str = ""
    groups: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    keys: tuple[Key, ...] = ()
    delegates: tuple[Delegation, ...] = ()

    def is_one_of(self, names: Iterable[str]) -> bool:
        """Whether one of these names is this person's, or looks so: it may keep out, and gives no right."""
        theirs = [name for name in names if name]
        return any(is_one_of(name, theirs) for name in (self.id, *self.also))

    def is_called(self, name: str) -> bool:
        """Whether exactly this is a name of this person, however it is written (see `identity`)."""
        return identity(name) in {identity(own) for own in (self.id, *self.also)}


@dataclass(frozen=True, slots=True)
class People:
    """Who is in charge of what."""

    queues: Mapping[str, Queue] = field(default_factory=dict)
    persons: Mapping[str, Person] = field(default_factory=dict)
    single_operator: bool = False
    activation: str = ""
    """The queue whose reviewers must approve the activation of another policy set; "" where nobody need."""
    flow: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Who may `endorse` and `declassify` while a run goes on; empty where nobody may."""
    readers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Who may read what has a label."""
    revoked: frozenset[str] = frozenset()
    """Reviewers, as names are compared, and keys, whose word doesn't count any more whatever the files say."""

    def without(self, revoked: frozenset[str]) -> People:
        """Returns them as they are once these reviewers and keys are revoked."""
        return self if revoked == self.revoked else replace(self, revoked=revoked)

    def is_revoked(self, reviewer: str) -> bool:
        """Whether a reviewer was revoked, by name."""
        return bool(self.revoked) and identity(reviewer) in self.revoked

    def queue(self, name: str) -> Queue | None:
        """Returns a queue; calls in doubt have one even where no file describes it: every reviewer's."""
        if name == IN_DOUBT and name not in self.queues:
            return Queue(IN_DOUBT, 30 * 86_400, reviewers=tuple(self.persons))
        return self.queues.get(name)

    def members(self, queue: Queue) -> frozenset[str]:
        """Returns who may rule in a queue, groups resolved."""
        named = set(queue.reviewers)
        return frozenset(
            id
            for id, person in self.persons.items()
            if (id in named or named & set(person.groups)) and not self.is_revoked(id)
        )

    def owner(self, key: str, at: str) -> Person | None:
        """Returns whose key this was at a moment; None where it wasn't anybody's, or not then, or is revoked."""
        if key in self.revoked:
            return None
        for person in self.persons.values():
            for known in person.keys:
                if known.text == key and is_within(known.since, at, known.until):
                    known_then = is_within(person.since, at, person.until) and not self.is_revoked(person.id)
                    return person if known_then else None
        return None

    def mistaken(self, name: str) -> str:
        """Returns the reviewer whom a name that is not theirs looks like; "" where there is none."""
        found = [person.id for person in self.persons.values() if person.is_one_of((name,))]
        return "" if any(self.persons[id].is_called(name) for id in found) else next(iter(found), "")

    def delegated(self, from_: str, to: str, queue: str, at: str) -> bool:
        """Whether `to` may rule on behalf of `from_` in a queue at a moment."""
        person = self.persons.get(from_)
        return (
            person is not None
            and is_within(person.since, at, person.until)
            and not self.is_revoked(from_)
            and any(
                one.to == to and is_within(one.since, at, one.until) and (not one.queues or queue in one.queues)
                for one in person.delegates
            )
        )


def is_within(since: str, at: str, until: str) -> bool:
    """Whether a moment is in a span that is open where it is ""; all are RFC 3339 in UTC, so text compares."""
    return (not since or since <= at) and (not until or at < until)


def deadline(now: datetime, queue: Queue) -> datetime:
    """Returns when a review that opens at `now` (UTC) expires: the queue's time to live, in its working hours."""
    left = timedelta(seconds=queue.ttl)
    hours = queue.hours
    if hours is None:
        return now + left
    zone = ZoneInfo(hours.zone)
    day = now.astimezone(zone).date()
    for _ in range(_LONGEST):
        if day.weekday() in hours.days:
            # Both ends are turned to UTC first: the day that a clock is changed on has its own length.
            start = max(_clock(day, hours.start, zone).astimezone(now.tzinfo), now)
            end = _clock(day, hours.end, zone).astimezone(now.tzinfo)
            if start + left <= end:
                return start + left
            left -= max(end - start, timedelta(0))
        day += timedelta(days=1)
    return now + timedelta(seconds=queue.ttl)


def _clock(day: object, minutes: int, zone: ZoneInfo) -> datetime:
    midnight = datetime.combine(day, time(0), zone)  # type: ignore[arg-type]  # a date
    return midnight + timedelta(minutes=minutes)


# --- reading -------------------------------------------------------------------------------------------


def read_people(texts: Mapping[str, str]) -> People:
    """Returns who is in charge, from the texts of a policy set's files; other files are left alone.

    Raises:
        PolicyError: the files can't be read. Whether they fit each other was checked when the set was loaded.
    """
    made = Making()
    for name in sorted(texts):
        made.take(name, texts[name])
    if made.problems:
        raise PolicyError(tuple(made.problems))
    made.complete()
    return made.people()


class Making:
    """The reading of both files: what was read so far, and what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.queues: dict[str, Queue] = {}
        self.persons: dict[str, Person] = {}
        self.single_operator = False
        self.activation = ""
        self.flow: dict[str, tuple[str, ...]] = {}
        self.readers: dict[str, tuple[str, ...]] = {}
        self.queues_source: Source | None = None
        self._reviewers_source: Source | None = None
        self._files: dict[str, str] = {}
        self._packs: dict[str, str] = {}
        self._broken: dict[str, set[str] | None] = {}

    def is_queue(self, name: str) -> bool:
        """Whether there is a queue of this name, sound or not: what is broken is told once, where it stands."""
        names = self._broken.get("queues", set())
        return name in self.queues or names is None or name in names

    def take(self, name: str, text: str) -> bool:
        """Reads a file if it is one of the two; says whether it is."""
        last = name.rpartition("/")[2]
        kind = "queues" if last in QUEUES else "reviewers" if last in REVIEWERS else ""
        if not kind:
            if name.startswith(_PACK):
                self._packs[read_policy(name, text).policy] = name
            return False
        if kind in self._files:
            message = f"{self._files[kind]} has the {kind} already"
            self.problems.append(Problem(name, 0, 0, message, "keep one of them"))
        self._files[kind] = name
        if kind == "queues":
            self.queues_source, queues = read_queues(name, text)
            self.problems += self.queues_source.problems
            if queues is not None:
                self._take_queues(queues)
            else:
                self._broken["queues"] = self.queues_source.names_below("queues")
        else:
            self._reviewers_source, reviewers = read_reviewers(name, text)
            self.problems += self._reviewers_source.problems
            if reviewers is not None:
                self.persons = {id: _person(id, said) for id, said in reviewers.reviewers.items()}
            else:
                self._broken["reviewers"] = None
        return True

    def complete(self) -> None:
        """Adds what is there without being declared: a pack's queue, in which every reviewer may rule."""
        for pack in self._packs:
            everybody = tuple(self.persons)
            self.queues.setdefault(pack, Queue(pack, 72 * 3600, _PACK_QUEUE, everybody))

    def people(self) -> People:
        """Returns what the files say together."""
        return People(
            self.queues, self.persons, self.single_operator, self.activation, self.flow, self.readers
        )  # fmt: skip

    def _take_queues(self, said: QueuesText) -> None:
        self.single_operator = said.single_operator
        self.activation = said.policy.activation or ""
        if said.flow is not None:
            both = {"endorse": said.flow.endorse, "declassify": said.flow.declassify}
            self.flow = {what: tuple(names) for what, names in both.items() if names}
            self.readers = {label: tuple(names) for label, names in said.flow.readers.items()}
        self.queues = {name: _queue(name, queue) for name, queue in said.queues.items()}
        for name, queue in said.queues.items():
            if queue.on_expiry == "hand on" and not queue.hand_on_to and self.queues_source is not None:
                place = self.queues_source.value_at(("queues", name, "on_expiry"))
                self.queues_source.add(place, f"queue `{name}` hands on to no queue", "name it: `hand_on_to: [legal]`")
                self.problems.append(self.queues_source.problems[-1])

    def check(self, escalated: Mapping[str, str]) -> None:
        """Notes what is wrong with the files together; `escalated` are queues that rules escalate to, with one each."""
        if self._reviewers_source is not None:
            before = len(self._reviewers_source.problems)
            self._check_persons(self._reviewers_source)
            self.problems += self._reviewers_source.problems[before:]
        if self.queues_source is not None and not self.queues_source.problems:
            before = len(self.queues_source.problems)
            if self.activation and self.activation not in self.queues:
                place = self.queues_source.value_at(("policy", "activation"))
                hint = suggest(self.activation, self.queues)
                self.queues_source.add(place, f"there is no queue `{self.activation}`", hint)
            for queue in self.queues.values():
                if ("queues", queue.name) not in self.queues_source.keys:
                    continue
                self._check_queue(self.queues_source, queue, escalated)
            self._check_flow(self.queues_source)
            self.problems += self.queues_source.problems[before:]
        declared = self.queues_source.keys if self.queues_source is not None else {}
        for pack, name in self._packs.items():
            queue = self.queues[pack]
            if ("queues", pack) not in declared and pack in escalated and not self._is_staffed(queue):
                self.problems.append(Problem(name, 0, 0, f"nobody is there for its queue `{pack}`", self._remedy()))

    def _check_persons(self, source: Source) -> None:
        owners: dict[str, str] = {}
        groups = {group for person in self.persons.values() for group in person.groups}
        for id, person in self.persons.items():
            path: Path = ("reviewers", id)
            if id in groups:
                source.add(source.key_at(path), f"`{id}` is a reviewer and a group", "rename one of them")
            self._check_names(source, path, person)
            for number, key in enumerate(person.keys):
                place = source.value_at((*path, "keys", number, "key"))
                if key.text in owners:
                    source.add(place, f"this key is `{owners[key.text]}`'s already", "a key is one person's")
                owners.setdefault(key.text, id)
            for number, one in enumerate(person.delegates):
                at: Path = (*path, "delegates", number)
                if one.to not in self.persons:
                    hint = suggest(one.to, self.persons)
                    source.add(source.value_at((*at, "to")), f"there is no reviewer `{one.to}`", hint)
                elif one.to == id:
                    source.add(source.value_at((*at, "to")), f"`{id}` can't be their own delegate", "remove it")
                for index, name in enumerate(one.queues):
                    if not self.is_queue(name) and name != IN_DOUBT:
                        place = source.value_at((*at, "queues", index))
                        source.add(place, f"there is no queue `{name}`", suggest(name, self.queues))

    def _check_names(self, source: Source, path: Path, person: Person) -> None:
        """Notes what can't be a person's name, and names that only look different from another's."""
        for number, name in enumerate(person.also):
            place = source.value_at((*path, "also", number))
            if why := unfit(name):
                source.add(place, f"`{spelt(name)}` can't be a name", why)
        before = list(self.persons)[: list(self.persons).index(person.id)]
        for other in (self.persons[id] for id in before):
            if identity(person.id) == identity(other.id):
                hint = "names are compared without case: rename one of them"
                source.add(source.key_at(path), f"`{person.id}` and `{other.id}` are the same name", hint)
            for number, name in enumerate((person.id, *person.also)):
                alike = [one for one in (other.id, *other.also) if is_alike(name, one)]
                if alike and not any(identity(name) == identity(one) for one in alike):
                    place = source.value_at((*path, "also", number - 1)) if number else source.key_at(path)
                    hint = "a person is not to be taken for another: write both in the same letters, or rename one"
                    shown = f"`{spelt(name)}` looks like `{spelt(alike[0])}`, a name of `{other.id}`"
                    source.add(place, shown, hint)

    def _check_flow(self, source: Source) -> None:
        known = {PRINCIPAL, *self.persons, *(group for person in self.persons.values() for group in person.groups)}
        for what, names in self.flow.items():
            for number, name in enumerate(names):
                if name not in known and not self.single_operator and "reviewers" not in self._broken:
                    place = source.value_at(("flow", what, number))
                    source.add(place, f"there is no reviewer or group `{name}`", suggest(name, known))

    def _check_queue(self, source: Source, queue: Queue, escalated: Mapping[str, str]) -> None:
        path: Path = ("queues", queue.name)
        groups = {group for person in self.persons.values() for group in person.groups}
        for number, name in enumerate(queue.reviewers):
            if name not in self.persons and name not in groups and "reviewers" not in self._broken:
                place = source.value_at((*path, "reviewers", number))
                hint = suggest(name, {*self.persons, *groups}) or "name people and groups in reviewers.yaml"
                source.add(place, f"there is no reviewer or group `{name}`", hint)
        if queue.remind and queue.remind[0] >= queue.ttl:
            place = source.value_at((*path, "remind"))
            source.add(
                place, f"queue `{queue.name}` would remind of a review before it is there", "say less than `ttl`"
            )
        for number, name in enumerate(queue.hand_on_to):
            if name not in self.queues or name == queue.name:
                place = source.value_at((*path, "hand_on_to", number))
                source.add(place, f"there is no other queue `{name}`", suggest(name, set(self.queues) - {queue.name}))
        if queue.terms.next and self._comes_back(queue):
            place = source.value_at((*path, "hand_on_to", 0))
            source.add(place, f"from queue `{queue.name}` a review would be handed on for ever", "end with `deny`")
        if queue.hours is not None:
            try:
                ZoneInfo(queue.hours.zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                place = source.value_at((*path, "working_hours", "timezone"))
                source.add(place, f"there is no timezone `{queue.hours.zone}`", "such as `Europe/Berlin`")
        if queue.name in self._reached(escalated) and not self._is_staffed(queue):
            place = source.key_at(path)
            source.add(place, f"queue `{queue.name}` can't be staffed: {self._lack(queue)}", self._remedy())

    def _comes_back(self, queue: Queue) -> bool:
        seen, name = {queue.name}, queue.terms.next
        while name in self.queues and name not in seen:
            seen.add(name)
            name = self.queues[name].terms.next
        return name == queue.name

    def _reached(self, escalated: Iterable[str]) -> set[str]:
        """The queues that a call can come to wait in."""
        found: set[str] = set()
        left = [name for name in (*escalated, IN_DOUBT, self.activation) if name in self.queues]
        while left:
            name = left.pop()
            found.add(name)
            left += [next_ for next_ in self.queues[name].hand_on_to if next_ in self.queues and next_ not in found]
        return found

    def _signing(self, queue: Queue) -> list[frozenset[str]]:
        """The groups of each of its reviewers who has a key."""
        members = self.people().members(queue)
        return [frozenset(self.persons[id].groups) for id in sorted(members) if self.persons[id].keys]

    def _is_staffed(self, queue: Queue) -> bool:
        if "reviewers" in self._broken:
            return True  # who they are can't be told
        terms, signing = queue.terms, self._signing(queue)
        alone = self.single_operator and not terms.groups and max(terms.approvals, terms.denials) == 1
        return alone or (seats_filled(terms, signing) and len(signing) >= terms.denials)

    def _lack(self, queue: Queue) -> str:
        terms, signing = queue.terms, self._signing(queue)
        if not queue.reviewers:
            return "it has no reviewers"
        wanted = [f"{count} of `{group}`" for group, count in sorted(terms.groups.items())]
        needs = " and ".join(wanted) or str(max(terms.approvals, terms.denials))
        return f"it takes {needs}, and {len(signing)} of its reviewers can sign"

    def _remedy(self) -> str:
        return "name enough reviewers with keys in reviewers.yaml" + (
            "" if self.single_operator else ", or set `single_operator: true` where nobody else is there"
        )


def _queue(name: str, said: QueueText) -> Queue:
    groups = said.approvals if isinstance(said.approvals, dict) else {}
    terms = Terms(
        approvals=sum(groups.values()) if groups else int(said.approvals),  # type: ignore[arg-type]  # a number then
        groups=groups,
        denials=said.denials,
        next=said.hand_on_to[0] if said.on_expiry == "hand on" and said.hand_on_to else "",
        hand_on_to=tuple(said.hand_on_to),
        may_also_rule=tuple(said.may_also_rule),
        claim=seconds_of(said.claim),
        reason=said.reason == "always",
        edit=tuple(said.edit),
        respond=said.respond,
        grant=_limits(said.grant),
    )
    return Queue(
        name, seconds_of(said.ttl), said.description, tuple(said.reviewers), terms, _working(said.working_hours),
        tuple(said.hand_on_to), said.priority or "", said.title or "", tuple(dict.fromkeys(said.notify)),
        tuple(sorted({seconds_of(one) for one in said.remind}, reverse=True)),
    )  # fmt: skip


def _limits(said: GrantText | None) -> GrantLimits | None:
    return GrantLimits(said.uses, seconds_of(said.for_), said.outlives_policies) if said is not None else None


def _person(id: str, said: ReviewerText) -> Person:
    keys = tuple(Key(key.key, key.from_ or "", key.until or "") for key in said.keys)
    delegates = tuple(Delegation(one.to, one.until, one.from_ or "", tuple(one.queues)) for one in said.delegates)
    return Person(
        id, said.name, tuple(said.groups), tuple(said.also), said.from_ or "", said.until or "", keys, delegates
    )


def _working(said: HoursText | None) -> Hours | None:
    if said is None:
        return None
    start, _, end = said.hours.partition("-")
    return Hours(said.timezone, tuple(sorted({_DAYS.index(day) for day in said.days})), _minutes(start), _minutes(end))


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def seconds_of(duration: str) -> int:
    """Returns the seconds of a duration such as `90s`, `30m`, `72h` or `7d`."""
    return int(duration[:-1]) * _UNITS[duration[-1]]


def allowed_signers(people: Sequence[People]) -> str:
    """Returns an `allowed_signers` file (see ssh-keygen(1)) with every key of these reviewers, each once."""
    found: dict[str, None] = {}
    for one in people:
        for person in one.persons.values():
            for key in person.keys:
                spans = [("valid-after", max(key.since, person.since)), ("valid-before", _earlier(key, person))]
                options = [f'{name}="{_plain(moment)}"' for name, moment in spans if moment]
                said = ",".join(['namespaces="ruling@remit"', *options])
                found[f"{person.id} {said} {key.text}"] = None
    return "".join(f"{line}\n" for line in found)


def _earlier(key: Key, person: Person) -> str:
    ends = [end for end in (key.until, person.until) if end]
    return min(ends, default="")


def _plain(moment: str) -> str:
    """RFC 3339 as ssh-keygen writes a time in UTC: `20260131170000Z`."""
    return moment[:19].translate({ord(c): None for c in "-:T"}) + "Z"
