"""The protection of a link's frames after its handshake: a key per direction, and a counted MAC on every frame.

    shared     X25519 of the two ephemeral keys, whose public halves are the nonces of challenge and hello
    keys       HKDF-SHA256(shared, label || SHA-256(transcript)): 32 bytes for the frames of each, the dialler first
    on a wire  frame || MAC(key of the direction, number of the frame in that direction, frame)

The frame itself stays readable: its secret parts are sealed in an envelope. A frame that was changed, made by
another, sent twice, left out, moved, sent back or taken from another link has a wrong MAC. The number does not travel;
both sides count. A carrier on the path can delay and cut, and nothing else.
"""

from __future__ import annotations

from typing import Self

from mcp_a2a.protocol import crypto
from mcp_a2a.protocol.crypto import FrameMac

TAG_SIZE = crypto.FRAME_TAG_SIZE

_KEYS_LABEL = b"mcp-a2a/v2/link-keys\0"


class LinkKeys:
    """One end's keys of one link."""

    __slots__ = ("open_untrusted", "receiving", "sending", "tagged")

    def __init__(self, sending: FrameMac, receiving: FrameMac) -> None:
        self.sending, self.receiving = sending, receiving
        self.tagged = sending.tagged
        """Makes our next frame as it travels."""
        self.open_untrusted = receiving.open_untrusted
        """Makes their next frame of what came; raises `RemoteProtocolError` as `FrameMac.open_untrusted` does."""

    @classmethod
    def derive(cls, shared: bytes, transcript: bytes, *, is_dialler: bool) -> Self:
        """The keys that both ends come to. `transcript` is everything that both have signed."""
        both = crypto.derive(shared, _KEYS_LABEL + crypto.sha256(transcript), 2 * crypto.FRAME_KEY_SIZE)
        dialler, listener = both[: crypto.FRAME_KEY_SIZE], both[crypto.FRAME_KEY_SIZE :]
        if is_dialler:
            return cls(FrameMac(dialler), FrameMac(listener))
        return cls(FrameMac(listener), FrameMac(dialler))

    def rest(self) -> None:
        """Nothing is said for now."""
        self.sending.rest()
        self.receiving.rest()
