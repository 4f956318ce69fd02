"""Some of the attacks of `remit.probes`, on the approvals of OpenAI's Agents SDK: run by `run.py`, in its venv.

Each is written as its documentation has approvals: a tool says `needs_approval`, and the application stores the
serialized state between the question and the answer. Prints a JSON object: what was tried -> what happened.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from agents import (
    Agent,
    Model,
    ModelResponse,
    RunContextWrapper,
    Runner,
    RunState,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrailData,
    Usage,
    function_tool,
    set_tracing_disabled,
    tool_input_guardrail,
)
from agents.items import ToolApprovalItem
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from outcomes import ended, report


def call(what: str, id: str) -> ResponseFunctionToolCall:
    arguments = json.dumps({"what": what})
    return ResponseFunctionToolCall(type="function_call", call_id=id, name="pay", arguments=arguments)


RENT, VILLA = call("rent", "call-1"), call("villa", "call-2")


class Payer(Model):
    """Makes the one call that it was told, and then says that it is over."""

    async def get_response(self, system_instructions: Any, input: Any, *_: Any, **__: Any) -> ModelResponse:
        asked = any(item.get("type") == "function_call" for item in input)
        text = ResponseOutputText(type="output_text", text="over", annotations=[])
        over = ResponseOutputMessage(type="message", id="1", role="assistant", status="completed", content=[text])
        told = ResponseFunctionToolCall.model_validate_json(input[0]["content"])
        return ModelResponse(output=[over if asked else told], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        raise NotImplementedError  # nothing here streams


def agent(
    done: list[str], asks: Callable[[], bool] = lambda: True, denies: Callable[[], bool] = lambda: False
) -> Agent[None]:
    """An agent with one tool, that asks for approval while `asks` says so, behind a guard."""

    async def needs(_: RunContextWrapper[Any], __: dict[str, Any], ___: str) -> bool:
        return asks()

    @tool_input_guardrail
    def guard(_: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
        if denies():
            return ToolGuardrailFunctionOutput.reject_content("denied")
        return ToolGuardrailFunctionOutput.allow()

    @function_tool(needs_approval=needs, tool_input_guardrails=[guard])
    def pay(what: str) -> str:
        done.append(what)
        return "paid"

    return Agent(name="payer", model=Payer(), tools=[pay])


def asked(made: Agent[None], about: ResponseFunctionToolCall = RENT) -> str:
    """Runs the agent until it asks, and returns the state that an application stores."""
    return asyncio.run(Runner.run(made, about.model_dump_json())).to_state().to_string()


def shown(stored: str) -> Any:
    """What a person is shown: the call of the one question in the stored state."""
    (question,) = json.loads(stored)["current_step"]["data"]["interruptions"]
    return json.loads(question["raw_item"]["arguments"])["what"]


def rewritten(stored: str) -> str:
    """The stored state, with another payment wherever the call is."""
    return stored.replace(r"\"rent\"", r"\"villa\"")


async def load(made: Agent[None], stored: str) -> RunState[Any, Any]:
    return await RunState.from_string(made, stored)


async def approved(made: Agent[None], stored: str) -> str:
    """The stored state with an approval of its question."""
    state = await load(made, stored)
    (question,) = state.get_interruptions()
    state.approve(question)
    return state.to_string()


async def resume(made: Agent[None], stored: str) -> None:
    await Runner.run(made, await load(made, stored))


def approve(made: Agent[None], stored: str) -> None:
    async def both() -> None:
        await resume(made, await approved(made, stored))

    asyncio.run(both())


def the_predicate_flips_after_a_no() -> str:
    """A person says no; what asked for approval is false when the answer comes."""
    done, asks = list[str](), [True]
    made = agent(done, lambda: asks[0])
    stored = asked(made)
    asks[0] = False

    async def deny() -> None:
        state = await load(made, stored)
        state.reject(state.get_interruptions()[0])
        await Runner.run(made, state)

    return f"{ended(lambda: asyncio.run(deny()))}; the tool ran {len(done)} times after a no"


def the_arguments_are_rewritten_before_the_resume() -> str:
    """The stored call is changed after the person saw it, and then it is approved."""
    done = list[str]()
    made = agent(done)
    stored = asked(made)
    outcome = ended(lambda: approve(made, rewritten(stored)))
    return f"a person saw {shown(stored)!r}; {outcome}; what ran: {done}"


def the_arguments_and_their_fingerprint_are_rewritten() -> str:
    """The same, and the fingerprint is replaced by what a run of one's own gives for the new arguments."""
    done = list[str]()
    made = agent(done)
    stored = asked(made)
    state, other = json.loads(rewritten(stored)), json.loads(asked(made, call("villa", RENT.call_id)))
    state["context"]["tool_invocations"] = other["context"]["tool_invocations"]
    outcome = ended(lambda: approve(made, json.dumps(state)))
    return f"a person saw {shown(stored)!r}; {outcome}; what ran: {done}"


def an_approval_is_copied_into_another_state() -> str:
    """The record of an approval is copied into a state that nobody approved, with the id of the call there."""
    done = list[str]()
    made = agent(done)
    given = json.loads(asyncio.run(approved(made, asked(made))))["context"]["function_tool_approvals"]
    state = json.loads(asked(made, VILLA))
    state["context"]["function_tool_approvals"] = json.loads(json.dumps(given).replace(RENT.call_id, VILLA.call_id))
    outcome = ended(lambda: asyncio.run(resume(made, json.dumps(state))))
    return f"a person approved 'rent'; {outcome}; what ran: {done}"


def the_approval_is_used_again_from_an_old_checkpoint() -> str:
    """The same stored state, with its approval, twice."""
    done = list[str]()
    made = agent(done)
    stored = asyncio.run(approved(made, asked(made)))
    asyncio.run(resume(made, stored))
    outcome = ended(lambda: asyncio.run(resume(made, stored)))
    return f"{outcome}; {len(done)} effects"


def an_unknown_interrupt_id() -> str:
    """An answer to a question that nobody asked."""
    done = list[str]()
    made = agent(done)
    stored = asked(made)

    async def answer() -> None:
        state = await load(made, stored)
        state.approve(ToolApprovalItem(made, VILLA))
        await Runner.run(made, state)

    return f"{ended(lambda: asyncio.run(answer()))}; {len(done)} effects"


def a_guard_is_tightened_after_the_approval() -> str:
    """Approved, and then the guard of the tool denies it."""
    done, denies = list[str](), [False]
    made = agent(done, denies=lambda: denies[0])
    stored = asyncio.run(approved(made, asked(made)))
    denies[0] = True
    return f"{ended(lambda: asyncio.run(resume(made, stored)))}; {len(done)} effects"


if __name__ == "__main__":
    set_tracing_disabled(True)
    report(
        the_predicate_flips_after_a_no,
        the_arguments_are_rewritten_before_the_resume,
        the_arguments_and_their_fingerprint_are_rewritten,
        an_approval_is_copied_into_another_state,
        the_approval_is_used_again_from_an_old_checkpoint,
        an_unknown_interrupt_id,
        a_guard_is_tightened_after_the_approval,
    )
