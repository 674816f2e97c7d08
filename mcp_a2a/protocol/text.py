r"""Text that a peer wrote, made harmless to look at; what it says is still nobody's instruction.

Removed: control characters except newline and tab, terminal escape sequences, marks that reorder
text, and every character that cannot be seen (zero-width, fillers, blank braille, variation
selectors, the tag block, noncharacters), because what a person cannot see a model would still read.
Other line breaks become \n, towers of combining marks are cut, and the rest is in Unicode's composed
form (NFC).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

PREVIEW_CHARS = 64
"""How much of a stranger's text a person is shown."""

MAX_COMBINING_RUN = 8
"""Marks on one character; no orthography needs more. Composing sorts a run by insertion, so its time
grows with the square of the run (30 s for 200 kB unbounded, 3 s for a megabyte of runs of 29)."""

_LAST_NEAR = 0xFFFF
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
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff"
    # U+FFFD stays: it says that something could not be read.
    # Marks in front of Arabic, Syriac and Kaithi numbers, and the joiners of hieroglyphs and shorthand.
    r"\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    + "".join(f"{chr((plane << 16) | 0xFFFE)}{chr((plane << 16) | 0xFFFF)}" for plane in range(1, 17))
    + "]"
)


def clean(text: str) -> str:
    """The text without anything that hides, reorders or controls. Never raises; idempotent.

    Its time is linear in the length, whatever the characters are.
    """
    # Deleting the plain bytes to see if any is left is eight times as fast as a pattern.
    if text.isascii() and not text.encode().translate(None, _PLAIN):
        return text
    letters = set(text)  # few, however long the text
    if unseen := _UNSEEN.findall("".join(letters)):
        text = _LINE_BREAK.sub("\n", _ESCAPE_SEQUENCE.sub("", text)).translate(dict.fromkeys(map(ord, unseen)))
    return text if text.isascii() else _composed(text, letters)


def preview(text: str, limit: int = PREVIEW_CHARS) -> str:
    """The beginning of the cleaned text in one line of at most `limit` characters, for a person."""
    # Enough to fill the line even if most of it is spaces or invisible; a stranger's megabyte is
    # not worth more.
    line = " ".join(clean(text[: limit * 64]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _composed(text: str, letters: set[str]) -> str:
    marks = _marks()
    if marks.isdisjoint(letters):
        return unicodedata.normalize("NFC", text)
    # Shortened again, because composing may take a mark apart into two.
    return _shorten_runs(unicodedata.normalize("NFC", _shorten_runs(text, letters)), letters)


def _shorten_runs(text: str, letters: set[str]) -> str:
    # The pattern looks a character up at once only below U+10000, so a nearer mark stands for those beyond.
    far = [letter for letter in letters if ord(letter) > _LAST_NEAR and letter in _marks()]
    shadow = text.translate(dict.fromkeys(map(ord, far), "\u0300")) if far else text
    kept, at = [], 0
    for run in _long_run().finditer(shadow):
        kept.append(text[at : run.start() + MAX_COMBINING_RUN])
        at = run.end()
    return "".join((*kept, text[at:])) if kept else text


@lru_cache(maxsize=1)
def _marks() -> frozenset[str]:
    # Which characters are marks is known to unicodedata only; asking for all of them takes 20 ms, once. Marks that
    # composing does not sort count too: they stack as well.
    letters = map(chr, range(0x300, 0x1F000))
    return frozenset(c for c in letters if unicodedata.category(c) in ("Mn", "Me") or unicodedata.combining(c))


@lru_cache(maxsize=1)
def _long_run() -> re.Pattern[str]:
    marks = "".join(sorted(mark for mark in _marks() if ord(mark) <= _LAST_NEAR))
    return re.compile(f"[{marks}]{{{MAX_COMBINING_RUN + 1},}}")
