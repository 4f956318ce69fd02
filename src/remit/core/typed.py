"""From a typed Python function, or a foreign JSON Schema, to a tool.

pydantic reads the signature: arguments and result get JSON Schemas and are validated strictly, in JSON's
types, so that what is decided, journaled, shown and run is one and the same value. A `Decimal` is a
string of `format: decimal`, which conditions compare exactly.

A `Tool` can't be called. `ctx.call` is the way in; its plain function is `tool.function`, for the
function's own unit tests.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar, overload

import pydantic
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticSerializationError, core_schema

from remit.core.canonical import canonical, plain
from remit.core.foreign import ForeignArguments
from remit.core.roundtrip import as_json, equal, lossy
from remit.core.schemas import names_of
from remit.core.tools import Effect, EffectName, JsonSchema, Repeat, RepeatName, ToolSpec
from remit.errors import InvalidArguments, NotCanonical, ToolError

P = ParamSpec("P")
R = TypeVar("R")
_SECRET: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a tool may know about the call it runs for; a tool asks for it with its first parameter.

    Attributes:
        key: the idempotency key: the same at every attempt of the same call, in any process.
        attempt: 1, or higher when it is tried again.
        secrets: those the tool declares, by name. They are never arguments, and never shown.
    """

    key: str
    run: str
    call: str
    principal: str
    attempt: int = 1
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class NotDone:
    """What a probe returns when the call it is asked about has not happened."""


NOT_DONE: Final = NotDone()


class Schemas(GenerateJsonSchema):
    """JSON Schema as Remit reads it: a decimal is a string, in both directions."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """Writes `format: decimal`; conditions compare such a field as the exact number it is."""
        return {"type": "string", "format": "decimal"}

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        """Whether a field is always there. What is written has every field of a model, defaults included."""
        if self.mode == "serialization" and field["type"] != "typed-dict-field":
            return not field.get("serialization_exclude")
        return super().field_is_required(field, total)


class Arguments:
    """Validates a tool's arguments: `normalise` to plain JSON, `bind` to what the function takes."""

    def __init__(self, model: type[pydantic.BaseModel], tool: str) -> None:
        self._model = model
        self._names = tuple((field.alias or name, name) for name, field in model.model_fields.items())
        self._tool = tool

    def normalise(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Returns the arguments as JSON values, defaults filled in.

        Raises:
            InvalidArguments: naming every argument that doesn't fit, and why.
        """
        given = self._read(as_json(arguments, self._tool, binary=True))
        data = self._written(given)
        # What is decided is what the journal gives back, where 1.0 is 1, and what the function will be given.
        again = self._read(data)
        self._same(again, data)
        if not equal(given, again):
            raise InvalidArguments(
                f"tool `{self._tool}`: the arguments lose something when they are written as JSON: its serializers must"
                " write every field as it is"
            )
        normal: dict[str, object] = plain(data)
        return normal

    def bind(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Returns normalised arguments as the Python values that the function takes, made anew each time.

        Raises:
            InvalidArguments: they don't fit any more, or stand for other arguments than these: nothing may run.
        """
        data = canonical(arguments)
        model = self._read(data)
        self._same(model, data)
        return {name: getattr(model, field) for name, field in self._names}

    def _read(self, data: bytes) -> pydantic.BaseModel:
        try:
            return self._model.model_validate_json(data, strict=True)
        except pydantic.ValidationError as error:
            raise InvalidArguments(f"tool `{self._tool}`: {_words(error)}") from error
        except Exception as error:
            raise InvalidArguments(f"tool `{self._tool}`: its validators failed: {type(error).__name__}") from error

    def _written(self, model: pydantic.BaseModel) -> bytes:
        try:
            return canonical(model.model_dump(mode="json", by_alias=True, warnings="error"))
        except Exception as error:
            said = str(error) if isinstance(error, (NotCanonical, ValueError)) else type(error).__name__
            raise InvalidArguments(f"tool `{self._tool}`: the arguments can't be kept as JSON: {said}") from error

    def _same(self, model: pydantic.BaseModel, data: bytes) -> None:
        if self._written(model) != data:
            raise InvalidArguments(
                f"tool `{self._tool}`: the arguments change when they are read back from JSON: its types, validators"
                " and serializers must give the same value again"
            )


class Results(Generic[R]):
    """Turns what a tool, agent or fact provider returns into JSON and back, by its annotation."""

    def __init__(self, annotation: Any) -> None:
        """Raises ToolError where values of the type would not come back from JSON as they were."""
        self._adapter: pydantic.TypeAdapter[R] = pydantic.TypeAdapter(annotation)
        self.schema: JsonSchema = self._adapter.json_schema(mode="serialization", schema_generator=Schemas)
        if why := lossy(self._adapter.core_schema, self.schema, written=True):
            raise ToolError(why)

    def dump(self, value: object) -> bytes:
        """Returns the canonical bytes of `value`, which `load` gives back.

        Raises:
            ValueError, NotCanonical: it doesn't fit, has no JSON form, or would come back as another value.
        """
        data = self._written(value)
        if self._written(self._adapter.validate_json(data)) != data:
            raise ValueError("it changes when it is read back from JSON")
        return data

    def _written(self, value: object) -> bytes:
        try:
            return canonical(self._adapter.dump_python(value, mode="json", by_alias=True, warnings="error"))  # type: ignore[arg-type]  # checked here
        except PydanticSerializationError as error:
            raise ValueError(str(error)) from error

    def load(self, data: bytes) -> R:
        """Returns the value that `dump` wrote: the same live, at replay and in another process."""
        return self._adapter.validate_json(data)


class Tool(Generic[P, R]):
    """A tool: its spec, and the function behind it. Agents use it through `ctx.call(tool, ...)` only."""

    def __init__(
        self,
        spec: ToolSpec,
        function: Callable[..., Any],
        arguments: Arguments | ForeignArguments,
        results: Results[R],
        *,
        wants_invocation: bool,
        probe: Callable[..., Any] | None = None,
        secrets: tuple[str, ...] = (),
        retry_on: tuple[type[Exception], ...] = (),
    ) -> None:
        self.spec = spec
        self.function = function
        """The plain function. Calling it is not governed: it is for the function's own unit tests."""
        self.arguments = arguments
        self.results = results
        self.wants_invocation = wants_invocation
        self.probe = probe
        self.secrets = secrets
        """Names of the secrets that its `Invocation` brings."""
        self.retry_on = retry_on
        """Exceptions after which it is tried again, beside `TimeoutError`, `ConnectionError` and `Transient`."""
        self.__doc__ = spec.description

    @property
    def name(self) -> str:
        """The name that agents and policies use."""
        return self.spec.name

    if not TYPE_CHECKING:  # to a type checker a tool is nothing that can be called: it flags the call, and reads on

        def __call__(self, *args: object, **kwargs: object) -> None:
            """Refuses: a tool runs through the gate or not at all. Raises ToolError."""
            raise ToolError(
                f"tool `{self.name}` can't be called: use `await ctx.call({self.name}, ...)` in an agent"
                f" (or `{self.name}.function(...)` in a unit test of the function itself)"
            )

    def __repr__(self) -> str:
        return f"<Tool {self.name} {self.spec.effect}/{self.spec.repeat}>"


@overload
def tool(function: Callable[Concatenate[Invocation, P], Awaitable[R]], /) -> Tool[P, R]: ...
@overload
def tool(function: Callable[Concatenate[Invocation, P], R], /) -> Tool[P, R]: ...
@overload
def tool(function: Callable[P, Awaitable[R]], /) -> Tool[P, R]: ...
@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    effect: Effect | EffectName = Effect.DESTROY,
    repeat: Repeat | RepeatName = Repeat.ONCE,
    authority: Iterable[str] | None = None,
    content: Iterable[str] | None = None,
    labels: Mapping[str, Iterable[str]] | None = None,
    timeout: float = 60.0,
    attempts: int = 1,
    retry_on: Iterable[type[Exception]] = (),
    cost: Decimal | int = 0,
    tags: Iterable[str] = (),
    probe: Callable[..., Any] | None = None,
    secrets: Iterable[str] = (),
) -> _Decorator: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    effect: Effect | EffectName = Effect.DESTROY,
    repeat: Repeat | RepeatName = Repeat.ONCE,
    authority: Iterable[str] | None = None,
    content: Iterable[str] | None = None,
    labels: Mapping[str, Iterable[str]] | None = None,
    timeout: float = 60.0,
    attempts: int = 1,
    retry_on: Iterable[type[Exception]] = (),
    cost: Decimal | int = 0,
    tags: Iterable[str] = (),
    probe: Callable[..., Any] | None = None,
    secrets: Iterable[str] = (),
) -> Any:
    """Makes a tool of a typed function, sync or async; a sync one runs in a thread.

    What isn't given has the pessimistic value: it destroys, may run once, all its arguments carry authority and
    content, and its result is untrusted and private. A first parameter annotated `Invocation` is filled in by Remit
    and is not an argument.

    Args:
        name: what agents and policies call it; the function's own name if not given.
        effect: what running it does to the world: `read`, `fetch` (a read whose arguments leave, such as a URL),
            `write`, `send` (data leaves to others), `commit` (binds the principal), `destroy`.
        repeat: what running it twice does: `idempotent` the same as once, `keyed` the same as once if it is given the
            same key, `once` something else.
        authority: names of the arguments that say who, where or what; all of them if not given.
        content: names of the arguments whose data leaves; all of them if not given.
        labels: labels of the result, by JSON pointer into it (`""` is all of it); `untrusted` and `private` for all of
            it if not given.
        timeout: seconds that one attempt may take, at most a day.
        attempts: how often it may be tried; more than 1 needs `repeat` to be `idempotent` or `keyed`.
        retry_on: exception types after which it is tried again, where `attempts` is more than 1, beside `TimeoutError`,
            `ConnectionError` and `remit.Transient`. Anything else that it raises is its failure.
        cost: what one call costs, in the unit of your budgets; conditions see the sum as `spent.cost`.
        tags: words of your own, for conditions: `"mail" in tool.tags`.
        probe: a function of the same parameters that says whether the call with this key has happened: its result, or
            `remit.NOT_DONE`.
        secrets: names of secrets, such as `BANK_TOKEN`. Their values come with the invocation, from where the runtime
            keeps them; they are never arguments.

    Raises:
        ToolError: a parameter or the result has no annotation or no JSON form, or an option doesn't fit.
    """
    options = _Options(
        effect=effect, repeat=repeat, authority=authority, content=content, labels=labels, timeout=timeout,
        attempts=attempts, retry_on=retry_on, cost=cost, tags=tags, probe=probe, secrets=secrets,
    )  # fmt: skip
    if function is not None:
        return _make(function, name, options)
    return lambda function: _make(function, name, options)


@dataclass(frozen=True, slots=True)
class _Options:
    """What `tool` and `foreign_tool` were given; see there."""

    effect: Effect | EffectName
    repeat: Repeat | RepeatName
    authority: Iterable[str] | None
    content: Iterable[str] | None
    labels: Mapping[str, Iterable[str]] | None
    timeout: float
    attempts: int
    retry_on: Iterable[type[Exception]]
    cost: Decimal | int
    tags: Iterable[str]
    probe: Callable[..., Any] | None
    secrets: Iterable[str]


class _Decorator(Protocol):
    """What `@tool(...)` gives: it takes the function."""

    @overload
    def __call__(self, function: Callable[Concatenate[Invocation, P], Awaitable[R]], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Invocation, P], R], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Tool[P, R]: ...


def foreign_tool(
    name: str,
    schema: JsonSchema,
    function: Callable[[Invocation, dict[str, Any]], Awaitable[Any]],
    *,
    description: str = "",
    result: JsonSchema | None = None,
    effect: Effect | EffectName = Effect.DESTROY,
    repeat: Repeat | RepeatName = Repeat.ONCE,
    authority: Iterable[str] | None = None,
    content: Iterable[str] | None = None,
    labels: Mapping[str, Iterable[str]] | None = None,
    timeout: float = 60.0,
    attempts: int = 1,
    retry_on: Iterable[type[Exception]] = (),
    cost: Decimal | int = 0,
    tags: Iterable[str] = (),
    probe: Callable[..., Any] | None = None,
    secrets: Iterable[str] = (),
) -> Tool[..., Any]:
    """Makes a tool of an async function and a JSON Schema of its arguments that somebody else wrote.

    Arguments that the schema does not name are refused, at any depth, unless it says `additionalProperties` (or
    `patternProperties`, `unevaluatedProperties`); then they carry authority and content. Declared defaults are filled
    in before the call is decided.

    Args:
        name: what agents and policies call it.
        schema: JSON Schema of an object, of draft 4, 6, 7, 2019-09 or 2020-12 as `$schema` says; 2020-12 if it doesn't.
        function: takes the `Invocation` and the arguments as one dict of JSON values.
        description: what the tool does.
        result: JSON Schema of its result: what conditions and reviewers may count on.
        effect: what running it does to the world: `read`, `fetch` (a read whose arguments leave, such as a URL),
            `write`, `send` (data leaves to others), `commit` (binds the principal), `destroy`.
        repeat: what running it twice does: `idempotent` the same as once, `keyed` the same as once if it is given the
            same key, `once` something else.
        authority: names of the arguments that say who, where or what; all of them if not given.
        content: names of the arguments whose data leaves; all of them if not given.
        labels: labels of the result, by JSON pointer into it (`""` is all of it); `untrusted` and `private` for all of
            it if not given.
        timeout: seconds that one attempt may take, at most a day.
        attempts: how often it may be tried; more than 1 needs `repeat` to be `idempotent` or `keyed`.
        retry_on: exception types after which it is tried again, where `attempts` is more than 1, beside `TimeoutError`,
            `ConnectionError` and `remit.Transient`. Anything else that it raises is its failure.
        cost: what one call costs, in the unit of your budgets; conditions see the sum as `spent.cost`.
        tags: words of your own, for conditions: `"mail" in tool.tags`.
        probe: an async function of the same parameters that says whether the call with this key has happened: its
            result, or `remit.NOT_DONE`.
        secrets: names of secrets, such as `BANK_TOKEN`. Their values come with the invocation, from where the runtime
            keeps them; they are never arguments.

    Raises:
        ToolError: the schema is no JSON Schema of an object, is of an unknown draft, refers to another document, has a
            default that doesn't fit it, or an option doesn't fit.
    """
    options = _Options(
        effect=effect, repeat=repeat, authority=authority, content=content, labels=labels, timeout=timeout,
        attempts=attempts, retry_on=retry_on, cost=cost, tags=tags, probe=probe, secrets=secrets,
    )  # fmt: skip
    if schema.get("type") != "object":
        raise ToolError(f"tool `{name}`: its schema must say `type: object`: arguments have names")
    arguments = ForeignArguments(schema, name)
    adapter: Results[Any] = Results(Any)
    return Tool(
        _spec(name, description, schema, arguments.normal, result or {}, options),
        _by_keyword(function),
        arguments,
        adapter,
        wants_invocation=True,
        probe=_by_keyword(probe) if probe is not None else None,
        secrets=_secrets(name, secrets, wants=True),
        retry_on=_retried(name, options),
    )


def _by_keyword(function: Callable[[Invocation, dict[str, Any]], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Takes the arguments one by one, as every tool is given them, and hands them on as one object."""

    async def run(invocation: Invocation, /, **arguments: Any) -> Any:
        return await function(invocation, arguments)

    return run


def _make(function: Callable[..., Any], name: str | None, options: _Options) -> Tool[..., Any]:
    name = name or function.__name__
    signature = signature_of(function, f"tool `{name}`")
    parameters = list(signature.parameters.values())
    wants = bool(parameters) and parameters[0].annotation is Invocation
    secrets = _secrets(name, options.secrets, wants=wants)
    model = _model(name, parameters[1:] if wants else parameters)
    try:
        arguments = model.model_json_schema(schema_generator=Schemas)
        normal = model.model_json_schema(mode="serialization", schema_generator=Schemas)
        if why := lossy(model.__pydantic_core_schema__, arguments, written=False):
            raise ToolError(f"tool `{name}`: {why}")
        results = results_of(signature.return_annotation, f"tool `{name}`: its result")
    except pydantic.PydanticUserError as error:
        raise ToolError(f"tool `{name}`: no JSON Schema can be made of its signature: {error}") from error
    description = inspect.cleandoc(function.__doc__ or "")
    spec = _spec(name, description, arguments, normal, results.schema, options)
    return Tool(
        spec, function, Arguments(model, name), results, wants_invocation=wants, probe=options.probe, secrets=secrets,
        retry_on=_retried(name, options),
    )  # fmt: skip


def results_of(annotation: Any, place: str) -> Results[Any]:
    """Returns how values of a type are written and read. Raises ToolError with the place: they can't be."""
    try:
        return Results(annotation)
    except ToolError as error:
        raise ToolError(f"{place}: {error}") from error
    except pydantic.PydanticUserError as error:
        raise ToolError(f"{place}: no JSON Schema can be made of its type: {error}") from error


def _secrets(tool: str, names: Iterable[str], *, wants: bool) -> tuple[str, ...]:
    try:
        found = _texts(names)
    except TypeError as error:
        raise ToolError(f"tool `{tool}`: secrets: {error}") from error
    for name in found:
        if not _SECRET.fullmatch(name):
            raise ToolError(f"tool `{tool}`: secrets: `{name}` is no name of one: `BANK_TOKEN`")
    if found and not wants:
        raise ToolError(f"tool `{tool}`: its secrets come with the invocation: make it its first parameter")
    return found


def _retried(tool: str, options: _Options) -> tuple[type[Exception], ...]:
    try:
        found = tuple(options.retry_on)
    except TypeError as error:
        raise ToolError(f"tool `{tool}`: retry_on: `{options.retry_on}` must be a list of exception types") from error
    for one in found:
        if not (isinstance(one, type) and issubclass(one, Exception)):
            raise ToolError(f"tool `{tool}`: retry_on: `{one}` is no exception type: `retry_on=[OSError]`")
    if found and options.attempts == 1:
        raise ToolError(f"tool `{tool}`: retry_on, but it is tried once: say `attempts=3`")
    return found


def _spec(
    name: str, description: str, arguments: JsonSchema, normal: JsonSchema, result: JsonSchema, options: _Options
) -> ToolSpec:
    names = names_of(normal)
    chosen: dict[str, Any] = {"timeout": options.timeout, "attempts": options.attempts}
    try:
        for key, said in (("authority", options.authority), ("content", options.content)):
            chosen[key] = names if said is None else _texts(said)
        if options.labels is not None:
            chosen["labels"] = {pointer: _texts(marks) for pointer, marks in options.labels.items()}
        chosen["effect"] = Effect(options.effect)
        chosen["repeat"] = Repeat(options.repeat)
        chosen["cost"] = Decimal(options.cost)
        chosen["tags"] = _texts(options.tags)
        chosen["probe"] = options.probe is not None
        return ToolSpec(name=name, description=description, arguments=arguments, normal=normal, result=result, **chosen)
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ToolError(f"tool `{name}`: {error or type(error).__name__}") from error


def _texts(items: Iterable[str]) -> tuple[str, ...]:
    """Returns the items; one text would be taken for its letters."""
    if isinstance(items, str):
        raise TypeError(f"`{items}` must be a list: [{items!r}]")
    return tuple(items)


def signature_of(function: Callable[..., Any], place: str) -> inspect.Signature:
    """Returns the signature with its annotations resolved.

    Raises:
        ToolError: an annotation can't be resolved, or there is none for a parameter or the result.
    """
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, SyntaxError, TypeError, ValueError) as error:
        raise ToolError(
            f"{place}: its annotations can't be read: {error}: use types defined at module level"
        ) from error
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ToolError(f"{place}: parameter `{parameter}`: each argument needs a name of its own")
        if parameter.annotation is parameter.empty:
            raise ToolError(f"{place}: parameter `{parameter.name}` has no annotation: say its type")
    if signature.return_annotation is signature.empty:
        raise ToolError(f"{place}: its result has no annotation: say its type, `-> None` if there is none")
    return signature


def _model(name: str, parameters: list[inspect.Parameter]) -> type[pydantic.BaseModel]:
    fields: dict[str, Any] = {}
    for parameter in parameters:
        default = ... if parameter.default is parameter.empty else parameter.default
        # An alias: an argument may have a name that means something to pydantic, such as `json`.
        fields[f"arg_{parameter.name}"] = (parameter.annotation, pydantic.Field(default, alias=parameter.name))
    config = pydantic.ConfigDict(
        extra="forbid", validate_default=True, allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )
    try:
        return pydantic.create_model(name, __config__=config, **fields)
    except (pydantic.PydanticUserError, NameError, TypeError) as error:
        raise ToolError(f"tool `{name}`: no JSON Schema can be made of its parameters: {error}") from error


def _words(error: pydantic.ValidationError) -> str:
    found = []
    for item in error.errors(include_url=False, include_input=False)[:5]:
        place = ".".join(str(part) for part in item["loc"]) or "arguments"
        found.append(f"`{place}`: {item['msg'][:1].lower()}{item['msg'][1:]}")
    return "; ".join(found)
