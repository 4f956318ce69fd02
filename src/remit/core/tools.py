"""ToolSpec; Call, its validated arguments and its digest.

A tool is what an agent may call. Its spec says all that a policy can know about it; whatever is left
unstated has the pessimistic value: it destroys, may run once, every argument carries authority, and its
result is untrusted and private.

This file holds values. `core.typed` makes them from Python functions, `runtime.invoke` runs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

from remit.core.canonical import canonical, digest, digest_bytes
from remit.core.entries import CallRecord
from remit.core.labels import ResultLabels
from remit.core.schemas import Document, names_of
from remit.errors import ToolError

JsonSchema = Mapping[str, Any]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
ARGUMENT_MAX = 128
"""Characters of an argument's name."""
LABEL = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")


def is_argument(name: str) -> bool:
    """Whether an argument may have this name: `args["user-id"]` must be readable in a policy and in a review."""
    return 0 < len(name) <= ARGUMENT_MAX and name.isprintable() and name == name.strip() and not {*name} & {"/", "~"}


class Effect(StrEnum):
    """What running a tool does to the world, from least to most."""

    READ = "read"
    FETCH = "fetch"
    """A read whose arguments leave, such as a URL."""
    WRITE = "write"
    SEND = "send"
    """Data leaves to others."""
    COMMIT = "commit"
    """Binds the principal: pay, book."""
    DESTROY = "destroy"


class Repeat(StrEnum):
    """What running a tool twice does."""

    IDEMPOTENT = "idempotent"
    """The same as once."""
    KEYED = "keyed"
    """The same as once, if it is given the same idempotency key."""
    ONCE = "once"
    """Something else. It is never run again by guess."""


EffectName = Literal["read", "fetch", "write", "send", "commit", "destroy"]
"""How `effect` is written as text: the values of `Effect`."""
RepeatName = Literal["idempotent", "keyed", "once"]
"""How `repeat` is written as text: the values of `Repeat`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept, in bytes of canonical JSON.

    Attributes:
        arguments: of one call's arguments together; a call with more is rejected before it is decided.
        result: of one result; a larger one is lost, and the call is done all the same.
        input: of a run's input; a run with more is not started.
        output: of what one agent returns; with more, its task fails.
    """

    arguments: int = 1024 * 1024
    result: int = 16 * 1024 * 1024
    input: int = 16 * 1024 * 1024
    output: int = 16 * 1024 * 1024


@dataclass(frozen=True)
class ToolSpec:
    """All that is known about a tool; its `digest` covers every field.

    Attributes:
        arguments: JSON Schema (draft 2020-12) of the arguments that a caller may send.
        normal: JSON Schema of the arguments as decided and run, with every default filled in.
        result: JSON Schema of the result.
        authority: names of the arguments that say who, where or what.
        content: names of the arguments whose data leaves.
        labels: JSON pointer into the result (`""` for all of it) to the labels there.
        timeout: seconds that one attempt may take.
        attempts: how often it may be tried, where `repeat` permits.
        cost: what one call costs, in the unit of the budgets.
        probe: whether it can be asked if a call with a given key has happened.
    """

    name: str
    description: str
    arguments: JsonSchema
    normal: JsonSchema
    result: JsonSchema
    effect: Effect = Effect.DESTROY
    repeat: Repeat = Repeat.ONCE
    authority: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"": ("private", "untrusted")})
    timeout: float = 60.0
    attempts: int = 1
    cost: Decimal = Decimal(0)
    tags: tuple[str, ...] = ()
    probe: bool = False

    def __post_init__(self) -> None:
        place = f"tool `{self.name}`"
        if not NAME.fullmatch(self.name):
            raise ToolError(f"{place}: a name is letters, digits, `_`, `-` and `.`, at most 128, no digit first")
        known = self.names
        for name in known:
            if not is_argument(name):
                raise ToolError(
                    f"{place}: the argument {name!a} can't be named in a policy: use 1 to {ARGUMENT_MAX} characters"
                    " that can be printed, without `/` and `~`, and without blanks at the ends"
                )
        for kind, names in (("authority", self.authority), ("content", self.content)):
            for name in names:
                if name not in known:
                    raise ToolError(f"{place}: {kind}: there is no argument `{name}`; it has {_list(known)}")
        for pointer, labels in self.labels.items():
            if pointer and not pointer.startswith("/"):
                raise ToolError(f"{place}: labels: `{pointer}` is not a JSON pointer: start it with `/`")
            for label in labels:
                if not LABEL.fullmatch(label):
                    raise ToolError(f"{place}: labels: `{label}` is not a label: lowercase letters, digits, `_.:-`")
        if not 0 < self.timeout <= 86_400:
            raise ToolError(f"{place}: a timeout of {self.timeout} s: it must be over 0 and at most a day")
        if self.attempts < 1:
            raise ToolError(f"{place}: {self.attempts} attempts: there is at least one")
        if self.attempts > 1 and self.repeat is Repeat.ONCE:
            raise ToolError(f"{place}: {self.attempts} attempts, but it may run once: say repeat=idempotent or keyed")
        if not self.cost.is_finite() or self.cost < 0:
            raise ToolError(f"{place}: a cost of {self.cost}: it must be a number from 0")

    def document(self) -> dict[str, object]:
        """Returns the spec as JSON: what its digest is over, and what an export carries."""
        return {
            "name": self.name,
            "description": self.description,
            "arguments": dict(self.arguments),
            "normal": dict(self.normal),
            "result": dict(self.result),
            "effect": self.effect.value,
            "repeat": self.repeat.value,
            "authority": sorted(self.authority),
            "content": sorted(self.content),
            "labels": {pointer: sorted(labels) for pointer, labels in self.labels.items()},
            "timeout": str(float(self.timeout)),
            "attempts": self.attempts,
            "cost": str(self.cost),
            "tags": sorted(self.tags),
            "probe": self.probe,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ToolSpec:
        """Returns the spec that `document()` wrote. Raises ToolError where it isn't one."""
        try:
            return cls(
                **{
                    **document,
                    "effect": Effect(document["effect"]),
                    "repeat": Repeat(document["repeat"]),
                    "authority": tuple(document["authority"]),
                    "content": tuple(document["content"]),
                    "labels": {pointer: tuple(labels) for pointer, labels in document["labels"].items()},
                    "timeout": float(document["timeout"]),
                    "cost": Decimal(document["cost"]),
                    "tags": tuple(document["tags"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ToolError(f"not a tool's spec: {type(error).__name__}: {error}") from error

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the arguments that its schema names, in the schema's order."""
        return names_of(self.normal)

    @cached_property
    def is_open(self) -> bool:
        """Whether its schema says that there may be arguments that it does not name."""
        return any(
            schema.get(key, False) is not False
            for schema in Document(self.normal).in_place(self.normal)
            for key in ("additionalProperties", "unevaluatedProperties", "patternProperties")
        )

    def is_authority(self, name: str) -> bool:
        """Whether an argument says who, where or what; one that the schema does not name does."""
        return name in self.authority or name not in self.names

    def is_content(self, name: str) -> bool:
        """Whether an argument's data leaves; that of one that the schema does not name does."""
        return name in self.content or name not in self.names

    @cached_property
    def seen(self) -> Mapping[str, object]:
        """What conditions see of it."""
        return {
            "name": self.name,
            "effect": self.effect.value,
            "repeat": self.repeat.value,
            "tags": list(self.tags),
            "authority": sorted(self.authority),
            "content": sorted(self.content),
        }

    @cached_property
    def bytes(self) -> bytes:
        """The canonical bytes of `document()`."""
        return canonical(self.document())

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over `bytes`."""
        return digest_bytes(self.bytes)

    @cached_property
    def decimals(self) -> tuple[str, ...]:
        """Names of the arguments that are decimals, written as strings."""
        properties = self.normal.get("properties", {})
        return tuple(
            name
            for name, schema in properties.items()
            if isinstance(schema, Mapping) and schema.get("format") == "decimal"
        )

    @cached_property
    def result_labels(self) -> tuple[str, ...]:
        """Every label that any part of a result carries, sorted."""
        return ResultLabels(self.labels).all()


@dataclass(frozen=True, slots=True)
class Call:
    """One request by an agent to use a tool: what is decided, and exactly what is run.

    `args` are plain JSON values, validated, with defaults filled in.
    """

    run: str
    principal: str
    args: Mapping[str, object]
    record: CallRecord

    @property
    def id(self) -> str:
        """Unique within the run: `task#position`."""
        return self.record.id

    @property
    def digest(self) -> str:
        """SHA-256 in hex of everything that makes it this call and no other."""
        return self.record.digest


def call_digest(run: str, principal: str, record: CallRecord) -> str:
    """Returns the digest that approvals bind to; `record.digest` itself is left out.

    It is over the arguments' salted commitments rather than the arguments: so it can be checked from
    the journal alone, and says nothing about a value whose payload was erased.
    """
    return digest(
        {
            "agent": record.agent,
            "args": record.args,
            "id": record.id,
            "principal": principal,
            "run": run,
            "task": record.task,
            "tool": record.tool,
            "tool_digest": record.tool_digest,
            "version": record.version,
        }
    )


def idempotency_key(call: str) -> str:
    """Returns the key a keyed tool gets for the call with this digest: the same at every attempt."""
    return digest_bytes(b"remit idempotency key v1\x00" + call.encode())[:40]


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
