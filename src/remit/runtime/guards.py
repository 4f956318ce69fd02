"""Guardrails at work: detectors look at arguments before the decision and at results before the agent has them.

They are other people's parsers on strangers' text: each runs in a thread with a time limit, and one that raises or
takes too long is an error. In arguments its facts are then absent, so that rules that look at them are in error; a
result is then refused. Either way an error only makes the outcome stricter.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from remit.core.canonical import canonical, plain
from remit.core.detectors import Detector, Finding, Report
from remit.core.entries import Obligation, Outcome
from remit.core.guardrailfile import FILES, GuardrailUse, read_guardrails
from remit.core.labels import steps_of
from remit.core.masking import mask
from remit.core.minimising import minimised
from remit.core.obligations import labels_of, oblige_result, on_result
from remit.core.policy import PolicySet
from remit.core.purposes import PurposeText, columns_of, entitled
from remit.core.tools import JsonSchema
from remit.core.typed import Tool
from remit.core.yamltext import Source
from remit.errors import BadInput, PolicyError, Problem
from remit.logs import get
from remit.runtime.ambient import Ambient
from remit.runtime.outside import cause, in_thread_of_its_own, words
from remit.runtime.policyfolder import load_folder
from remit.runtime.registry import Registry

_MOST = 200
"""Findings of one guardrail that are recorded."""
_AT_ONCE = 8
_MOST_OUTLIVED = 16
"""Nothing stops a thread, and one that ran out of time may never end: so many at most, then no look is begun."""
_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen in arguments: facts by guardrail, and where; `masked`: which of it may not run as it is."""

    facts: Mapping[str, object]
    found: Sequence[Mapping[str, object]] = ()
    masked: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True, slots=True)
class Guarded:
    """A result after the guardrails.

    Attributes:
        refused: why it may not go on; empty where it may.
        original: what it was, where it was masked and is to be kept.
        did: `secrets:mask` for each guardrail that did something.
    """

    value: object
    labels: tuple[str, ...] = ()
    refused: str = ""
    original: object = None
    did: tuple[str, ...] = ()
    found: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A detector at its place."""

    use: GuardrailUse
    detector: Detector[Any]


class _Look:
    """One look of a detector, in a thread of its own, which may outlive the time that it was given."""

    def __init__(self, detector: Detector[Any], places: Sequence[tuple[str, object]], guards: Guards) -> None:
        self._detector, self._places, self._guards = detector, places, guards
        self._going = self._outlived = False

    def run(self) -> Report[Any]:
        self._going = True
        try:
            return self._detector.look(self._places)
        finally:
            with self._guards.counting:
                self._going = False
                self._guards.outlived -= self._outlived

    def outlive(self) -> None:
        """Counts it among those that ran out of time, until it ends."""
        with self._guards.counting:
            self._outlived = self._going
            self._guards.outlived += self._outlived


class Guards:
    """The guardrails of a policy folder."""

    def __init__(self, guardrails: Sequence[Guardrail], ambient: Ambient) -> None:
        self._before = [one for one in guardrails if one.use.said.arguments is not None]
        self._after = [one for one in guardrails if one.use.said.results is not None]
        self._budget = next((one.use.budget for one in guardrails if one.use.budget is not None), None)
        self._ambient = ambient
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self.counting = threading.Lock()
        self.outlived = 0
        """Looks that ran out of time and haven't ended."""

    def schemas(self, tool: str) -> dict[str, JsonSchema]:
        """Returns the types of `findings.<name>` for a tool."""
        return {one.use.name: one.detector.schema for one in self._before if one.use.looks_at(tool)}

    def check(self, policies: PolicySet) -> None:
        """Sees to it that no allow rule stands on a guess.

        Raises:
            PolicyError: one looks at a detector that scores; it may only raise scrutiny.
        """
        scoring = [one.use.name for one in self._before if one.detector.scores]
        for rules in policies.enforced.values() if scoring else ():
            for rule in rules:
                if rule.effect is Outcome.ALLOW and (name := _scored(rule.condition.source, scoring)):
                    message = f"rule `{rule.name}` allows by what `{name}` guesses"
                    raise PolicyError((Problem("", 0, 0, message, "a detector that scores may only escalate or deny"),))

    async def look(self, tool: str, args: Mapping[str, object]) -> Looked:
        """Returns what the guardrails see in the arguments of a call."""
        facts: dict[str, object] = {}
        found: list[Mapping[str, object]] = []
        masked: list[Mapping[str, object]] = []
        until = self._until()
        for one in self._before:
            if one.use.looks_at(tool):
                places = _places(dict(args), one.use.said.arguments or ())
                seen = await self._run(one, places, until)
                if isinstance(seen, str):
                    found.append({"guardrail": one.use.name, "error": seen})
                    masked += [{"guardrail": one.use.name, "error": True}] if one.use.said.then == "mask" else []
                else:
                    facts[one.use.name] = seen[0]
                    found += _rows(one.use.name, seen[1])
                    masked += _masked(one.use, places, *seen)
        return Looked(facts, found, masked)

    def look_now(self, tool: str, args: Mapping[str, object]) -> dict[str, object]:
        """Returns the facts of the guardrails that look at a call, by name: here and now, for tools that try policies.

        One that fails is absent, as in `look`; none has a time limit.
        """
        facts: dict[str, object] = {}
        for one in self._before:
            if one.use.looks_at(tool):
                try:
                    report = one.detector.look(_places(plain(canonical(args)), one.use.said.arguments or ()))
                    facts[one.use.name] = msgspec.to_builtins(report.facts)
                except Exception as error:  # noqa: BLE001 - a detector may raise anything, and is then an error
                    _log.warning("guardrail failed", guardrail=one.use.name, error=f"{cause(error)}: {words(error)}")
        return facts

    def guards_results(self, tool: str) -> bool:
        """Whether a guardrail looks at results of a tool."""
        return any(one.use.looks_at(tool) for one in self._after)

    async def look_at_result(self, tool: str, guarded: Guarded) -> Guarded:
        """Returns a result as the agent may have it: masked, labelled, or refused."""
        until = self._until()
        for one in self._after:
            if one.use.looks_at(tool) and not guarded.refused:
                guarded = await self._deal(one, guarded, until)
        return guarded

    def _until(self) -> float | None:
        """When the budget of a look that begins now is used up, by the monotonic clock."""
        return None if self._budget is None else self._ambient.monotonic() + self._budget / 1000

    async def _deal(self, one: Guardrail, before: Guarded, until: float | None) -> Guarded:
        said, name = one.use.said, one.use.name
        places = _places(before.value, said.results or ())
        seen = await self._run(one, places, until)
        if isinstance(seen, str):
            row = {"guardrail": name, "error": seen}
            return replace(
                before, refused=f"guardrail `{name}` failed: {seen}", did=(*before.did, f"{name}:refuse"),
                found=(*before.found, row),
            )  # fmt: skip
        facts, findings = seen
        after = replace(before, found=(*before.found, *_rows(name, findings)))
        if not _holds(facts, said.when or ""):
            return after
        did = (*before.did, f"{name}:{said.then}")
        if said.then == "refuse":
            return replace(after, refused=f"guardrail `{name}` found `{said.when}` in it", did=did)
        if said.then == "label":
            return replace(after, labels=tuple(sorted({*after.labels, *said.labels})), did=did)
        original = after.original
        if said.keep and original is None:
            original = before.value
        covered = findings or [Finding(said.when or "", pointer) for pointer, _ in places]
        return replace(after, value=mask(before.value, covered), original=original, did=did)

    async def _run(
        self, one: Guardrail, places: Sequence[tuple[str, object]], until: float | None
    ) -> tuple[dict[str, object], tuple[Finding, ...]] | str:
        """Returns facts and findings, or what went wrong."""
        seconds = left = one.use.said.milliseconds / 1000
        # A copy of the detector's own: what it does to it changes neither the call nor the result.
        look = _Look(one.detector, [(pointer, plain(canonical(value))) for pointer, value in places], self)
        try:
            if self.outlived >= _MOST_OUTLIVED:
                raise BadInput(f"{self.outlived} looks that ran out of time haven't ended: none is begun until they do")
            async with self._at_once:
                left = seconds if until is None else min(seconds, until - self._ambient.monotonic())
                if left <= 0:
                    raise TimeoutError
                async with self._ambient.timeout(left):
                    report = await in_thread_of_its_own(look.run)
            return plain(msgspec.json.encode(report.facts)), report.findings
        except TimeoutError:
            look.outlive()
            problem = f"it took longer than {one.use.said.milliseconds} ms"
            if left < seconds:
                problem = f"the budget of {self._budget} ms that all guardrails have together was used up"
        except Exception as error:  # noqa: BLE001 - a detector may raise anything; that is an error of its own
            problem = f"{cause(error)}: {words(error)}"
        _log.warning("guardrail failed", guardrail=one.use.name, error=problem)
        return problem


def covered(before: Guarded, obliged: Sequence[Obligation]) -> Guarded:
    """Returns a result as the rules oblige it to be; refused where that can't be."""
    labels = labels_of(obliged)
    some = on_result(obliged)
    kinds = sorted({one.kind for one in (*some, *obliged) if one in some or one.kind == "label"})
    did = (*before.did, *(f"policy:{kind}" for kind in kinds))
    after = replace(before, labels=tuple(sorted({*before.labels, *labels})), did=did)
    try:
        value = oblige_result(before.value, obliged)
    except BadInput as error:
        return replace(after, refused=f"an obligation can't be fulfilled: {error}", did=(*did, "policy:refuse"))
    kept = before.value if any(one.keep for one in some) and before.original is None else before.original
    return replace(after, value=value, original=kept)


def for_purpose(purpose: PurposeText, tool: Tool[..., Any], before: Guarded) -> Guarded:
    """Returns a result with what the run's purpose lets be seen of it; refused where it has labels beyond that."""
    if before.refused:
        return before
    if not entitled(purpose, before.labels):
        beyond = ", ".join(f"`{label}`" for label in before.labels)
        return replace(
            before, refused=f"it is labelled {beyond}, beyond the run's purpose", did=(*before.did, "purpose:refuse")
        )
    columns = columns_of(purpose, tool.name)
    if columns is None:
        return before
    left, blanked, taken = minimised(before.value, columns)
    if not taken:
        return before
    found = [{"guardrail": "purpose", "kind": "withheld", "pointer": pointer} for pointer in taken[:_MOST]]
    value = left if _is_result(tool, left) else blanked
    return replace(before, value=value, did=(*before.did, "purpose:minimise"), found=(*before.found, *found))


def _is_result(tool: Tool[..., Any], value: object) -> bool:
    try:
        tool.results.load(canonical(value))
    except ValueError:
        return False
    return True


def load_governed(
    folder: str | Path, texts: Mapping[str, str], registry: Registry, ambient: Ambient
) -> tuple[PolicySet, Guards]:
    """Returns the policy set that the files of a folder say, and the guardrails whose findings its rules see.

    Raises:
        PolicyError: with every problem of every file, each with its path, line and column.
    """
    guards = load_guards(folder, texts, registry.tools, registry.detectors, ambient)
    policies = load_folder(folder, texts, registry.specs, partial(registry.root_types, findings=guards.schemas))
    guards.check(policies)
    return policies, guards


def load_guards(
    folder: str | Path,
    texts: Mapping[str, str],
    tools: Iterable[str],
    own: Mapping[str, Detector[Any]],
    ambient: Ambient,
) -> Guards:
    """Returns the guardrails that the files of a policy folder say; none where there is no `guardrails.yaml`.

    Args:
        tools: the names of those that there are.
        own: detectors by name that don't come with Remit.

    Raises:
        PolicyError: with every problem of the file, each with its place.
    """
    made: list[Guardrail] = []
    for name in FILES:
        if name in texts:
            source, uses = read_guardrails(name, texts[name], tools)
            detectors = [(use, _made(source, use, own, ambient)) for use in uses]
            made += [Guardrail(use, detector) for use, detector in detectors if detector is not None]
            if source.problems:
                raise PolicyError(tuple(replace(one, file=str(Path(folder) / one.file)) for one in source.problems))
    return Guards(made, ambient)


def _made(
    source: Source, use: GuardrailUse, own: Mapping[str, Detector[Any]], ambient: Ambient
) -> Detector[Any] | None:
    from remit.guardrails.builtin import BUILTIN, build  # noqa: PLC0415 - without guardrails nothing of it is needed

    path = ("guardrails", use.number)
    said = use.said
    try:
        if said.detector in own:
            if said.options:
                source.add(
                    source.key_at((*path, "options")), f"`{said.detector}` is the graph's own: it has no options"
                )
            detector = replace(own[said.detector], name=use.name)
        else:
            if said.detector not in BUILTIN:
                known = ", ".join(f"`{name}`" for name in sorted({*BUILTIN, *own}))
                place = source.value_at((*path, "detector"))
                source.add(place, f"there is no detector `{said.detector}`", f"there are {known}")
                return None
            detector = build(said.detector, use.name, said.options, ambient.now)
    except BadInput as error:
        source.add(source.value_at(path), str(error))
        return None
    if said.when is not None:
        flags = [name for name, schema in detector.schema["properties"].items() if schema.get("type") == "boolean"]
        if said.when.lstrip("!") not in flags:
            place = source.value_at((*path, "when"))
            source.add(
                place, f"`{use.name}` has no such fact as `{said.when.lstrip('!')}`", f"it has {', '.join(flags)}"
            )
    return detector


def _places(value: object, pointers: Sequence[str]) -> list[tuple[str, object]]:
    """Returns the values at the pointers; one that points nowhere says nothing."""
    found = []
    for pointer in pointers:
        here: Any = value
        for part in steps_of(pointer):
            if isinstance(here, dict) and part in here:
                here = here[part]
            elif isinstance(here, list) and part.isdecimal() and int(part) < len(here):
                here = here[int(part)]
            else:
                break
        else:
            found.append((pointer, here))
    return found


def _rows(name: str, findings: Sequence[Finding]) -> list[Mapping[str, object]]:
    return [
        {"guardrail": name, "kind": one.kind, "pointer": one.pointer, "start": one.start, "end": one.end}
        for one in findings[:_MOST]
    ]


def _masked(
    use: GuardrailUse, places: Sequence[tuple[str, object]], facts: Mapping[str, object], found: Sequence[Finding]
) -> list[Mapping[str, object]]:
    """Returns what of the arguments may not run as it is: every finding, or every place where there are none."""
    if use.said.then != "mask" or not _holds(facts, use.said.when or ""):
        return []
    covered = found or [Finding("", pointer) for pointer, _ in places]
    return [{"guardrail": use.name, "pointer": one.pointer, "start": one.start, "end": one.end} for one in covered]


def _holds(facts: Mapping[str, object], when: str) -> bool:
    return (facts[when.lstrip("!")] is True) is not when.startswith("!")


def _scored(source: str, scoring: Sequence[str]) -> str:
    """Returns the scoring guardrail that a condition looks at; by its text, so that no way round it is missed."""
    used = set(re.findall(r"\bfindings\s*\.\s*([a-z0-9_]+)", source))
    if len(re.findall(r"\bfindings\b", source)) > len(re.findall(r"\bfindings\s*\.\s*[a-z0-9_]+", source)):
        return scoring[0]  # the whole of it, or by index
    return next((name for name in scoring if name in used), "")
