"""How the scripts of this folder print what happened; plain Python, because each runs in its framework's venv."""

from __future__ import annotations

import json
from collections.abc import Callable


def ended(act: Callable[[], object]) -> str:
    """Does it, and returns how it ended: an error is an answer, too."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whatever a framework raises
        return f"{type(error).__name__}: {error}"
    return "no error"


def report(*attacks: Callable[[], str]) -> None:
    """Prints a JSON object: the name of each attack -> what it says happened, or the error that ended it."""
    happened = {}
    for attack in attacks:
        said = list[str]()
        broke = ended(lambda attack=attack, said=said: said.append(attack()))
        happened[attack.__name__] = said[0] if said else f"broken off by {broke}"
    print(json.dumps(happened))
