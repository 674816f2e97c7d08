"""Obstacles of delivery in words, for a person who asks why nothing happens."""

from __future__ import annotations

from mcp_a2a.node.delivery.model import Block, Obstacle
from mcp_a2a.node.delivery.outcomes import REFUSALS, relay_refusal
from mcp_a2a.protocol.blob import MAX_RELAYED_SIZE

_FIXED = {
    Block.BUSY: "it accepts no more for now",
    Block.CLOCK_DOUBTED: (
        "the message has expired by this machine's clock, but not by the time the machine has been on: it waits until "
        "that clock is confirmed or put right"
    ),
    Block.KEY_NOT_VALID: (
        "its encryption key is not valid at this time: it was not online for a week, or a clock is wrong"
    ),
    Block.KEY_NOT_THERE: (
        "the machine that is there does not have the key of this agent that was shown last: it may be a copy, or "
        "restored from a backup"
    ),
    Block.SYSTEM_LIMIT: "this process has no open file or no memory left for a file",
    Block.TOO_LARGE_FOR_RELAY: f"a file of more than {MAX_RELAYED_SIZE // 1024**2} MiB waits for a direct connection",
}

_TIMED = frozenset({Block.REFUSED, Block.BUSY, Block.CLOCKS})
"""Obstacles of which the time of the next attempt is said."""


def said(obstacle: Obstacle, blame: str | None = None) -> str:
    """Why nothing goes there now. `blame` says whose clock is off, where that is known."""
    if obstacle.block is Block.REFUSED:
        text = relay_refusal(obstacle.code)
    elif obstacle.block is Block.CLOCKS:
        text = blame or REFUSALS["stale"]
    else:
        text = _FIXED[obstacle.block]
    where = f"{obstacle.route.shown}: " if obstacle.route is not None else ""
    when = f"; tried again in {obstacle.seconds:.0f} s" if obstacle.block in _TIMED else ""
    return f"{where}{text}{when}"
