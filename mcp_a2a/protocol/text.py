r"""Text that a peer wrote, made harmless to look at; what it says is still nobody's instruction.

Removed: control characters except newline and tab, terminal escape sequences, marks that reorder
text, and every character that cannot be seen (zero-width, fillers, variation selectors, the tag
block), because what a person cannot see a model would still read. Other line breaks become \n, and
the rest is in Unicode's composed form (NFC).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

PREVIEW_CHARS = 64
"""How much of a stranger's text a person is shown."""

MAX_COMBINING_RUN = 30
"""Marks on one character, the limit of Unicode's Stream-Safe format. More is an attack: composing a
run takes time that grows with its square (30 s for 200 kB)."""

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
    r"\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_MARKS_OF_CLASS_0 = "\u0f73\u0f75\u0f81"
"""They count as no mark themselves, but are composed of two."""


def unicode_text(text: str) -> str:
    """The text as Unicode: surrogate pairs joined, U+FFFD for each half without its other half.

    Python strings from `json`, `os.fsdecode` and models may hold such halves, which no encoding takes. Never raises.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean(text: str) -> str:
    """The text without anything that hides, reorders or controls. Never raises; idempotent."""
    # Deleting the plain bytes to see if any is left is eight times as fast as a pattern.
    if text.isascii() and not text.encode().translate(None, _PLAIN):
        return text
    shown = _without_unseen(text)
    return shown if shown.isascii() else _composed(shown)


def preview(text: str, limit: int = PREVIEW_CHARS) -> str:
    """The beginning of the cleaned text in one line of at most `limit` characters, for a person."""
    # Enough to fill the line even if most of it is spaces or invisible; a stranger's megabyte is
    # not worth more.
    line = " ".join(clean(text[: limit * 64]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _without_unseen(text: str) -> str:
    if not _UNSEEN.search("".join(set(text))):  # few different letters, however long the text
        return text
    text = _ESCAPE_SEQUENCE.sub("", text)
    return _UNSEEN.sub("", _LINE_BREAK.sub("\n", text))


def _composed(text: str) -> str:
    letters = set(text)
    if not any(map(unicodedata.combining, letters)) and letters.isdisjoint(_MARKS_OF_CLASS_0):
        return unicodedata.normalize("NFC", text)
    # Shortened again, because composing may take a mark apart into two.
    return _shorten_runs(unicodedata.normalize("NFC", _shorten_runs(text)))


def _shorten_runs(text: str) -> str:
    return _long_run().sub(r"\1", text)


@lru_cache(maxsize=1)
def _long_run() -> re.Pattern[str]:
    # Which characters are marks is known to unicodedata only; asking for all of them takes 10 ms,
    # once.
    marks = "".join(chr(code) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code)))
    return re.compile(f"([{marks}{_MARKS_OF_CLASS_0}]{{{MAX_COMBINING_RUN}}})[{marks}{_MARKS_OF_CLASS_0}]+")
