"""Coverage-guided fuzzing of what reads strangers' text: conditions and policy files. Not a test of pytest's.

    python tests/fuzz/fuzz.py conditions|policies [--seconds 30] [--corpus DIR]

It needs atheris, which is not in our environment: `.ci/run` gives it one of its own. What is tried on each input:
nothing but the documented error is raised, within bounded time; what compiles evaluates to true, false or a failure,
on any values, and its explanation says the same; what loads decides. Ends with 0 when the time is up, and with
libFuzzer's own code, and the input, when something is found.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["remit"]):
    from remit.core.conditions import Environment, Failure, compile_condition
    from remit.core.decide import decide
    from remit.core.entries import Outcome
    from remit.core.policy import load_policies
    from remit.core.tools import ToolSpec
    from remit.errors import ConditionError, PolicyError

ROOTS: dict[str, dict[str, object]] = {
    "i": {"type": "integer"},
    "d": {"type": "number"},
    "s": {"type": "string"},
    "b": {"type": "boolean"},
    "when": {"type": "string", "format": "date-time"},
    "money": {"type": "string", "format": "decimal"},
    "x": {},
    "m": {"type": "object"},
    "l": {"type": "array"},
    "o": {"type": "object", "properties": {"a": {"type": "integer"}, "e": {"enum": ["x", "y"]}}, "required": ["e"]},
}
CONDITIONS = (
    "i > 1 && s == 'a'", "has(o.a) ? o.a < 2 : false", "l.exists(x, x == i) || m.all(k, k in ['a'])",
    "s.matches('^a+$') && size(s) < 10", "!(money <= 100.5) || when.getHours('Europe/Berlin') >= 8",
    "x.y.z[0] == 2.5e3",
    "o.e in ['x'] && d / 0.0 > 1.0", "l.map(e, e + 1)[0] == 1u", "s.startsWith('\\u00e9') || b\"\" == b'x'",
    "duration('1h') > timestamp('2026-01-01T00:00:00Z') - when", "type(x) == int && int(s) == -9223372036854775808",
)  # fmt: skip
TOKENS = (
    "&&", "||", "!", "?", ":", "==", "!=", "<=", ">=", "in", "has(", "size(", ".exists(", ".all(", ".map(", ".filter(",
    ".matches(", ".startsWith(", ".contains(", "timestamp(", "duration(", "int(", "double(", "string(", "true", "false",
    "null", "[", "]", "{", "}", "1.5", "1u", "'a'", "i", "d", "s", "b", "when", "money", "x", "m", "l", "o.a", "o.e",
    "allow:", "deny:", "escalate:", "require:", "rules:", "- id:", "tools:", "mode: shadow", "because:", "{{", "}}",
    "to:",
    "&a", "*a", "!!python/object", "|", ">-", "\\t",
)  # fmt: skip
POLICY = """policy: p
mode: shadow
rules:
  - {id: a, tools: [pay], mode: enforce, allow: args.amount <= 10 && has(args.why)}
  - id: b
    tools: ["*"]
    escalate: args.amount > 10
    to: desk
    because: "{{args.amount}} is {{has(args.why) ? args.why : 'a lot'}}"
  - {id: c, tools: [pay], require: args.to.startsWith("DE")}
"""
QUEUES = "single_operator: true\nqueues:\n  desk: {ttl: 1h}\n"
SPEC = ToolSpec(
    "pay", "Pays.",
    *[{
        "type": "object", "required": ["to", "amount"], "additionalProperties": False,
        "properties": {"to": {"type": "string"}, "amount": {"type": "integer"}, "why": {"type": "string"}},
    }] * 2,
    {},
)  # fmt: skip
SEEN = {"args": {"to": "DE1", "amount": 3, "why": "x"}}
SPECIAL: tuple[object, ...] = (
    None, True, False, 0, -1, 2**63, 2**70, -(2**63) - 1, math.nan, math.inf, -0.0, 1e308, "", "\ud800", "a" * 100_000,
    Decimal("NaN"), Decimal("1e999"), b"x", [], {}, {1: 2}, {"a": {"a": {}}}, [[]], {"a": float("nan")}, object(),
)  # fmt: skip


def any_value(data: Any, depth: int = 0) -> object:
    """Any value at all: what JSON has, what it hasn't, and what only Python has."""
    way = data.ConsumeIntInRange(0, 7 if depth < 5 else 5)
    if way <= 1:
        return SPECIAL[data.ConsumeIntInRange(0, len(SPECIAL) - 1)]
    if way <= 3:
        return data.ConsumeUnicode(data.ConsumeIntInRange(0, 20))
    if way == 4:
        return data.ConsumeInt(9)
    if way == 5:
        return data.ConsumeFloat()
    if way == 6:
        return [any_value(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 4))]
    return {data.ConsumeUnicode(3): any_value(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 4))}


def conditions() -> Callable[[bytes], None]:
    """Returns the target that compiles a text, and evaluates and explains what compiles."""
    environment = Environment(ROOTS)

    def one(raw: bytes) -> None:
        text, _, rest = raw.partition(b"\x00")
        try:
            condition = compile_condition(text.decode("utf-8", "replace"), environment)
        except ConditionError as error:
            assert error.problems, "refused without a problem"
            return
        data = atheris.FuzzedDataProvider(rest)
        for _ in range(3):
            seen = {name: any_value(data) for name in ROOTS if data.ConsumeIntInRange(0, 9)}
            value = condition.evaluate(seen)
            assert isinstance(value, (bool, Failure)), f"it is {value!r}"
            explained = condition.explain(seen).value
            assert isinstance(explained, Failure) if isinstance(value, Failure) else explained is value

    return one


def policies() -> Callable[[bytes], None]:
    """Returns the target that loads a policy file, and decides under what loads."""

    def one(raw: bytes) -> None:
        text = raw.decode("utf-8", "surrogateescape")
        try:
            found = load_policies({"p.yaml": text, "queues.yaml": QUEUES}, [SPEC], lambda _: {"args": SPEC.normal})
        except PolicyError as error:
            assert error.problems and all(one.message for one in error.problems), "refused without a problem"
            return
        assert decide("pay", SEEN, found).outcome in Outcome

    return one


TARGETS: dict[str, tuple[Callable[[], Callable[[bytes], None]], tuple[str, ...]]] = {
    "conditions": (conditions, CONDITIONS),
    "policies": (policies, (POLICY, "policy: p\nrules: []\n", "policy: &a p\nrules: [*a]\n")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzzes the reading of conditions and policy files.")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--corpus", type=Path, help="Where inputs are kept from one time to the next.")
    said = parser.parse_args()
    make, seeds = TARGETS[said.target]
    with tempfile.TemporaryDirectory() as folder:
        corpus = said.corpus or Path(folder) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds):
            (corpus / f"seed-{number}").write_text(seed, encoding="utf-8")
        words = Path(folder) / "tokens.dict"
        lines = (token.replace("\\", "\\\\").replace('"', '\\"') for token in TOKENS)
        words.write_text("".join(f'"{line}"\n' for line in lines), encoding="utf-8")
        options = [f"-max_total_time={said.seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *options, f"-dict={words}", "-print_final_stats=1", str(corpus)], make())
        atheris.Fuzz()


if __name__ == "__main__":
    main()
