r"""Text that a peer wrote, made harmless to look at; its words are still no instruction.

Removed: control characters except newline and tab, terminal escape sequences, marks that reorder
text, and every character that cannot be seen (zero-width, fillers, blank braille, variation
selectors, the tag block, noncharacters), because what a person cannot see a model would still read.
Other line breaks become \n, towers of combining marks are cut, and the rest is in Unicode's composed
form (NFC).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

PREVIEW_CHARS = 64
"""Characters of a stranger's text that a person is shown."""

MAX_COMBINING_RUN = 8
"""Marks on one character; no orthography needs more. Composing sorts a run by insertion, so its time
grows with the square of the run (30 s for 200 kB unbounded, 3 s for a megabyte of runs of 29)."""

FEW = 16
"""Characters that are replaced one after the other, which is faster than translating the text."""

_LAST_NEAR, _LAST_MARK = 0xFFFF, 0x1F000
_FAR = re.compile("[\U00010000-\U0010ffff]")
_PLAIN = bytes([0x09, 0x0A, *range(0x20, 0x7F)])
_LINE_BREAK = re.compile("\r\n?|[\x85\u2028\u2029]")
# No body contains a control character, so each attempt ends at the next one and the whole is
# linear.
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # CSI: colours, cursor
    # OSC, DCS, SOS, PM, APC: titles, links, device strings
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x00-\x1f\x7f-\x9f]*+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*+[0-~]"  # the short ones
)
_CONTROLS = re.compile("[\x1b\x90\x98\x9b\x9d-\x9f\r\x85\u2028\u2029]")
"""Beginnings of escape sequences, and line breaks."""

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff"
    # U+FFFD stays: it says that something could not be read.
    # Marks in front of Arabic, Syriac and Kaithi numbers.
    r"\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2]+"
)
_UNSEEN_FAR = frozenset(
    map(
        chr,
        (
            *(0x110BD, 0x110CD, *range(0x13430, 0x13440), *range(0x1BCA0, 0x1BCA4)),  # numbers, hieroglyphs, shorthand
            *(0x1D159, *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)),  # music, tags and selectors
            *(plane << 16 | last for plane in range(1, 17) for last in (0xFFFE, 0xFFFF)),
        ),
    )
)
"""Those beyond U+FFFF, for which a pattern asks range by range."""


def clean(text: str) -> str:
    """The text without anything that hides, reorders or controls. Never raises; idempotent.

    Its time is linear in the length, whatever the characters are.
    """
    # Deleting the plain bytes to see if any is left is eight times as fast as a pattern.
    if text.isascii() and not text.encode().translate(None, _PLAIN):
        return text
    if _UNSEEN.search(text):
        if _CONTROLS.search(text):
            text = _LINE_BREAK.sub("\n", _ESCAPE_SEQUENCE.sub("", text))
        text = _UNSEEN.sub("", text)
    if text.isascii():
        return text
    if not _FAR.search(text):
        return _composed(text, frozenset())
    marks = _marks()
    for letter, apart in marks.apart.items():
        text = text.replace(letter, apart)  # composing takes these apart anyhow, and six times as slowly
    odd = (marks.far | _UNSEEN_FAR).intersection(text)
    return _composed(_replaced(text, odd & _UNSEEN_FAR, ""), odd & marks.far)


def preview(text: str, limit: int = PREVIEW_CHARS) -> str:
    """The beginning of the cleaned text in one line of at most `limit` characters, for a person."""
    # Enough to fill the line even if most of it is spaces or invisible; a stranger's megabyte is
    # not worth more.
    line = " ".join(clean(text[: limit * 64]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _composed(text: str, far: frozenset[str]) -> str:
    if not far and not _marks().near.search(text):
        return unicodedata.normalize("NFC", text)
    # Shortened again, because composing may take a mark apart into two.
    return _shorten_runs(unicodedata.normalize("NFC", _shorten_runs(text, far)), far)


def _shorten_runs(text: str, far: frozenset[str]) -> str:
    # The pattern looks a character up at once only below U+10000, so a nearer mark stands for those beyond.
    shadow = _replaced(text, far, "\u0300")
    kept, at = [], 0
    for run in _marks().run.finditer(shadow):
        kept.append(text[at : run.start() + MAX_COMBINING_RUN])
        at = run.end()
    return "".join((*kept, text[at:])) if kept else text


def _replaced(text: str, letters: frozenset[str], by: str) -> str:
    if len(letters) > FEW:
        return text.translate(dict.fromkeys(map(ord, letters), by))
    for letter in letters:
        text = text.replace(letter, by)
    return text


@dataclass(frozen=True)
class _Marks:
    """The characters that are marks."""

    near: re.Pattern[str]
    """One below U+10000."""
    run: re.Pattern[str]
    """More of those in a row than are kept."""
    far: frozenset[str]
    """Those beyond."""
    apart: Mapping[str, str]
    """Characters beyond that are composed by taking them apart, as notes with their stems and flags."""


@lru_cache(maxsize=1)
def _marks() -> _Marks:
    # Which they are is known to unicodedata only; asking for all of them takes 20 ms, once. Marks that composing does
    # not sort count too: they stack as well.
    letters = list(map(chr, range(0x300, _LAST_MARK)))
    marks = [c for c in letters if unicodedata.category(c) in ("Mn", "Me") or unicodedata.combining(c)]
    near = "".join(mark for mark in marks if ord(mark) <= _LAST_NEAR)
    composed = ((c, unicodedata.normalize("NFC", c)) for c in letters if ord(c) > _LAST_NEAR)
    return _Marks(
        re.compile(f"[{near}]"),
        re.compile(f"[{near}]{{{MAX_COMBINING_RUN + 1},}}"),
        frozenset(mark for mark in marks if ord(mark) > _LAST_NEAR),
        {c: apart for c, apart in composed if len(apart) > 1},
    )


def cleaned_value(value: JsonValue) -> JsonValue:
    """Any JSON with every string in it cleaned, keys too."""
    match value:
        case str():
            return clean(value)
        case dict():
            return {clean(key): cleaned_value(inner) for key, inner in value.items()}
        case list():
            return [cleaned_value(inner) for inner in value]
        case _:
            return value
