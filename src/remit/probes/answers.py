"""What is neither a yes nor a no, and what nobody said."""

from __future__ import annotations

import asyncio
import os
import sys

from remit.probes.ground import DESK, Ground, expect
from remit.runtime.ambient import System
from remit.runtime.rulings import Said
from remit.testing import VirtualClock


async def silence_is_neither_a_yes_nor_a_no(ground: Ground) -> None:
    """a denial without a reason, and then nothing at all until the deadline"""
    waiting = await ground.waits()
    for reason in ("", " ", "\n", "\t"):
        await ground.refuses(waiting.review, "ann", Said(False, reason))
    expect(await ground.resumes(waiting) == "waiting", "nothing was said, and the run went on")
    ground.clock.advance(3600)
    expect("expired" in await ground.resumes(waiting), "silence is not a no in the end")
    expect(not ground.done, "silence is a yes")


async def malformed_empty_and_free_text_answers_change_nothing(ground: Ground) -> None:
    """answers in the tool's place and edits that are no JSON, empty, free text, or of the wrong type"""
    ground.queues(desk={**DESK, "edit": ["amount"], "respond": True})
    waiting = await ground.waits()
    for answer in (b"", b"yes, do it", b"{", b"5", b"null", b'{"approved":true}', b'"a" "b"', b"\xff"):
        await ground.refuses(waiting.review, "ann", Said(True, "so", answer=answer))
    amounts: tuple[object, ...] = ("5", "five", "", None, 5.5, [], {}, True, float("nan"), 10**400)
    for amount in amounts:
        await ground.refuses(waiting.review, "ann", Said(True, "so", {"amount": amount}))
    await ground.refuses(waiting.review, "ann", Said(False, "no, but", {"amount": 5}))
    await ground.refuses(waiting.review, "ann", Said(True, "so", {"amount": 5}, answer=b'"did it"'))
    expect(await ground.resumes(waiting) == "waiting" and not ground.done, "the run went on")


async def an_approval_of_what_somebody_looked_at_is_not_one_of_what_it_is_now(ground: Ground) -> None:
    """a reviewer approves by the digest of what they saw, and meanwhile another has edited it"""
    ground.queues(desk={**DESK, "approvals": 2, "edit": ["amount"]})
    waiting = await ground.waits()
    seen = (await ground.rules(waiting.review, "ann")).version
    await ground.rules(waiting.review, "bob", Said(True, "so", {"amount": 5}))
    await ground.refuses(waiting.review, "cat", Said(True, "so", digest=seen[:12]))
    expect(await ground.resumes(waiting) == "waiting" and not ground.done, "the run went on")


async def without_a_terminal_nothing_is_approved_by_what_comes_in(ground: Ground) -> None:
    """the command line without a terminal, without a key, its input closed, empty, or full of `yes`"""
    ground.clock = VirtualClock(System().now())
    waiting = await ground.waits()
    for word, text in (("approve", b"yes\n"), ("deny", b""), ("show", b"approve\n")):
        code = await _review(ground, word, waiting.review, text=text)
        expect(word == "show" or code not in (0, None), f"`review {word}` says it went well")
    expect(len(await ground.entries(f"review/{waiting.review}")) == 1, "something was recorded")
    expect(await ground.resumes(waiting) == "waiting" and not ground.done, "it ran")


async def _review(ground: Ground, *words: str, text: bytes) -> int:
    """Runs `remit review` as a program would, and returns how it ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "remit", "review", *words, cwd=ground.folder,
        env={**os.environ, "REMIT_STORE": ground.url},
        stdin=asyncio.subprocess.PIPE if text else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(60):
        await process.communicate(text or None)
    return process.returncode if process.returncode is not None else -1
