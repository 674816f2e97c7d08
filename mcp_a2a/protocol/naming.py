"""Names that agents give themselves: the form in which they are shown, and the names that look alike.

A name is a label of its owner's choice, so it is kept too short and too plain to be an instruction, and two names
that a person cannot tell apart are never taken for two. Look-alikes are compared by their skeleton (Unicode Technical
Standard 39, section 4), which covers letters of other scripts, full width and styled letters, capitals, and the
separators, for which one stands.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal, TypeAlias

from mcp_a2a.protocol.text import clean

NAME_CHARS = 32
SEPARATORS = " -._"
NAME_RULE = (
    f"a name is 1 to {NAME_CHARS} letters, digits, spaces, hyphens, dots and underscores, with a letter or digit first"
)
TAKEN = ("self",)
"""Words that commands and tools take for this node itself, so no agent can be reached by such a name."""
TAKEN_RULE = "`self` always means this node, and what begins like a key means a key, so neither can be a name"

_ASCII = {"0": "o", "1": "l", "i": "l", "m": "rn"}
"""The whole table for ASCII in one case, so that most names need not load it."""

_DIRECTION = "\u200e"
_ODD = {"\u0138": "k"}  # kra, to which Unicode's table takes the Cyrillic letter


ELLIPSES = ("…", "...")
"""Marks that a table puts in place of the beginning of a task id."""


@lru_cache(maxsize=8192)
def shown_name(name: str) -> str:
    """A name as it is shown: at most 32 letters and digits of any script in composed form, with separators between.

    Everything else is left out. Empty where nothing is left. Idempotent.
    """
    # What is longer is cut before the work, what is invisible does not count.
    plain = "".join(c if _is_letter(c) or c in "-._" else " " for c in clean(name[: NAME_CHARS * 64]))
    return " ".join(plain.split())[:NAME_CHARS].strip(SEPARATORS)


def tail_of(asked: str) -> str:
    """The end of a task id that a table showed as `…jdmp5a`, ellipsis and all; empty for anything else."""
    asked = asked.strip()
    mark = next(filter(asked.startswith, ELLIPSES), asked)
    return asked[len(mark) :]


SHORT_KEY = len("z6Mk") + 12
"""Letters of a key that stand for it: those that all keys begin with, and 12 that take 2^70 keys to imitate."""

_KEY_BEGINNING = re.compile(rf"(?:did:key:)?(z6Mk[1-9A-HJ-NP-Za-km-z]{{{SHORT_KEY - 4},64}})")


def short_key(did: str) -> str:
    """A did as a model is shown it: the beginning of its key, which every tool takes for the whole."""
    found = _KEY_BEGINNING.fullmatch(did)
    return found[1][:SHORT_KEY] if found else did


@lru_cache(maxsize=1024)
def key_beginning(asked: str) -> str:
    """The beginning of a did that this text means: a whole did, or its `short_key`; empty if it means no key.

    A name that looks like a key means a key: an agent with such a name is called by its key.
    """
    found = _KEY_BEGINNING.fullmatch(asked.strip())
    return f"did:key:{found[1]}" if found else ""


AgentText: TypeAlias = Literal["did", "short key", "url", "name"]
"""The kinds of text that name an agent."""

Counterpart: TypeAlias = Literal["sealed", "http", "caller"]
"""Kinds of other sides: an agent with a key, an agent at a URL, a program that calls this node (it has no courier)."""

CALLER = "caller:"
"""Begins what stands for a client of our A2A server. `caller:owner` is the owner of this node."""


@lru_cache(maxsize=1024)
def kind_of_agent(text: str) -> AgentText:
    """The kind of a text that names an agent. Only its beginning is checked, or its form as a short key."""
    begun = text.strip().lower()
    if begun.startswith("did:"):
        return "did"
    if begun.startswith(("https://", "http://")):
        return "url"
    return "short key" if key_beginning(text) else "name"


@lru_cache(maxsize=1024)
def counterpart_of(key: str) -> Counterpart:
    """The kind of the other side of a task, by its name in the journal: a did, a URL or `caller:NAME`."""
    if key.startswith("did:"):
        return "sealed"
    return "caller" if key.startswith(CALLER) else "http"


def is_name(name: str) -> bool:
    """True if a name is shown just as it is written. `NAME_RULE` says when."""
    return bool(name) and shown_name(name) == name


def why_not_called(name: str) -> str | None:
    """Why a person cannot call an agent so: the rule that the name breaks; None where it breaks none."""
    if not is_name(name):
        return NAME_RULE
    return TAKEN_RULE if key_beginning(name) or any(look_alike(name, word) for word in TAKEN) else None


@lru_cache(maxsize=8192)
def claimed_name(name: str) -> str:
    """The shown form of the name that an agent gives itself; empty if the name means something else here."""
    shown = shown_name(name)
    return "" if why_not_called(shown) else shown


def same_name(one: str, other: str) -> bool:
    """True if two names are written alike, but for capitals."""
    return _folded(one) == _folded(other)


def look_alike(one: str, other: str) -> bool:
    """True if a person may take one name for the other."""
    return skeleton(one) == skeleton(other)


@lru_cache(maxsize=8192)
def skeleton(name: str) -> str:
    """The common form of all names that look like this one (UTS 39, 4); for comparing, never for showing."""
    plain = unicodedata.normalize("NFKC", shown_name(name))
    letters = "".join(" " if c in SEPARATORS else c for c in plain)
    # First as written, since a capital looks like other letters than its small form does; then in one case.
    drawn = _drawn(_drawn(letters).casefold())
    return " ".join("".join(map(_plainest, unicodedata.normalize("NFD", drawn))).split())


def _plainest(character: str) -> str:
    """One letter for i, l, I and 1, which differ by the font; and none of the small capitals."""
    if character == "i":
        return "l"
    if character.isascii():
        return character
    drawn_small = unicodedata.name(character, "").removeprefix("LATIN LETTER SMALL CAPITAL ")
    return drawn_small.lower() if len(drawn_small) == 1 else _ODD.get(character, character)


@lru_cache(maxsize=8192)
def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", shown_name(name).casefold())


def _is_letter(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "L" or category == "Nd"


def _drawn(text: str) -> str:
    """The text in the letters that stand for all that look like them."""
    if text.isascii() and not any(c.isupper() for c in text):
        return "".join(_ASCII.get(c, c) for c in text)
    table = _prototypes()
    return "".join(table.get(c, c) for c in unicodedata.normalize("NFD", text))


@lru_cache(maxsize=1)
def _prototypes() -> dict[str, str]:
    """For each letter that looks like others, what stands for all of them.

    The library has Unicode's confusables.txt as pairs; the middle of each star of pairs is its prototype.
    """
    from confusable_homoglyphs.confusables import confusables_data  # noqa: PLC0415  a megabyte that few names need

    # What is written from right to left stands between marks of direction there, as in Unicode's file.
    pairs = {
        text.strip(_DIRECTION): [other["c"].strip(_DIRECTION) for other in others]
        for text, others in confusables_data.items()
    }
    return {text: _prototype(text, pairs) for text in pairs if len(text) == 1}


def _prototype(text: str, pairs: dict[str, list[str]]) -> str:
    # A source has one pair, with its prototype. Of two that have only each other, the shorter is no prototype of a
    # longer one, and of two letters either will do.
    others = pairs[text]
    if len(others) > 1:
        return text
    (other,) = others
    if len(pairs[other]) > 1 or len(other) > 1:
        return other
    return min(text, other)
