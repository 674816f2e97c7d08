"""Marks of the strings of a view that may hold the words of others: the type says it, and by default they do.

What a view carries leaves this process through one door (`mcp_a2a.server.outgoing`), which reads these marks. A string
without a mark is taken for a peer's, so a field that is added later is fenced until its type says otherwise.
Record: docs/decisions/0024-one-door-for-peer-text.md.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Annotated


class Mark(Enum):
    """The treatment of a string on its way out, beside cleaning it."""

    FACT = auto()
    """Ours, or checked here: shown as it is."""
    NAME = auto()
    """A name that its bearer chose: shown as `protocol.naming` shows names."""
    WHO = auto()
    """The identity of an agent: a did:key, `caller:NAME`, or a URL, which is shown without its path."""
    TOKEN = auto()
    """An id that a stranger may have chosen: shown as it is where it can hold no word, else fenced."""
    WORDS = auto()
    """A text that a peer wrote: fenced."""
    ASKED = auto()
    """A request: fenced, unless `asked_here` beside it says that only the owner of this node wrote it."""


class Whole:
    """Marks a value of any shape that is a peer's through and through, keys too: for a model one fenced JSON text."""


WHOLE = Whole()

Fact = Annotated[str, Mark.FACT]
Name = Annotated[str, Mark.NAME]
Who = Annotated[str, Mark.WHO]
Token = Annotated[str, Mark.TOKEN]
PeerText = Annotated[str, Mark.WORDS]
Asked = Annotated[str, Mark.ASKED]
