"""Diagnostics: a ping of one agent, a check of the whole network."""

from __future__ import annotations

from pydantic import Field

from mcp_a2a.api.request import Request
from mcp_a2a.api.view import AgentRef, View
from mcp_a2a.protocol.untrusted import Fact, PeerText


class PingView(View):
    """The answer to a ping: the round trip in `ms`; None without an answer, with the reason in `detail`."""

    agent: AgentRef
    route: Fact | None = None
    address: PeerText | None = None
    ms: float | None = None
    detail: PeerText | None = None
    tried: tuple[PeerText, ...] = ()


class PingRequest(Request[PingView], operation="ping"):
    """One sealed message to an agent, and its signed receipt back.

    Raises:
        PeerNotFoundError, AmbiguousNameError
    """

    agent: str
    timeout_seconds: float = Field(default=5, gt=0, le=60)


class CheckView(View):
    """One thing that was tried out."""

    name: PeerText
    ok: bool
    absent: bool = False
    """There is nothing to try out: no relay is known, or discovery on the LAN is switched off."""
    detail: PeerText
    ms: float | None = None


class NetcheckView(View):
    """Everything that was tried out, nearest first."""

    checks: tuple[CheckView, ...]


class NetcheckRequest(Request[NetcheckView], operation="netcheck"):
    """Test the ways of the network that work from here, now."""
