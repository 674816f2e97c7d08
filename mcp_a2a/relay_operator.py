"""The requests and commands of a relay's operator, and the socket on which a running relay takes them.

The questions are those of `api.relay`; the socket is in the relay's own folder, and speaks as that of a node
(`node.ipc`). `relay_admin` is its client.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mcp_a2a.api import relay
from mcp_a2a.api.operations import operations_of
from mcp_a2a.api.relay import (
    RelayAdmitRequest,
    RelayMemberRequest,
    RelayMembersRequest,
    RelayMembersView,
    RelayMemberView,
    RelayRevokeRequest,
    RelayStatusRequest,
    RelayStatusView,
    RelayUrlRequest,
    RelayUrlView,
)
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.mailbox_ports import MailboxStore, RelayMember
from mcp_a2a.node.ipc.server import LocalServer, LocalService
from mcp_a2a.node.runtime.handlers import LocalNode, answers
from mcp_a2a.protocol.admission_secret import ADMISSION_SECRET_SIZE, admission_key
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.relay_url import RelayUrl
from mcp_a2a.store.short_places import RELAY_SOCKET, socket_path
from mcp_a2a.version import __version__
from mcp_a2a_transports.relay.server import RelayListener

MAX_REQUEST = 64 * 1024
MAX_NOTE = 256

OPERATIONS = operations_of(relay)
"""Every question that a relay answers its operator, by the name of its operation."""


@dataclass(frozen=True)
class ServingRelay:
    """A relay that runs."""

    address: RelayUrl
    relay: PeerId
    port: int
    folder: Path
    warnings: tuple[str, ...]
    """Warnings for its operator about the set-up."""
    listener: RelayListener
    fresh_secret: bytes | None = field(default=None, repr=False)
    """The admission secret, where it was made at this start."""

    @property
    def url(self) -> str:
        """The URL for others, with the key that pins it."""
        return str(self.address)

    @property
    def admission_url(self) -> str | None:
        """The same with the admission secret, where it was made at this start. It is to be shown once."""
        return self.address.with_admission(self.fresh_secret) if self.fresh_secret is not None else None


class Operator(LocalNode):
    """The operator's questions and commands, to a running relay or to its folder."""

    def __init__(
        self,
        folder: Path,
        relay: PeerId,
        store: MailboxStore,
        wall_clock: Callable[[], float],
        serving: ServingRelay | None = None,
    ) -> None:
        super().__init__()
        self.folder = folder
        self._wall_clock = wall_clock
        self._relay = relay
        self._store = store
        self._serving = serving

    @answers(RelayStatusRequest)
    async def status(self, _: RelayStatusRequest) -> RelayStatusView:
        """See `RelayStatusRequest`."""
        members = self._store.members()
        admitted = sum(member.admitted for member in members)
        common = RelayStatusView(
            running=False,
            relay=str(self._relay),
            closed=False,
            version=__version__,
            folder=str(self.folder),
            admitted=admitted,
            revoked=len(members) - admitted,
        )
        if self._serving is None:
            return common.model_copy(update=self._stored())
        facts = self._serving.listener.facts()
        return common.model_copy(
            update={
                "running": True,
                "url": self._serving.url,
                "closed": self._serving.listener.service.admission.closed,
                "warnings": self._serving.warnings,
                **{name: value for name, value in asdict(facts).items() if name in RelayStatusView.model_fields},
            }
        )

    def _stored(self) -> dict[str, object]:
        backlog, totals = self._store.backlog(), self._store.totals()
        return {
            "keys": len(self._store.keys()),
            "mailboxes": len({part.recipient for part in backlog}),
            "messages": sum(part.count for part in backlog),
            "message_bytes": sum(part.size for part in backlog),
            "listings": totals.listings,
            "networks": totals.networks,
            "invitations": totals.invitations,
        }

    @answers(RelayMembersRequest)
    async def members(self, _: RelayMembersRequest) -> RelayMembersView:
        """See `RelayMembersRequest`."""
        serving = self._serving
        return RelayMembersView(
            closed=serving is not None and serving.listener.service.admission.closed,
            running=serving is not None,
            members=tuple(self._view(member) for member in self._store.members()),
        )

    @answers(RelayUrlRequest)
    async def url(self, request: RelayUrlRequest) -> RelayUrlView:
        """See `RelayUrlRequest`."""
        if self._serving is None:
            raise ConfigurationError(
                "The relay is not running, so its URL is not known.", Remedy("Start: mcp-a2a relay serve")
            )
        admission, url = self._serving.listener.service.admission, self._serving.url
        if request.new:
            secret = os.urandom(ADMISSION_SECRET_SIZE)
            key = admission_key(secret)
            await self._store.set_admission_key(key, self._wall_clock())
            admission.key, url = key, self._serving.address.with_admission(secret)
        return RelayUrlView(url=url, closed=admission.closed, admits=request.new)

    @answers(RelayAdmitRequest)
    async def admit(self, request: RelayAdmitRequest) -> RelayMemberView:
        """See `RelayAdmitRequest`."""
        return await self._set(request, admitted=True)

    @answers(RelayRevokeRequest)
    async def revoke(self, request: RelayRevokeRequest) -> RelayMemberView:
        """See `RelayRevokeRequest`."""
        return await self._set(request, admitted=False)

    async def _set(self, request: RelayMemberRequest, *, admitted: bool) -> RelayMemberView:
        member = _key(request.member)
        entry = RelayMember(member, admitted, request.note[:MAX_NOTE], self._wall_clock())
        await self._store.set_member(entry)
        view = self._view(entry)
        if self._serving is None:
            if not admitted:
                self._store.erase(member.key)
                self._store.erase_network(member)
        elif admitted:
            self._serving.listener.admit(member)
        else:
            self._serving.listener.revoke(member)
        return view

    def _view(self, member: RelayMember) -> RelayMemberView:
        sessions = list(self._serving.listener.service.sessions) if self._serving is not None else []
        as_agent = sum(session.peer == member.member for session in sessions)
        as_network = sum(member.member in session.networks for session in sessions)
        is_key = self._store.bundle_of(member.member.key) is not None
        return RelayMemberView(
            member=str(member.member),
            state="admitted" if member.admitted else "revoked",
            kind="network" if as_network else "agent" if as_agent or is_key else "unknown",
            online=as_agent + as_network,
            note=member.note,
            since=datetime.fromtimestamp(member.since, UTC).isoformat(timespec="seconds"),
        )


def _key(asked: str) -> PeerId:
    try:
        return PeerId.parse_untrusted(asked)
    except RemoteProtocolError as error:
        raise ConfigurationError(
            f"{asked!r} is neither an agent's key nor a network's id.",
            Remedy("Both look like did:key:z6Mk…: mcp-a2a id and mcp-a2a networks show them."),
        ) from error


def answer_operator(operator: Operator) -> AbstractAsyncContextManager[None]:
    """Answer the operator on a socket that only the operator can open, while the context lasts."""
    service = LocalService(
        "relay",
        "Restart it: it runs another version of mcp-a2a.",
        OPERATIONS,
        lambda: nullcontext(operator.call),
        longest=MAX_REQUEST,
    )
    return LocalServer(service).serve(socket_path(operator.folder, RELAY_SOCKET))
