"""Names for files that a peer named: new, short, and harmless to every file system and terminal.

A peer's name is a wish. What becomes of it has no folder in it, is not hidden, is no device on any system, and does
not pretend to be another kind of file by text that runs backwards.
"""

from __future__ import annotations

import re
from collections.abc import Container
from itertools import count

from mcp_a2a.protocol.text import clean

MAX_NAME_BYTES = 120
"""File systems take 255, less what encrypting ones need; and a number may have to go in."""
MAX_SUFFIX_CHARS = 16

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\n\t]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])", re.IGNORECASE)


def safe_name(wished: str | None, fallback: str = "file") -> str:
    """A name for a new file, close to the one that was wished for."""
    last = re.split(r"[/\\]", clean((wished or "")[:4096]))[-1]
    plain = " ".join(_FORBIDDEN.sub("_", last).split()).strip(". ").lstrip("-~")
    stem, suffix = split_name(plain)
    if not stem.strip("._ "):
        stem = fallback
    if _RESERVED.fullmatch(stem.partition(".")[0].strip()):
        stem = f"_{stem}"
    return _cut(stem, MAX_NAME_BYTES - len(suffix.encode())) + suffix


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or with a number in it where it is taken."""
    if name.casefold() not in taken:
        return name
    return next(found for number in count(2) if (found := numbered(name, number)).casefold() not in taken)


def numbered(name: str, number: int) -> str:
    """The name with a number in it: "report (2).pdf"."""
    stem, suffix = split_name(name)
    return f"{stem} ({number}){suffix}"


def split_name(name: str) -> tuple[str, str]:
    """The name without and the suffix with its dot; a long suffix is none."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or not suffix or len(suffix) > MAX_SUFFIX_CHARS or " " in suffix:
        return name, ""
    return stem, dot + suffix


def _cut(text: str, limit: int) -> str:
    return text.encode()[: max(1, limit)].decode(errors="ignore").rstrip(". ")
