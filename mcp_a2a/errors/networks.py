"""Networks, tickets and relays: which agents find each other past one machine."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.errors import McpA2AError, without_secrets
from mcp_a2a.errors.remedy import Remedy


class NetworkError(McpA2AError, code="network", exit_code=5):
    """A network cannot be joined, changed or left as asked."""


class NetworkNotFoundError(NetworkError, code="network_not_found", exit_code=3):
    """We are a member of no network of that name."""

    remedy = Remedy(
        "Join one with its ticket: mcp-a2a join (it asks for the ticket). Make one: mcp-a2a invite --network NAME"
    )

    def __init__(self, asked: str, known: Sequence[str] = ()) -> None:
        joined = f"You are in: {', '.join(known)}." if known else "You are in none."
        super().__init__(f"There is no network {without_secrets(asked)!r} here. {joined}")


class NotOwnerError(NetworkError, code="not_owner"):
    """Only the agent that made a network can give it a new secret."""

    remedy = Remedy("Ask its owner, or make a network of your own (mcp-a2a invite --network NAME).")

    def __init__(self, network: str, owner: str) -> None:
        super().__init__(f"Only the creator of {network} can give it a new secret: {owner}.")


class NoRelayError(NetworkError, code="no_relay"):
    """A ticket is to be counted or to end, and the network has no relay that would see to it."""

    says = "A ticket with an end or a number of uses needs a relay that counts, and {} has none."
    remedy = Remedy("Name one with --relay, or make a ticket without --uses and --expires.")


class TicketError(NetworkError, code="ticket"):
    """A ticket that does not admit: damaged, expired or used. The message says which."""

    says = "This ticket cannot be used: {}."
    remedy = Remedy("Ask the sender for a new one (mcp-a2a invite).")


class TicketPlaceError(NetworkError, code="ticket_place", exit_code=4):
    """A ticket that would have this machine call an address of its own. A person may know what is there."""

    remedy = Remedy(
        "If this machine is elsewhere, ask for a ticket with an address of the relay that can be reached from "
        "here; if the relay is on this machine: mcp-a2a join --allow-private"
    )

    def __init__(self, place: str, host: str) -> None:
        super().__init__(
            f"With this ticket, this machine would call {place}, and {host} is an address of the machine that made the "
            "ticket. Nothing was called."
        )


class RelayError(NetworkError, code="relay", exit_code=4, retryable=True):
    """A relay cannot be reached, is not the one it was said to be, or does not do what it was asked."""

    remedy = Remedy("See what can be reached: mcp-a2a netcheck")

    def __init__(self, url: str, reason: str, remedy: str | Remedy | None = None) -> None:
        super().__init__(f"The relay {url} cannot be used: {reason}.", remedy)
        self.url, self.reason = url, reason


class NotAdmittedError(RelayError, code="not_admitted", exit_code=5, retryable=False):
    """A closed relay that has admitted neither our key nor a network of ours, or has revoked it."""
