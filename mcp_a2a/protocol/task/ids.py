"""The id of a task, which both sides derive from the message that opens it."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from mcp_a2a.protocol.did import PeerId


def task_id_of(sender: PeerId, message_id: str) -> str:
    """The id of the task that `sender` opens with this message.

    Derived, so that the sender has a handle before a recipient is reached, and a message that arrives twice lands on
    the same task. 120 bits: no two tasks of one sender share an id, and a second message for an id cannot be found.
    """
    return _derived(sender.key, message_id)


# Asked for several times while a task is made, and base 32 is written in Python.
@lru_cache(maxsize=1024)
def _derived(key: bytes, message_id: str) -> str:
    digest = hashlib.sha256(b"mcp-a2a/v1/task\0" + key + message_id.encode()).digest()
    return "task-" + base64.b32encode(digest[:15]).decode().lower()
