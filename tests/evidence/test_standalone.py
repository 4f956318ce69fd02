"""The verifier in a bundle knows what Remit knows, though it shares no code with it."""

from __future__ import annotations

from remit.core.entries import KINDS
from remit.core.lifecycle import CALLS, CallStatus
from remit.core.reviews import REVIEWS
from remit.export import standalone

EVENTS = {
    "allowed": "allow",
    "escalated": "escalate",
    "denied": "deny",
    "in doubt": "in_doubt",
    "intended again": "again",
}


def test_the_verifier_in_a_bundle_knows_every_kind_of_entry() -> None:
    assert set(KINDS) == standalone.KINDS


def test_the_verifier_in_a_bundle_has_the_same_transition_tables() -> None:
    calls = {
        (status.value, EVENTS.get(event, event)): after.value
        for (status, event), after in CALLS.items()
        if status is not CallStatus.REQUESTED
    }
    reviews = {(status.value, event): after.value for (status, event), after in REVIEWS.items()}
    assert calls | reviews == standalone.STEPS
    requested = {event: after for (status, event), after in CALLS.items() if status is CallStatus.REQUESTED}
    assert {EVENTS[event]: after.value for event, after in requested.items() if event in EVENTS} == standalone.STATUS
