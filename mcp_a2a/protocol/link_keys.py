"""What protects the frames of a link after its handshake: a key per direction, and a counted MAC on every frame.

    shared     X25519 of the two ephemeral keys, whose public halves are the nonces of challenge and hello
    keys       HKDF-SHA256(shared, label || SHA-256(transcript)): 32 bytes for the frames of each, the dialler first
    on a wire  frame || MAC(key of the direction, number of the frame in that direction, frame)

The frame itself stays readable: what is secret in it is sealed in an envelope. A frame that was changed, made by
another, sent twice, left out, moved, sent back or taken from another link has a wrong MAC. The number does not travel;
both sides count. Whoever is on the path can delay and cut, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from mcp_a2a.protocol import crypto
from mcp_a2a.protocol.crypto import FrameMac

TAG_SIZE = crypto.FRAME_TAG_SIZE

_KEYS_LABEL = b"mcp-a2a/v2/link-keys\0"


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """One end's keys of one link."""

    sending: FrameMac
    receiving: FrameMac

    @classmethod
    def derive(cls, shared: bytes, transcript: bytes, *, is_dialler: bool) -> Self:
        """The keys that both ends come to. `transcript` is everything that both have signed."""
        both = crypto.derive(shared, _KEYS_LABEL + crypto.sha256(transcript), 2 * crypto.FRAME_KEY_SIZE)
        dialler, listener = both[: crypto.FRAME_KEY_SIZE], both[crypto.FRAME_KEY_SIZE :]
        if is_dialler:
            return cls(FrameMac(dialler), FrameMac(listener))
        return cls(FrameMac(listener), FrameMac(dialler))

    def tagged(self, frame: bytes) -> bytes:
        """Our next frame as it travels."""
        return frame + self.sending.tag(frame)

    def open_untrusted(self, received: str | bytes) -> bytes:
        """Their next frame.

        Raises:
            RemoteProtocolError: the other end did not make it, or not for this place.
        """
        return self.receiving.open_untrusted(received)

    def rest(self) -> None:
        """Nothing is said for now."""
        self.sending.rest()
        self.receiving.rest()
