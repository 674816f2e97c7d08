"""The service parameters of a request (A2A 3.2.6), and the refusals because of them, before anything is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.a2a.files import FileUrl
from mcp_a2a.api.a2a import A2AAnswer
from mcp_a2a.protocol.extensions import required_extensions
from mcp_a2a.protocol.model import AgentCard

MAX_OPEN_PER_CALLER = 100
"""Requests of one client at a time, open streams among them: a tenth of all that a server takes."""


class RequestQuota:
    """The number of open requests of each client, so that none keeps the others from being served."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: Counter[str] = Counter()

    def enter(self, caller: str) -> bool:
        """Count a request as open until `leave`; False if the caller has `most` open. The owner has no quota."""
        if caller and self._open[caller] >= self.most:
            return False
        self._open[caller] += 1
        return True

    def leave(self, caller: str) -> None:
        """Count a request as ended."""
        self._open[caller] -= 1


@dataclass(frozen=True)
class Arrival:
    """The connection and the credentials of a call, by which its caller is found."""

    token: str | None
    """None for a call without one, empty for one that cannot be a token."""
    peer: tuple[str, int]
    """The other end of its connection."""
    here: tuple[str, int]
    """This end of its connection."""
    headers: frozenset[str]
    """The names of what came with it."""


def token_of(bearers: Sequence[str], keys: Sequence[str]) -> str | None:
    """The token in the headers Authorization and X-API-Key, empty for what cannot be one; None for none."""
    if not bearers and not keys:
        return None
    if len(bearers) + len(keys) != 1:
        return ""
    if keys:
        return keys[0].strip()
    scheme, _, token = bearers[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


VERSIONS = frozenset({"", "0.3", "1.0"})

CLIENTS_KEY = "client-"
"""So begins an idempotency key here that a client chose."""

MAX_KEY = 256 - len(CLIENTS_KEY)
"""Characters in an Idempotency-Key."""

Patience = Callable[[Awaitable[A2AAnswer]], Awaitable[A2AAnswer]]


async def no_card() -> bytes:
    """For who shows none."""
    return b"null"


def no_url(task_id: str, file_id: str) -> str:
    """For who is served no files: where they are below any server of ours."""
    return f"/files/{task_id}/{file_id}"


async def _at_once(answer: Awaitable[A2AAnswer]) -> A2AAnswer:
    return await answer


@dataclass(frozen=True)
class Service:
    """The service parameters of a request (A2A 3.2.6)."""

    agent: str
    card: AgentCard
    caller: str = ""
    version: str = ""
    extensions: frozenset[str] = frozenset()
    idempotency_key: str | None = None
    push: bool = False
    show_card: Callable[[], Awaitable[bytes]] = no_card
    """The card as it is served to everyone."""
    show_extended: Callable[[], Awaitable[bytes]] = no_card
    """The card as it is served to who has shown who it is."""
    has_extended_card: bool = False
    """True if there is a card for callers that have shown who they are."""
    file_url: FileUrl = no_url
    """The URL of a file of a task."""
    wait_connected: Patience = field(default=_at_once)
    """Waits for what may take long, as long as the caller is there."""
    permitted: Callable[[], bool] = lambda: True
    """True if the caller is still allowed: it, or its agent, may be taken away while it waits."""

    @property
    def active_extensions(self) -> frozenset[str]:
        """The URIs of the extensions that the client asks for and the agent has."""
        return self.extensions & {extension.uri for extension in self.card.capabilities.extensions or ()}

    def check(self) -> None:
        """Tell nothing more to a caller that may no longer.

        Raises:
            Fault: AGENT_NOT_FOUND
        """
        if not self.permitted():
            raise Fault(Kind.AGENT_NOT_FOUND, "This node knows no such agent.")


def check_service(service: Service) -> None:
    """Refuse what is not served here, before anything is done.

    Raises:
        Fault: INVALID_PARAMS, VERSION, EXTENSION_REQUIRED
    """
    if len(service.idempotency_key or "") > MAX_KEY:
        raise Fault(Kind.INVALID_PARAMS, f"The Idempotency-Key is longer than {MAX_KEY} characters.")
    major_minor = ".".join(service.version.split(".")[:2])
    if major_minor not in VERSIONS:
        raise Fault(Kind.VERSION, f"A2A {service.version} is not spoken here; 1.0 and 0.3 are.", supported="1.0, 0.3")
    missing = sorted(set(required_extensions(service.card)) - service.extensions)
    if missing:
        raise Fault(
            Kind.EXTENSION_REQUIRED,
            f"This agent requires extensions that the request does not name in A2A-Extensions: {', '.join(missing)}.",
            extensions=", ".join(missing),
        )
