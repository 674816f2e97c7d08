"""The rules of a protocol were broken. A remote side never reads these: it hears one uniform answer."""

from __future__ import annotations

from mcp_a2a.errors import McpA2AError


class ProtocolError(McpA2AError):
    """The rules of a protocol were broken."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """We broke them: a bug of ours."""

    code = "local_protocol"


class RemoteProtocolError(ProtocolError):
    """They broke them: the only error that a function fed by the network may raise."""

    code = "remote_protocol"


class EnvelopeError(RemoteProtocolError):
    """An envelope was refused. The remote side only ever hears one uniform answer."""

    code = "envelope"
    exit_code = 5


class SealBrokenError(EnvelopeError):
    """It does not open with our key, or its inside is damaged, or the signature is not its sender's."""

    code = "seal_broken"


class NotForUsError(EnvelopeError):
    """It names another recipient, outside or inside."""

    code = "not_for_us"


class ReplayedError(EnvelopeError):
    """We accepted this very message before."""

    code = "replayed"


class StaleError(EnvelopeError):
    """It has expired, comes from the future, or claims to live too long."""

    code = "stale"

    def __init__(self, message: str, hint: str = "", *, difference: float | None = None) -> None:
        super().__init__(message, hint)
        self.difference = difference
        """By how many seconds it is dated ahead of our clock; negative: so long ago it ended."""


class UnknownKeyError(EnvelopeError):
    """It was sealed to an encryption key of ours that is unknown or no longer kept; the answer is our current one."""

    code = "unknown_key"
