"""What the operator of a relay may ask and command, and the socket on which a running one is asked.

The socket is in the relay's own folder and opens for its owner alone: a small HTTP API, `POST /{command}` with a JSON
object, answered by a view or by `{code, message, hint}`. `relay_admin` is its client.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio
from aiohttp import web

from mcp_a2a.api.relay import RelayMembersView, RelayMemberView, RelayStatusView, RelayUrlView
from mcp_a2a.api.view import View
from mcp_a2a.errors import ConfigurationError, McpA2AError, RemoteProtocolError
from mcp_a2a.protocol.admission_secret import ADMISSION_SECRET_SIZE, admission_key
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.relay_url import RelayUrl
from mcp_a2a.relay_ports import MailboxStore, RelayMember
from mcp_a2a.store.short_places import socket_path
from mcp_a2a.version import __version__
from mcp_a2a_transports.relay.server import RelayListener

SOCKET = "admin.sock"
MAX_REQUEST = 64 * 1024
MAX_NOTE = 256


@dataclass(frozen=True)
class ServingRelay:
    """A relay that runs."""

    address: RelayUrl
    relay: PeerId
    port: int
    folder: Path
    warnings: tuple[str, ...]
    """What its operator should know about how it is set up."""
    listener: RelayListener
    fresh_secret: bytes | None = field(default=None, repr=False)
    """The admission secret, where it was made at this start."""

    @property
    def url(self) -> str:
        """What others are told: with the key that pins it."""
        return str(self.address)

    @property
    def admission_url(self) -> str | None:
        """The same with the admission secret, where it was made at this start. It is to be shown once."""
        return self.address.with_admission(self.fresh_secret) if self.fresh_secret is not None else None


class Operator:
    """The operator's commands, on a running relay or on its folder."""

    def __init__(
        self,
        folder: Path,
        relay: PeerId,
        store: MailboxStore,
        wall_clock: Callable[[], float],
        serving: ServingRelay | None = None,
    ) -> None:
        self.folder = folder
        self._wall_clock = wall_clock
        self._relay = relay
        self._store = store
        self._serving = serving

    async def ask(self, op: str, fields: dict[str, str]) -> View:
        """Carry out a command.

        Raises:
            ConfigurationError: there is none of that name, or its fields make no sense.
        """
        match op:
            case "status":
                return self._status()
            case "members":
                return self._members()
            case "admit":
                return await self._set(_member(fields), fields.get("note", ""), admitted=True)
            case "revoke":
                return await self._set(_member(fields), fields.get("note", ""), admitted=False)
            case "url":
                return await self._url(anew=fields.get("new") == "1")
            case _:
                raise ConfigurationError(f"The relay has no command {op!r}.", "Upgrade the older of the two mcp-a2a.")

    def _status(self) -> RelayStatusView:
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
                "closed": self._serving.listener.desk.admission.closed,
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

    def _members(self) -> RelayMembersView:
        serving = self._serving
        return RelayMembersView(
            closed=serving is not None and serving.listener.desk.admission.closed,
            running=serving is not None,
            members=tuple(self._view(member) for member in self._store.members()),
        )

    async def _url(self, *, anew: bool) -> RelayUrlView:
        if self._serving is None:
            raise ConfigurationError("The relay is not running, so its URL is not known.", "Start: mcp-a2a relay serve")
        admission, url = self._serving.listener.desk.admission, self._serving.url
        if anew:
            secret = os.urandom(ADMISSION_SECRET_SIZE)
            key = admission_key(secret)
            await self._store.set_admission_key(key, self._wall_clock())
            admission.key, url = key, self._serving.address.with_admission(secret)
        return RelayUrlView(url=url, closed=admission.closed, admits=anew)

    async def _set(self, member: PeerId, note: str, *, admitted: bool) -> RelayMemberView:
        entry = RelayMember(member, admitted, note[:MAX_NOTE], self._wall_clock())
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
        sessions = list(self._serving.listener.desk.sessions) if self._serving is not None else []
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


def _member(fields: dict[str, str]) -> PeerId:
    asked = fields.get("member", "")
    try:
        return PeerId.parse_untrusted(asked)
    except RemoteProtocolError as error:
        raise ConfigurationError(
            f"{asked!r} is neither an agent's key nor a network's id.",
            "Both look like did:key:z6Mk…: mcp-a2a id and mcp-a2a networks show them.",
        ) from error


@asynccontextmanager
async def answer_operator(operator: Operator) -> AsyncIterator[None]:
    """Answer the operator's commands on a socket that only the operator can open."""

    async def answer(request: web.Request) -> web.Response:
        try:
            fields = await request.json()
            view = await operator.ask(request.match_info["op"], {str(key): str(fields[key]) for key in fields})
        except McpA2AError as error:
            return web.json_response(
                {"code": error.code, "message": error.message, "hint": error.hint},
                status=web.HTTPBadRequest.status_code,
            )
        return web.json_response(text=view.model_dump_json())

    app = web.Application(client_max_size=MAX_REQUEST)
    app.router.add_post("/{op}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    path = socket_path(operator.folder, SOCKET)
    try:
        path.unlink(missing_ok=True)
        with _private_umask():
            await web.UnixSite(runner, str(path)).start()
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()
        path.unlink(missing_ok=True)


@contextmanager
def _private_umask() -> Iterator[None]:
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
