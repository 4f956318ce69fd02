"""The meaning of a condition: a plain interpreter of the tree.

`compiler` makes the same meaning fast; whenever anything goes wrong there, the condition is evaluated anew
here, so errors and what `&&` and `||` make of them exist in one place only. Explanations are made by the same
interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from remit.core.cel.functions import element, no_overload, widen
from remit.core.cel.shapes import load, settle
from remit.core.cel.tree import (
    Bound,
    Call,
    Choice,
    Each,
    Field,
    Has,
    Index,
    ListOf,
    Literal,
    Logic,
    Macro,
    MapOf,
    Node,
    Root,
    Settle,
    Widen,
)
from remit.core.cel.values import ABSORBED, LISTS, Budget, EvalError, OverBudget, map_key, type_name


def as_error(error: BaseException, at: int) -> EvalError:
    """Whatever was raised, as an error with a place."""
    if isinstance(error, EvalError):
        return error if error.at is not None else EvalError(error.message, at)
    if isinstance(error, RecursionError):
        return EvalError("nested too deeply", at)
    return EvalError(f"can't be evaluated: {type(error).__name__.lower()}", at)


def truth(value: object, what: str) -> bool:
    if value is True or value is False:
        return value
    raise EvalError(f"{what} is {type_name(value)}, not true or false")


def pick(operand: object, name: str) -> object:
    """A field of a map, unchecked."""
    if operand.__class__ is not dict and not isinstance(operand, Mapping):
        raise EvalError(f"no field `{name}` in {type_name(operand)}")
    try:
        return operand[name]
    except KeyError:
        raise EvalError(f"no such field `{name}`") from None


def present(operand: object, name: str) -> bool:
    if not isinstance(operand, Mapping):
        raise EvalError(f"no field `{name}` in {type_name(operand)}")
    return name in operand


def elements(value: object) -> Iterable[object]:
    """What a macro goes over: a list's elements, a map's keys."""
    if isinstance(value, (*LISTS, Mapping)):
        return value
    raise EvalError(f"{type_name(value)} is neither a list nor a map")


class Interpreter:
    """One evaluation. With `eager`, both sides of `&&` and `||` are evaluated; `seen` keeps every value."""

    def __init__(self, roots: Mapping[str, object], steps: int, *, eager: bool = False) -> None:
        self._roots = roots
        self._bound: dict[str, object] = {}
        self._budget = Budget(steps)
        self._spare = Budget(steps)  # for what is evaluated only to be shown
        self._eager = eager
        self.seen: dict[int, object] = {}

    def value(self, node: Node) -> object:
        """The node's value, or EvalError with a place, or OverBudget."""
        if isinstance(node, Literal):
            return node.value
        try:
            value = _WAYS[type(node)](self, node)
        except ABSORBED as error:
            known = as_error(error, node.at)
            if self._eager and not self._bound:
                self.seen[id(node)] = known
            raise known from None
        if self._eager and not self._bound:
            self.seen[id(node)] = value
        return value

    def _root(self, node: Root) -> object:
        try:
            value = self._roots[node.name]
        except KeyError:
            raise EvalError(f"no value for `{node.name}`") from None
        return load(node.shape, value)

    def _variable(self, node: Bound) -> object:
        return self._bound[node.key]

    def _field(self, node: Field) -> object:
        value = pick(self.value(node.operand), node.name)
        try:
            return load(node.shape, value)
        except EvalError as error:
            raise EvalError(f"`{node.name}`: {error.message}") from None

    def _index(self, node: Index) -> object:
        return load(node.shape, element(self.value(node.operand), self.value(node.key), self._budget))

    def _has(self, node: Has) -> object:
        return present(self.value(node.operand), node.name)

    def _logic(self, node: Logic) -> object:
        sign = "||" if node.stop else "&&"
        failed: EvalError | None = None
        try:
            left = truth(self.value(node.left), f"left of `{sign}`")
        except EvalError as error:
            failed = as_error(error, node.at)
        else:
            if left is node.stop:
                if self._eager:
                    self._show(node.right)
                return left
        try:
            right = truth(self.value(node.right), f"right of `{sign}`")
        except EvalError as error:
            raise failed or as_error(error, node.at) from None
        if failed is not None and right is not node.stop:
            raise failed
        return right

    def _show(self, node: Node) -> None:
        """Evaluates what needn't be, for the explanation alone: nothing here changes the outcome."""
        needed, self._budget = self._budget, self._spare
        try:
            self.value(node)
        except (EvalError, OverBudget) as error:
            if not self._bound:
                message = error.message if isinstance(error, EvalError) else "step budget used up"
                self.seen.setdefault(id(node), EvalError(message, node.at))
        finally:
            self._budget = needed

    def _choice(self, node: Choice) -> object:
        return self.value(node.yes if truth(self.value(node.test), "the condition of `?`") else node.no)

    def _call(self, node: Call) -> object:
        return node.apply(*[self.value(arg) for arg in node.args], self._budget)

    def _list(self, node: ListOf) -> object:
        return [self.value(item) for item in node.items]

    def _map(self, node: MapOf) -> object:
        return make_map(*[(self.value(key), self.value(value)) for key, value in node.entries])

    def _settle(self, node: Settle) -> object:
        return settle(node.declared, self.value(node.operand), self._budget)

    def _widen(self, node: Widen) -> object:
        return widen(self.value(node.operand))

    def _each(self, node: Each) -> object:
        over = elements(self.value(node.range))
        key = node.variable.key
        if node.macro in (Macro.ALL, Macro.EXISTS):
            return self._quantified(node, over, stop=node.macro is Macro.EXISTS)
        made: list[object] = []
        count = 0
        try:
            for item in over:
                self._budget.charge(node.cost)
                self._bound[key] = load(node.variable.shape, item)
                if node.test is not None and not truth(self.value(node.test), f"the test of `{node.macro.value}`"):
                    continue
                count += 1
                if node.result is not None:
                    made.append(self.value(node.result))
        finally:
            self._bound.pop(key, None)
        return count == 1 if node.macro is Macro.ONE else made

    def _quantified(self, node: Each, over: Iterable[object], *, stop: bool) -> bool:
        """`all` and `exists` are long `&&` and `||`: one deciding element decides, whatever fails."""
        failed: EvalError | None = None
        test = node.test
        assert test is not None
        try:
            for item in over:
                self._budget.charge(node.cost)
                try:
                    self._bound[node.variable.key] = load(node.variable.shape, item)
                    if truth(self.value(test), f"the test of `{node.macro.value}`") is stop:
                        return stop
                except EvalError as error:
                    failed = failed or as_error(error, node.at)
        finally:
            self._bound.pop(node.variable.key, None)
        if failed is not None:
            raise failed
        return not stop


_WAYS: Final[Mapping[type, Callable[..., object]]] = {
    Root: Interpreter._root,
    Bound: Interpreter._variable,
    Field: Interpreter._field,
    Index: Interpreter._index,
    Has: Interpreter._has,
    Logic: Interpreter._logic,
    Choice: Interpreter._choice,
    Call: Interpreter._call,
    ListOf: Interpreter._list,
    MapOf: Interpreter._map,
    Each: Interpreter._each,
    Settle: Interpreter._settle,
    Widen: Interpreter._widen,
}


def make_map(*entries: tuple[object, object]) -> dict[object, object]:
    """A map that is written out: its keys are never doubles, and never twice the same."""
    made: dict[object, object] = {}
    for key, value in entries:
        if isinstance(key, (float, Decimal)):
            raise no_overload("{}", key)
        name = map_key(key)
        if name in made:
            raise EvalError(f"key `{str(key)[:60]}` twice in a map")
        made[name] = value
    return made
