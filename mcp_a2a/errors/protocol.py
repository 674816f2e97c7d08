"""The rules of a protocol were broken. A remote side never reads these: it hears one uniform answer."""

from __future__ import annotations

from mcp_a2a.errors import McpA2AError


class ProtocolError(McpA2AError, code="protocol"):
    """The rules of a protocol were broken."""


class LocalProtocolError(ProtocolError, code="local_protocol", quotes=False):
    """We broke them: a bug of ours."""


class RemoteProtocolError(ProtocolError, code="remote_protocol"):
    """They broke them: the only error that a function fed by the network may raise."""


class EnvelopeError(RemoteProtocolError, code="envelope", exit_code=5):
    """An envelope was refused. The remote side only ever hears one uniform answer."""


class SealBrokenError(EnvelopeError, code="seal_broken"):
    """It does not open with our key, or its inside is damaged, or the signature is not its sender's."""


class NotForUsError(EnvelopeError, code="not_for_us"):
    """It names another recipient, outside or inside."""


class ReplayedError(EnvelopeError, code="replayed"):
    """We accepted this very message before."""


class StaleError(EnvelopeError, code="stale"):
    """It has expired, comes from the future, or claims to live too long."""

    def __init__(self, message: str, hint: str = "", *, difference: float | None = None) -> None:
        super().__init__(message, hint)
        self.difference = difference
        """By how many seconds it is dated ahead of our clock; negative: so long ago it ended."""


class UnknownKeyError(EnvelopeError, code="unknown_key"):
    """It was sealed to an encryption key of ours that is unknown or no longer kept; the answer is our current one."""
