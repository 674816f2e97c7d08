"""What a line of a client is, as far as a front has to know."""

from __future__ import annotations

import json

from mcp_a2a.front.splitting import Whole

_BOM = "\ufeff"


def message_in(content: Whole) -> object:
    """The JSON of a line, False where there is none to be read; None for a blank line."""
    if not isinstance(content, bytes):
        return False
    text = content.decode("utf-8", "replace").strip().removeprefix(_BOM)
    if not text:
        return None
    try:
        return json.loads(text) or False
    except (ValueError, RecursionError):
        return False


def is_due(message: object) -> bool:
    """True if a line gets an answer: a request does, and what cannot be read (`server.lines`)."""
    if not isinstance(message, dict):
        return True
    is_response = "method" not in message and bool(message.keys() & {"result", "error"})
    return not is_response and ("id" in message or "method" not in message)
