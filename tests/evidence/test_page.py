"""`index.html` of an export: everything is on it, links lead somewhere, and what strangers wrote is text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vaults import IBAN, Vault, holds
from worlds import one

from remit import Context
from remit.export.history import ErasureRow, GrantRow, History, PolicyRow
from remit.export.page import CALLS_MAX, write
from remit.export.rows import CallRow, ReviewRow, RulingRow, RunRows
from remit.runtime.erasing import Selection, erase
from remit.runtime.grants import Grant
from remit.store.journal import Journal

TAGS = {
    "html", "meta", "title", "style", "h1", "h2", "h3", "p", "code", "table", "tr", "th", "td", "section", "article",
    "span", "footer", "nav", "ul", "li", "a", "br",
}  # fmt: skip


class Page(HTMLParser):
    """What a browser would make of it: the places, the links, the tags and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data

    def check(self) -> None:
        assert self.tags <= TAGS, self.tags - TAGS
        assert self.attributes <= {"id", "href", "class", "lang", "charset", "name", "content", "http-equiv"}
        assert len(self.ids) == len(set(self.ids))
        for link in self.links:
            assert link.startswith("#") and link[1:] in self.ids, link


async def test_an_export_shows_policies_grants_erasures_and_reviews_and_links_them_both_ways(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    vault.policy({"id": "small", "allow": "args.amount < 5"}, escalate="args.amount >= 5").staff("ann")
    vault.queues(single_operator=False, desk={"reviewers": ["ann"], "ttl": "1h", "grant": {"uses": 5, "for": "2h"}})
    await vault.key()
    act = vault.act(repeat="keyed")

    async def ask(ctx: Context, amount: int) -> str:
        return await ctx.call(act, what=IBAN, amount=amount)

    graph, runs = one(ask, act), []
    async with vault.runtime(graph) as runtime:
        for amount in (7, 8, 1):
            report = await runtime.run(graph, amount, principal="me")
            for review in report.reviews:
                await vault.rule(review, by="ann", grant=Grant("args.amount < 9", 3, "1h"))
                report = await runtime.resume(report.run)
            runs.append(report.run)
    vault.policy({"id": "all", "allow": "true"})
    async with vault.runtime(graph):
        pass
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        await erase(journal, vault.clock, Selection(run=runs[2]), by="ann", reason="article 17")
    out = await vault.out()
    page = Page((out / "index.html").read_text(encoding="utf-8"))
    page.check()
    (grant,) = [name.removeprefix("grant/") for name in {entry for entry in await streams(vault)} if "grant/" in name]
    places = [f"call-{run}-work#0" for run in runs] + [f"run-{run}" for run in runs]
    assert {*map(quote, places), f"review-{grant}", f"grant-{grant}", "totals", "runs", "policies", "erasures"} <= {
        *page.ids
    }
    links = [unquote(link[1:]) for link in page.links]
    assert links.count(f"review-{grant}") >= 2  # from its call, and from its grant
    assert links.count(f"call-{runs[0]}-work#0") >= 1  # from its review
    assert links.count(f"grant-{grant}") == 1 and links.count(f"call-{runs[1]}-work#0") == 1  # use and grant
    words = ("granted by", "args.amount < 9", "1 of 3 times", "article 17", "2 loaded", "3 settled", "by the tool")
    assert [word for word in words if word not in page.text] == []
    assert holds(out)


async def streams(vault: Vault) -> list[str]:
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        return await journal.streams()


async def test_what_is_withheld_is_not_on_the_page(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    await vault.key()
    await vault.live([1, 7])
    page = (await vault.out(withhold=["/args/what", "/result"]) / "index.html").read_text(encoding="utf-8")
    assert IBAN not in page and "not disclosed" in page


# --- any text ----------------------------------------------------------------------------------------------

_HOSTILE = ["<script>", "</td>", '" onclick="x', "javascript:x", "a#b[0]", "%23", "&"]
_TEXT = st.text(max_size=12) | st.sampled_from(_HOSTILE)


@st.composite
def told(draw: st.DrawFn) -> tuple[list[RunRows], History]:
    text = lambda: draw(_TEXT)  # noqa: E731 - short, in a table
    names = draw(st.lists(_TEXT.filter(bool), min_size=1, max_size=3, unique=True))
    ruling = RulingRow(text(), text(), text(), True, text(), text(), False)
    calls = [
        CallRow(
            name, text(), text(), text(), text(), text(), text(), text(), text(), "allow", (text(),), (text(),),
            "settled", {text(): text()}, text(), "", text(), 1, "0", (text(),), text(), f"person {text()}",
            {text(): text()}, text(), (ruling,), {}, text(), (text(),), (text(),),
        )
        for name in names
    ]  # fmt: skip
    reviews = [ReviewRow(text(), name, text(), text(), text(), text(), text(), False, (ruling,)) for name in names]
    run = RunRows(text(), text(), text(), text(), text(), text(), text(), text(), (), tuple(calls), tuple(reviews))
    policies = tuple(PolicyRow(text(), text(), text(), text(), text(), 1, text(), text(), None) for _ in range(2))
    grants = (GrantRow(text(), text(), text(), text(), text(), (text(),), text(), text(), 2, text(), None,
                       ((text(), run.run, names[0]),)),)  # fmt: skip
    erasures = (ErasureRow(text(), text(), (text(),), text(), text()),)
    return [run], History(policies, grants, erasures, tuple(reviews[:1]))


@given(told())
def test_whatever_was_written_the_page_is_well_formed_and_its_links_lead_somewhere(
    rows: tuple[list[RunRows], History],
) -> None:
    html = b"".join(write(*rows, {"exported": "now"})).decode()
    Page(html).check()
    assert all(character.isprintable() or character == "\n" for character in html)


@pytest.mark.parametrize("more", [0, 1])
def test_a_page_shows_so_many_calls_and_says_how_many_more_there_are(more: int) -> None:
    call = CallRow(*[""] * 9, "allow", (), (), "settled", {}, None, "", "", 1, "0", (), "")  # type: ignore[arg-type]
    runs = [RunRows(f"r{number}", *[""] * 7, (), (call,) * (CALLS_MAX // 2 + more)) for number in range(2)]  # type: ignore[arg-type]
    html = b"".join(write(runs, History(), {})).decode()
    assert html.count("<article") == CALLS_MAX
    assert len(re.findall(r"(\d+) more calls are not shown", html)) == more


def test_reviews_and_long_values_are_bounded_too_and_nothing_links_to_what_is_not_shown() -> None:
    reviews = tuple(ReviewRow(f"w{number}", "c", *[""] * 5, False) for number in range(CALLS_MAX + 3))
    call = CallRow(
        "c", *[""] * 8, "allow", (), (), "settled", {"a": "x" * 50_000}, None, "", "", 1, "0", (), "",
        reviews=("w1", f"w{CALLS_MAX + 1}"),
    )  # type: ignore[arg-type]  # fmt: skip
    runs = [RunRows("r", *[""] * 7, (), (call,), reviews)]  # type: ignore[arg-type]
    html = b"".join(write(runs, History(), {})).decode()
    Page(html).check()
    assert html.count("<article") == CALLS_MAX + 1 and "3 more are not shown here" in html
    assert "x" * 10_001 not in html and "cut: 50,000 characters" in html
