"""Where file paths lead: outside of the folders they may be in, through `..`, links, encodings or odd spellings.

A path is judged after it was resolved as the system would resolve it, links included, and never by its text.
Between this look and the tool's use of the file a link can change: a tool that matters opens below a folder
descriptor, or works where nobody else can write.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import msgspec

from remit.core.detectors import Detector, Finding, Places, Report, texts
from remit.errors import BadInput

_SLASHES = {ord(character): "/" for character in "\\\u2044\u2215\u29f8\u2571"}
_DEVICES = ("/dev", "/proc", "/sys")
_ODD = re.compile(r"[\x00-\x1f\x7f]")


class PathFacts(msgspec.Struct, frozen=True):
    """Where the paths in a call's arguments lead."""

    outside: bool = False
    """Some path, resolved, is in none of the roots; also true of what can't be resolved."""
    traversal: bool = False
    """`..` as a part of the path, however it is written."""
    absolute: bool = False
    links: bool = False
    """A symbolic link on the way."""
    hidden: bool = False
    """A part that begins with a dot: `.ssh`, `.git`, `.env`."""
    devices: bool = False
    """/dev, /proc or /sys."""
    odd: bool = False
    """Control characters, percent-encoding, `~`, a drive or a share, look-alikes of `.` and `/`: another program may
    read it as another path."""
    suffixes: tuple[str, ...] = ()
    """File name endings, lower case, with the dot."""
    resolved: tuple[str, ...] = ()


def paths(roots: Sequence[str], relative_to: str = "", name: str = "paths") -> Detector[PathFacts]:
    """Returns a detector of where paths lead.

    Args:
        roots: folders that a path may be in; links in their own names are resolved once, now.
        relative_to: what relative paths are relative to; the first root unless said.

    Raises:
        BadInput: no root, or one that is not a folder.
    """
    if not roots:
        raise BadInput("paths need at least one root that they may be in")
    allowed = []
    for root in roots:
        if not os.path.isdir(root):
            raise BadInput(f"the root `{root}` is not a folder")
        allowed.append(os.path.realpath(root))
    start = os.path.realpath(relative_to) if relative_to else allowed[0]

    def look(places: Places) -> Report[PathFacts]:
        flags: set[str] = set()
        suffixes: set[str] = set()
        resolved: list[str] = []
        findings = []
        for pointer, text in texts(places):
            here = _flags(text)
            target = _resolved(text, start)
            if target is None or not any(
                target == root or target.startswith(root.rstrip("/") + "/") for root in allowed
            ):
                here.add("outside")
            if target is not None:
                resolved.append(target)
                here |= _ways(text, target, start)
                if (suffix := Path(target).suffix.lower()) != "":
                    suffixes.add(suffix)
            flags |= here
            findings += [Finding(kind, pointer, 0, len(text)) for kind in sorted(here)]
        said = {field: field in flags for field in _FLAGS}
        return Report(PathFacts(**said, suffixes=tuple(sorted(suffixes)), resolved=tuple(resolved)), tuple(findings))

    return Detector(name, PathFacts, look)


_FLAGS = ("outside", "traversal", "absolute", "links", "hidden", "devices", "odd")


def _flags(text: str) -> set[str]:
    """Returns what the spelling alone tells, in every reading that some program may give it."""
    found: set[str] = set()
    decoded = text
    for _ in range(3):
        decoded = unquote(decoded)
    folded = unicodedata.normalize("NFKC", decoded).translate(_SLASHES)
    for reading in (text, text.translate(_SLASHES), decoded, folded):
        # Windows drops dots and spaces at the end of a name.
        if any(part.startswith("..") and not part.strip(". \n") for part in reading.split("/")):
            found.add("traversal")
    if any(part.startswith(".") and part.strip(". \n") for part in folded.split("/")):
        found.add("hidden")
    if folded != unicodedata.normalize("NFC", text) or "\\" in text or "$" in text or not text:
        found.add("odd")
    if _ODD.search(text) or any(unicodedata.category(character) == "Cf" for character in text):
        found.add("odd")
    if any(part != part.strip() for part in text.split("/")):
        found.add("odd")
    if text.startswith("~") or ":" in text:
        found.add("odd")  # a home, a drive, a stream, a URL
    if text.startswith("/"):
        found.add("absolute")
    return found


def _resolved(text: str, start: str) -> str | None:
    if not text or "\0" in text:
        return None
    try:
        return os.path.realpath(os.path.join(start, text))
    except (OSError, ValueError):
        return None


def _ways(text: str, target: str, start: str) -> set[str]:
    found: set[str] = set()
    plain = os.path.normpath(os.path.join(start, text)).replace("//", "/")
    if any(target == device or target.startswith(device + "/") for device in _DEVICES):
        found.add("devices")
    # As written, part by part: `link/../x` goes through the link although normalising hides it.
    here = "/" if text.startswith("/") else start
    for part in text.split("/"):
        if part in ("", "."):
            continue
        here = os.path.join(here, part)
        if part != ".." and os.path.islink(here):
            found.add("links")
            break
    if plain != target:
        found.add("links")
    return found
