"""What looking up the origin of an argument costs in a run that has read a lot: `python bench/provenance.py`.

1,000 results of 10 KB each, of words and of records; then arguments that are in them, that are put together of them,
and that are nowhere. The cost must grow with the argument and not with the run.
"""

from __future__ import annotations

import random
import resource
import time
from statistics import median
from typing import Any

from remit.core.origins import Lineage
from remit.core.tools import Effect, ToolSpec

ANY: dict[str, Any] = {"type": "object", "properties": {"q": {}}}
READ = ToolSpec("read", "", ANY, ANY, {}, effect=Effect.READ, labels={"/*/body": ("untrusted",), "": ("private",)})
SEND = ToolSpec("send", "", ANY, ANY, {}, effect=Effect.SEND, authority=("q",), content=("q",))
CONSONANTS, VOWELS = "bcdfghklmnprstvwz", "aeiou"


def word(dice: random.Random) -> str:
    return "".join(dice.choice(CONSONANTS) + dice.choice(VOWELS) for _ in range(dice.randint(2, 4)))


def result(dice: random.Random, words: list[str]) -> list[dict[str, object]]:
    """Ten records of 1 KB: a text, an address, an id, an amount."""
    return [
        {
            "id": str(dice.randrange(10**9)),
            "sender": f"{dice.choice(words)}@{dice.choice(words)}.example",
            "amount": dice.randrange(10**6) / 100,
            "body": " ".join(dice.choice(words) for _ in range(130)),
        }
        for _ in range(10)
    ]


def main() -> None:
    """Prints a table: for runs of more and more results, the time that one argument takes."""
    dice = random.Random(1)
    words = [word(dice) for _ in range(20_000)]
    lineage = Lineage()
    lineage.index.add_input("Please answer the mails about the conference and pay what is due")
    read: list[list[dict[str, object]]] = []
    print("| results | adding one | address | amount | sentence of 30 words | seen nowhere | 10 KB text | memory |")
    print("|---|---|---|---|---|---|---|---|")
    for count in (10, 100, 1_000):
        spent = []
        while len(read) < count:
            read.append(result(dice, words))
            began = time.perf_counter()
            lineage.settled(f"t#{len(read)}", READ, {"q": "conference"}, read[-1])
            spent.append(time.perf_counter() - began)
        asked: dict[str, list[object]] = {
            "address": [dice.choice(dice.choice(read))["sender"] for _ in range(200)],
            "amount": [dice.choice(dice.choice(read))["amount"] for _ in range(200)],
            "sentence": [
                " ".join(str(dice.choice(dice.choice(read))["body"]).split()[40:70]) for _ in range(200)
            ],
            "nowhere": [f"{word(dice)}{dice.random()}@nowhere.example" for _ in range(200)],
            "text": [" ".join(dice.choice(words) for _ in range(1_300)) for _ in range(20)],
        }  # fmt: skip
        took = {}
        for what, values in asked.items():
            times = []
            for value in values:
                began = time.perf_counter()
                lineage.origin(SEND, "q", (), value)
                times.append(time.perf_counter() - began)
            took[what] = f"{median(times) * 1e3:.3f} ms (worst {max(times) * 1e3:.2f})"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cells = " | ".join(took[what] for what in asked)
        print(f"| {count:,} | {median(spent) * 1e3:.1f} ms | {cells} | {memory:.0f} MB |")


if __name__ == "__main__":
    main()
