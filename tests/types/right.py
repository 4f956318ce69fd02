"""What a type checker must find right: `reveal_type` says what each call gives."""

from __future__ import annotations

from decimal import Decimal
from typing import reveal_type

from remit import Context, Graph, Invocation, RunReport, Runtime, Task, fact, tool
from remit.core.graph import FactRequest


@tool
async def pay(iban: str, amount: Decimal) -> int:
    return 1


@tool(effect="read", repeat="idempotent")
def look(invocation: Invocation, what: str, times: int = 1) -> list[str]:
    return [what]


@fact(tools=[pay, look])
def known(request: FactRequest) -> bool:
    return True


async def agent(ctx: Context, name: str) -> Decimal:
    reveal_type(await ctx.call(pay, iban="NL1", amount=Decimal(1)))
    reveal_type(await ctx.call(pay, "NL1", Decimal(1)))
    reveal_type(await ctx.call(look, what=name))
    reveal_type(
        await ctx.branches(lambda ctx: ctx.call(pay, "a", Decimal(1)), lambda ctx: ctx.call(pay, "b", Decimal(2)))
    )
    reveal_type(pay.function)
    return Decimal(1)


graph = Graph("app", [Task("a", agent)], tools=[pay, look], facts=[known])


async def main() -> RunReport:
    async with Runtime(graph, policies="policies") as runtime:
        return await runtime.run(graph, "x", principal="me")
