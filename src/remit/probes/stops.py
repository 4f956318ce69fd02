"""Workers that are killed: `python -m remit.probes.lives` dies at each append, and finishes in another life."""

from __future__ import annotations

from remit.probes.ground import Ground, expect
from remit.probes.killed import lives


async def a_kill_at_any_append_repeats_no_effect_and_forgets_no_ruling(ground: Ground) -> None:
    """kill -9 just before and just after every commit of the flow: start, ask, rule, resume, effect, settle"""
    unharmed, *killed = await lives(ground, "appends")
    expect(unharmed["effects"] == 1 and unharmed["said"] == "done", f"unharmed it doesn't work: {unharmed}")
    expect(len(killed) >= 10, f"only {len(killed)} kills: the flow has more appends than that")
    for life in killed:
        expect(life["effects"] == 1, f"killed {life['killed']}, the effect happened {life['effects']} times")
        expect(life["said"] == "done", f"killed {life['killed']}, the run ended {life['said']}")
        expect(life["rulings"] == 1, f"killed {life['killed']}, it was ruled on {life['rulings']} times")
        expect(life["verifies"], f"killed {life['killed']}, the journal doesn't verify")


async def a_kill_between_effect_and_settlement_is_never_settled_by_guess(ground: Ground) -> None:
    """kill -9 inside the tool, after its effect and before its record; the tool may run once, or has a key"""
    for life in await lives(ground, "effects"):
        expect(life["effects"] == 1, f"{life['killed']}: the effect happened {life['effects']} times")
        wanted = "done" if life["killed"] == "keyed" else "waiting"
        expect(life["said"] == wanted, f"{life['killed']}: nobody knows whether it happened, and it is {life['said']}")
        expect(life["verifies"], f"{life['killed']}: the journal doesn't verify")
