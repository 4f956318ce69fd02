"""What a type checker must find wrong: each line with an `E:` comment, and no other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from remit import Context, Invocation, foreign_tool, tool


@tool
async def pay(iban: str, amount: Decimal) -> int:
    return 1


@tool(effect="commit")
def book(invocation: Invocation, what: str) -> str:
    return what


def plain(what: str) -> str:
    return what


async def far(invocation: Invocation, arguments: dict[str, Any]) -> str:
    return "x"


async def agent(ctx: Context) -> None:
    await ctx.call(pay, iban="NL1", amount="x")  # E: arg-type
    await ctx.call(pay, iban=1, amount=Decimal(1))  # E: arg-type
    await ctx.call(pay, iban="NL1", amuont=Decimal(1))  # E: call-arg
    await ctx.call(pay, iban="NL1")  # E: call-arg
    await ctx.call(pay, "NL1", Decimal(1), 3)  # E: call-arg
    await ctx.call(book, invocation=None, what="x")  # E: call-arg
    await ctx.call(plain, what="x")  # E: arg-type
    (await ctx.call(pay, iban="NL1", amount=Decimal(1))).upper()  # E: attr-defined
    (await ctx.call(book, what="x")).bit_length()  # E: attr-defined
    tool(effcet="read")  # E: call-overload
    tool(effect="raed")  # E: call-overload
    tool(repeat="twice")  # E: call-overload
    foreign_tool("far", {"type": "object"}, far, effect="raed")  # E: arg-type
    pay("NL1", Decimal(1))  # E: operator
    name: int = "what follows a call of a tool is looked at"  # E: assignment
    print(name)
