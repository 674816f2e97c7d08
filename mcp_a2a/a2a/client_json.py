"""JSON from any agent, bounded in depth and members, and made of what can be stored."""

from __future__ import annotations

from pydantic import JsonValue

from mcp_a2a.protocol.strict_json import read_json

Fields = dict[str, JsonValue]

MAX_DEPTH = 48


def parse(body: bytes) -> JsonValue:
    """JSON from any agent; bytes that are not UTF-8 are read as U+FFFD.

    Raises:
        ValueError: it is none, or beyond the limits.
    """
    return read_json(body.decode("utf-8-sig", "replace"), max_depth=MAX_DEPTH, mend=True)
