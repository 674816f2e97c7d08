"""The obstacles and the ends of a delivery, in words: each code of a refusal, and each obstacle."""

from __future__ import annotations

from mcp_a2a.errors.delivery import RefusedError
from mcp_a2a.errors.remedy import Remedy, plain
from mcp_a2a.node.delivery.model import Block, Obstacle
from mcp_a2a.node.delivery.schedule import FILE_LOST, TOO_LARGE_FOR_RELAY
from mcp_a2a.protocol.blob import MAX_RELAYED_SIZE
from mcp_a2a.protocol.replay import said_of_time

CLOCK_HINT = "Put the clock right that is off, and send it again."
LATER = plain("Send it again when both are on one network, a smaller one, or where it can be fetched.")

REFUSALS = {
    "blocked": "it does not take messages from you",
    "not_trusted": "its owner has not trusted you, and its list of waiting strangers has no place for more from you",
    "unanswered": "its owner did not accept you within 24 hours",
    "too_many_open": "you have too many unfinished tasks there",
    "stale": "by its clock the message has expired or is not yet valid; check the clocks of both machines",
    "conversation_full": "the conversation of this task is as long as it may be; go on in another one",
    "hop_limit": "the task was passed on too often",
    "key_reused": "you used this idempotency key before, for another request",
    "file_damaged": "a file did not arrive as it was sent",
    TOO_LARGE_FOR_RELAY: "only a relay reaches it, and a file is larger than may go through one (10 MiB)",
    FILE_LOST: "a file that was to be sent is no longer here",
    "rejected": "its node could not read the message, also when it was sealed anew",
}
"""The meaning of the codes of a final refusal, for a person. An unknown code is shown as it came."""

NO_ROOM = {
    "file_quota": "The agent {} has no room for more files from you.",
    "file_no_room": "The disk of the agent {} has no room for a file of this size.",
}
"""Codes that mean no refusal of what was asked: its sender reads that there is no room, and whose room it is."""

NOT_KEPT = {
    "file_quota": "its recipient has no room for more files from this agent",
    "file_no_room": "the disk of its recipient has no room for it",
    TOO_LARGE_FOR_RELAY: "only a relay reaches its recipient, and it is larger than may go through one (10 MiB)",
    FILE_LOST: "it is no longer on the machine of the agent",
}
"""Why a result arrived without a file of it. The asker reads it."""

MAKE_ROOM = Remedy(
    "Send it without the file, or ask its owner to make room: mcp-a2a forget --older-than 30d, on that agent's machine."
)

RELAY_REFUSALS = {
    "no_mailbox": "it has no mailbox for that agent, which was never there or not for 90 days",
    "mailbox_full": "the agent's mailbox is full",
    "quota": "the agent's mailbox holds as many messages from you as it may",
    "rate_limited": "you send more messages a minute than it takes",
    "too_large": "the message is larger than it takes",
    "storage_full": "its disk is full",
    "not_admitted": "it is a closed relay, and you are not admitted",
    "revoked": "its operator has revoked your key",
    "busy": "it has too much to do",
    "duplicate": "it holds another message under the same number",
    "reserved": "the other half of the agent's mailbox is for those it shares a network with, or wrote to",
    "share": "your network, or your address, takes up as much of its disk as it may",
}
"""The meaning of a relay's codes. A relay may change its mind, so none of them ends a task."""

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


def relay_refusal(code: str) -> str:
    """The meaning of a relay's code, in words."""
    return said_of_time(code, "the message") or RELAY_REFUSALS.get(code, f"it answers {code!r}")


def refused(name: str, code: str) -> RefusedError:
    """The error that a code of a final refusal means."""
    stale = code.removeprefix("stale:")
    if stale != code:
        return RefusedError(name, stale, CLOCK_HINT)
    error = RefusedError(name, REFUSALS.get(code, f"it answered {code!r}"))
    if code in NO_ROOM:
        error.message, error.remedy = NO_ROOM[code].format(name), MAKE_ROOM
    elif code.startswith("file_"):
        error.remedy = LATER
    return error


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
