"""Some of the attacks of `remit.probes`, on LangGraph's own human-in-the-loop: run by `run.py`, in its venv.

Each is written as LangGraph's documentation has approvals: a node calls `interrupt`, and goes on with what
`Command(resume=...)` says. Prints a JSON object: what was tried -> what happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from outcomes import ended, report


class State(TypedDict, total=False):
    what: str
    said: str


def graph(node: Callable[[State], State]) -> tuple[Any, dict[str, Any]]:
    """One node with a checkpointer, and the thread it runs on."""
    made = StateGraph(State)
    made.add_node("pay", node)
    made.add_edge(START, "pay")
    made.add_edge("pay", END)
    return made.compile(checkpointer=InMemorySaver()), {"configurable": {"thread_id": "1"}}


def the_predicate_flips_after_a_no() -> str:
    """A person says no; what asked for approval is false when the node is run again."""
    done, asks = list[str](), [True]

    def pay(state: State) -> State:
        if asks[0] and interrupt({"pay": state["what"]}) != "yes":
            return {"said": "denied"}
        done.append(state["what"])
        return {"said": "paid"}

    app, thread = graph(pay)
    app.invoke({"what": "rent"}, thread)
    asks[0] = False
    app.invoke(Command(resume="no"), thread)
    return f"the tool ran {len(done)} times after a no"


def a_side_effect_before_the_pause() -> str:
    """An effect, and then an approval, in one node."""
    done = list[str]()

    def pay(state: State) -> State:
        done.append("reserved")
        return {"said": interrupt("pay?")}

    app, thread = graph(pay)
    app.invoke({"what": "rent"}, thread)
    app.invoke(Command(resume="yes"), thread)
    return f"the effect before the pause happened {len(done)} times"


def the_arguments_are_rewritten_before_the_resume() -> str:
    """The state is updated after the person saw the call, and then it is approved."""
    done, seen = list[str](), list[str]()

    def pay(state: State) -> State:
        if interrupt({"pay": state["what"]}) == "yes":
            done.append(state["what"])
        return {"said": "over"}

    app, thread = graph(pay)
    paused = app.invoke({"what": "rent"}, thread)
    seen.append(paused["__interrupt__"][0].value["pay"])
    app.update_state(thread, {"what": "villa"}, as_node="__start__")
    app.invoke(Command(resume="yes"), thread)
    return f"a person saw {seen[0]!r}; what ran: {done}"


def the_approval_is_used_again_from_an_old_checkpoint() -> str:
    """The run is done; it is resumed once more from the checkpoint before the approval."""
    done = list[str]()

    def pay(state: State) -> State:
        if interrupt("pay?") == "yes":
            done.append(state["what"])
        return {"said": "over"}

    app, thread = graph(pay)
    app.invoke({"what": "rent"}, thread)
    old = app.get_state(thread).config
    app.invoke(Command(resume="yes"), thread)
    app.invoke(Command(resume="yes"), old)
    return f"{len(done)} effects"


def an_unknown_interrupt_id() -> str:
    """An answer to a question that nobody asked."""
    done = list[str]()

    def pay(state: State) -> State:
        if interrupt("pay?") == "yes":
            done.append(state["what"])
        return {"said": "over"}

    app, thread = graph(pay)
    app.invoke({"what": "rent"}, thread)
    outcome = ended(lambda: app.invoke(Command(resume={"0" * 32: "yes"}), thread))
    return f"{outcome}; {len(done)} effects"


if __name__ == "__main__":
    report(
        a_side_effect_before_the_pause,
        the_predicate_flips_after_a_no,
        the_arguments_are_rewritten_before_the_resume,
        the_approval_is_used_again_from_an_old_checkpoint,
        an_unknown_interrupt_id,
    )
