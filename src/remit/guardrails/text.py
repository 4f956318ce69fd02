"""What a text hides from the person who reads it, or would make a program do that shows it.

Invisible and tag characters, turned reading direction, letters of another script that look alike, terminal
commands, and markdown or HTML that loads or links to somewhere else when it is shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Any

import msgspec

from remit.core.detectors import Detector, Finding, Places, Report, texts
from remit.guardrails.libraries import library

_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
_TAGS = re.compile("[\U000e0000-\U000e007f]")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200d\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]"
)
_ANSI = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]|\x1b[\\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?|\x1b[ -/]*[0-~]|[\x9b\x9d\x90]"
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\x80-\x9a\x9c-\x9f]|\r(?!\n)")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2190-\u21ff\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f1e6-\U0001f1ff#*0-9\u20e3\ufe0f\u200d\U0001f3fb-\U0001f3ff]"
)
_JOINS = re.compile("[\u0600-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u18af]")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_LOADS = {
    "img",
    "script",
    "iframe",
    "object",
    "embed",
    "link",
    "video",
    "audio",
    "source",
    "form",
    "meta",
    "base",
    "svg",
    "style",
    "input",
    "frame",
    "picture",
    "track",
    "body",
    "table",
    "td",
}
_ADDRESSES = {
    "src",
    "href",
    "srcset",
    "action",
    "data",
    "poster",
    "background",
    "formaction",
    "content",
    "xlink:href",
    "ping",
}
_AWAY = re.compile(r"(?i)^\s*(?:https?:)?//|^\s*(?:javascript|data|vbscript|file|ftp):")


_MOST_TAGS = 2_000


class TextFacts(msgspec.Struct, frozen=True):
    """What the texts in a call's arguments, or in a result, hide or would do."""

    invisible: bool = False
    """Characters that show nothing: zero width, fillers, soft hyphens."""
    tags: bool = False
    """Unicode tag characters or runs of variation selectors: whole texts that only a machine reads."""
    bidi: bool = False
    """Marks that turn the reading direction."""
    homoglyphs: bool = False
    """A word with letters of several scripts, of which some look like others."""
    ansi: bool = False
    """Terminal commands."""
    control: bool = False
    images: bool = False
    """Markdown or HTML that loads something from elsewhere when it is shown."""
    links: bool = False
    """Links to elsewhere; see `hosts` of a `urls` detector for where."""
    disguised: bool = False
    """A link whose text names another host than the one it leads to."""
    html: bool = False
    """HTML that runs, loads or hides: scripts, frames, forms, event handlers, comments, hidden elements."""
    oversized: bool = False
    longest: int = 0
    """Characters of the longest text."""


def text(most: int = 100_000, name: str = "text") -> Detector[TextFacts]:
    """Returns a detector of what texts hide or do.

    Args:
        most: characters from which on a text is oversized; of such a text the first `most` are looked at.

    Raises:
        BadInput: markdown-it-py or confusable-homoglyphs is not installed.
    """
    markdown = library("markdown_it").MarkdownIt("commonmark")
    confusables = library("confusable_homoglyphs.confusables")

    def look(places: Places) -> Report[TextFacts]:
        findings: list[Finding] = []
        longest = 0
        for pointer, whole in texts(places, keys=True):
            longest = max(longest, len(whole))
            if len(whole) > most:
                findings.append(Finding("oversized", pointer, most, len(whole)))
            for kind, start, end in _spans(whole[:most], markdown, confusables):
                findings.append(Finding(kind, pointer, start, end))
        kinds = {finding.kind for finding in findings}
        flags = {field: field in kinds for field in TextFacts.__struct_fields__ if field != "longest"}
        return Report(TextFacts(**flags, longest=longest), tuple(findings))

    return Detector(name, TextFacts, look)


def _spans(text: str, markdown: Any, confusables: Any) -> Iterator[tuple[str, int, int]]:
    if not text.isascii():
        for kind, pattern in (("bidi", _BIDI), ("tags", _TAGS), ("tags", _SELECTORS)):
            yield from ((kind, *match.span()) for match in pattern.finditer(text))
        for match in _INVISIBLE.finditer(text):
            if not _belongs(text, match.start()):
                yield "invisible", *match.span()
        for match in _WORD.finditer(text):
            if not match.group().isascii() and _is_disguised(match.group(), confusables):
                yield "homoglyphs", *match.span()
    yield from (("ansi", *match.span()) for match in _ANSI.finditer(text))
    yield from (("control", *match.span()) for match in _CONTROL.finditer(_ANSI.sub(_blank, text)))
    # Markdown and HTML can load or link only with one of these in them.
    if "](" in text or "]:" in text or "<" in text or "][" in text or "&lt" in text:
        yield from ((kind, 0, len(text)) for kind in sorted(_shown(text, markdown)))


def _belongs(text: str, place: int) -> bool:
    """Whether an invisible character does what it is for: joins in scripts that need it, and in emoji."""
    character = text[place]
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if character in "\u200c\u200d":
        if _JOINS.match(before) and _JOINS.match(after):
            return True
        return bool(character == "\u200d" and _EMOJI.match(before) and _EMOJI.match(after))
    return character == "\ufeff" and place == 0


def _is_disguised(word: str, confusables: Any) -> bool:
    """Whether some letters of a word belong to another script than the rest and look like letters of it.

    A word wholly in another script counts as well when each of its letters looks Latin: Cyrillic that reads `coco`.
    """
    scripts = {_script(character) for character in word} - {""}
    if word[0] in "\u00b5\u03bc" and len(word) < 4:
        return False  # micrometres
    if len(scripts) > 1:
        if scripts <= {"CJK", "HIRAGANA", "KATAKANA", "LATIN"} and not scripts & {"CYRILLIC", "GREEK"}:
            return False
        return bool(confusables.is_confusable(word, greedy=False, preferred_aliases=[]))
    if scripts & {"CYRILLIC", "GREEK", "CHEROKEE", "ARMENIAN", "MATHEMATICAL", "FULLWIDTH"}:
        if scripts & {"MATHEMATICAL", "FULLWIDTH"}:
            return unicodedata.normalize("NFKC", word).isascii()
        return len(word) > 3 and all(_looks_latin(character, confusables) for character in word)
    return False


def _looks_latin(character: str, confusables: Any) -> bool:
    found = confusables.is_confusable(character, greedy=True, preferred_aliases=[])
    return bool(found) and any(
        glyph["c"].isascii() and glyph["c"].isalpha() for one in found for glyph in one["homoglyphs"]
    )


def _script(character: str) -> str:
    if not character.isalpha() or _INVISIBLE.match(character):
        return ""
    return unicodedata.name(character, "").partition(" ")[0]


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _shown(text: str, markdown: Any) -> set[str]:
    """Returns what would happen if the text were shown as markdown or HTML."""
    if text.count("<") > _MOST_TAGS or text.count("[") > _MOST_TAGS:
        return {"html", "links", "images"}  # more than a person reads, and than a parser reads soon
    kinds: set[str] = set()
    pending = list(markdown.parse(text))
    linked: str | None = None
    label = ""
    while pending:
        token = pending.pop(0)
        if token.type == "inline":
            pending = list(token.children or []) + pending
        elif token.type == "image":
            kinds |= {"images"} if _AWAY.match(str(token.attrs.get("src", ""))) else set()
        elif token.type == "link_open":
            linked, label = str(token.attrs.get("href", "")), ""
            kinds |= {"links"} if _AWAY.match(linked) else set()
        elif token.type == "link_close":
            kinds |= {"disguised"} if linked is not None and _misleads(label, linked) else set()
            linked = None
        elif token.type == "text" and linked is not None:
            label += token.content
        elif token.type in ("html_block", "html_inline"):
            kinds |= _html(token.content)
    # A mail client shows HTML wherever it stands, code blocks of markdown or not.
    return kinds | (_html(text) if re.search(r"<[a-zA-Z!/]", text) else set())


def _misleads(label: str, target: str) -> bool:
    said = re.search(r"(?:https?://)?((?:[\w-]+\.)+[a-z]{2,24})(?:[/:?#]|$)", label.strip(), re.I)
    leads = re.match(r"\s*(?:https?:)?//(?:[^/@\s]*@)?([^/:?#\s]+)", target, re.I)
    if said is None or leads is None:
        return False
    name, host = said.group(1).lower().removeprefix("www."), leads.group(1).lower().removeprefix("www.")
    return host != name and not host.endswith("." + name)


class _Elements(HTMLParser):
    """Gathers what elements load, link to, run and hide."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.kinds: set[str] = set()
        self._linked: str | None = None
        self._label = ""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        away = any(name in _ADDRESSES and (_AWAY.match(value) or "http" in value) for name, value in given.items())
        if tag in _LOADS and away:
            self.kinds.add("images")
        if tag in ("a", "area"):
            self.kinds |= {"links"} if away else set()
            self._linked, self._label = given.get("href", ""), ""
        if tag in ("script", "iframe", "object", "embed", "form", "meta", "base", "frame", "style", "svg", "template"):
            self.kinds.add("html")
        style = given.get("style", "").replace(" ", "").lower()
        if any(name.startswith("on") for name in given) or given.get("href", "").lower().lstrip().startswith(
            "javascript:"
        ):
            self.kinds.add("html")
        if "hidden" in given or re.search(
            r"display:none|visibility:hidden|font-size:0|opacity:0(?!\.)|color:(#fff|white)", style
        ):
            self.kinds.add("html")
        if "url(" in style:
            self.kinds |= {"images", "html"}

    def handle_endtag(self, tag: str) -> None:
        if tag in ("a", "area") and self._linked is not None:
            self.kinds |= {"disguised"} if _misleads(self._label, self._linked) else set()
            self._linked = None

    def handle_data(self, data: str) -> None:
        if self._linked is not None:
            self._label += data

    def handle_comment(self, data: str) -> None:
        self.kinds |= {"html"} if data.strip() else set()


def _html(text: str) -> set[str]:
    parser = _Elements()
    parser.feed(text)
    parser.close()
    return parser.kinds
