"""Some of the attacks of `remit.probes`, on Pydantic AI's deferred tools: run by `run.py`, in its venv.

The history of messages is what an application stores between the question and the answer. Prints a JSON
object: what was tried -> what happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outcomes import ended, report
from pydantic_ai import Agent, ApprovalRequired, DeferredToolRequests, DeferredToolResults, RunContext
from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel


def model(messages: list[Any], _: AgentInfo) -> ModelResponse:
    """Asks for one payment, and then says that it is done."""
    asked = any(isinstance(part, ToolCallPart) for message in messages for part in message.parts)
    part = TextPart("over") if asked else ToolCallPart("pay", {"what": "rent"}, tool_call_id="call-1")
    return ModelResponse(parts=[part])


def agent(done: list[str], asks: Callable[[], bool] = lambda: True) -> Agent[None, Any]:
    """An agent with one tool, that asks for approval while `asks` says so."""
    made = Agent(FunctionModel(model), output_type=[str, DeferredToolRequests])

    @made.tool
    def pay(ctx: RunContext[None], what: str) -> str:
        if asks() and not ctx.tool_call_approved:
            raise ApprovalRequired
        done.append(what)
        return "paid"

    return made


def answer(made: Agent[None, Any], stored: bytes, approved: bool, id: str = "call-1") -> None:
    history = ModelMessagesTypeAdapter.validate_json(stored)
    made.run_sync(message_history=history, deferred_tool_results=DeferredToolResults(approvals={id: approved}))


def the_predicate_flips_after_a_no() -> str:
    """A person says no; what asked for approval is false when the answer comes."""
    done, asked = list[str](), [True]
    made = agent(done, lambda: asked[0])
    stored = made.run_sync("pay the rent").all_messages_json()
    asked[0] = False
    answer(made, stored, False)
    return f"the tool ran {len(done)} times after a no"


def the_arguments_are_rewritten_before_the_resume() -> str:
    """The stored call is changed after the person saw it, and then it is approved."""
    done = list[str]()
    made = agent(done)
    first = made.run_sync("pay the bill")
    seen = first.output.approvals[0].args["what"]
    answer(made, first.all_messages_json().replace(b'"rent"', b'"villa"'), True)
    return f"a person saw {seen!r}; what ran: {done}"


def the_approval_is_used_again_from_an_old_checkpoint() -> str:
    """The same stored history and the same approval, twice."""
    done = list[str]()
    made = agent(done)
    stored = made.run_sync("pay the rent").all_messages_json()
    answer(made, stored, True)
    answer(made, stored, True)
    return f"{len(done)} effects"


def an_unknown_interrupt_id() -> str:
    """An answer to a question that nobody asked."""
    done = list[str]()
    made = agent(done)
    stored = made.run_sync("pay the rent").all_messages_json()
    outcome = ended(lambda: answer(made, stored, True, "call-2"))
    return f"{outcome}; {len(done)} effects"


if __name__ == "__main__":
    report(
        the_predicate_flips_after_a_no,
        the_arguments_are_rewritten_before_the_resume,
        the_approval_is_used_again_from_an_old_checkpoint,
        an_unknown_interrupt_id,
    )
