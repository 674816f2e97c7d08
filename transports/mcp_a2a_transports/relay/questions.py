"""Requests to a relay, each with a number, and the meaning of its replies for a person."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import anyio

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.networks import NotAdmittedError, RelayError, TicketError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import (
    Admit,
    ByeCode,
    Claim,
    Claimed,
    Done,
    Failed,
    Find,
    Found,
    ListingFrame,
    Offer,
    Reply,
    Request,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.replay import said_of_time

if TYPE_CHECKING:
    from mcp_a2a_transports.relay.session import RelaySession

REPLY_SECONDS = 5.0

SHUT_OUT = frozenset({ByeCode.NOT_ADMITTED, ByeCode.REVOKED})
"""A relay that says this is well, and will not have us."""

NEWEST_URL_HINT = (
    "Ask its operator for its URL with the newest admission secret (mcp-a2a relay url --new). Then give it to: "
    "mcp-a2a invite --network NAME --relay -"
)

FAILURES = {
    "not_member": "it was not shown that we are in that network",
    "stale": "it has a newer entry of ours",
    "full": "the network has as much there as it may",
    "unknown": "it does not know that",
    "used": "it does not take that number of uses",
    "busy": "it has too much to do",
    "rate_limited": "we ask more often than it allows",
    "storage_full": "its disk is full",
    "share": "networks that its operator has not admitted take up as much of its disk as they may",
    "not_admitted": "it is a closed relay, and neither our key nor a network of ours was admitted",
    "revoked": "its operator has revoked our key",
}
TICKET_FAILURES = {
    "used": "it was used as often as it may be",
    "expired": "by the clock of its relay it has expired",
    "unknown": "its relay does not know it (any more): it was used up, has expired, or its network was rotated",
}

Question: TypeAlias = Request | ListingFrame


def relay_error(url: str, reason: str, code: ByeCode | str | None) -> RelayError:
    """A failure, as the kind that it is."""
    return (NotAdmittedError if code in SHUT_OUT else RelayError)(url, reason)


@dataclass(eq=False)
class _Waiting:
    """A waiter for a reply."""

    came: anyio.Event = field(default_factory=anyio.Event)
    reply: Reply | None = None


class Questions:
    """Those of one session. Methods raise `RelayError`: no session any more, no reply in time, or a refusal."""

    def __init__(self, session: RelaySession) -> None:
        self._session = session
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}

    def number(self) -> int:
        """A number that no other question of this session has."""
        return next(self._numbers)

    def replied(self, reply: Reply) -> bool:
        """Hand a reply to its waiter.

        Returns:
            True if there was one.
        """
        waiting = self._waiting.get(reply.number)
        if waiting is None or waiting.reply is not None:
            return False
        waiting.reply = reply
        waiting.came.set()
        return True

    def ended(self) -> None:
        """Fail all waiters, because the session is over."""
        for waiting in self._waiting.values():
            waiting.came.set()

    # --- asking ----------------------------------------------------------------------------------

    async def find(self, peer: PeerId) -> KeyBundle | None:
        """The key bundle of a peer with a mailbox there; None for a peer without one."""
        match await self._ask(lambda number: Find(number, peer)):
            case Found(bundle=bundle) if bundle.peer == peer:
                return bundle
            case Failed(code="unknown"):
                return None
            case reply:
                raise self._refused(reply)

    async def knock(self, me: PeerId) -> None:
        """Ask just anything: a relay that has not admitted us says so only then."""
        reply = await self._ask(lambda number: Find(number, me))
        if isinstance(reply, Failed) and reply.code in SHUT_OUT:
            raise self._refused(reply)

    async def publish(self, listing: Listing) -> None:
        """Put our entry into a directory."""
        self._done(await self._ask(lambda number: ListingFrame(replace(listing, revision=number))))

    async def offer(self, network: PeerId, invitation: bytes, sealed: bytes, uses: int, expires: int) -> None:
        """Leave an invitation."""
        self._done(await self._ask(lambda number: Offer(number, network, invitation, sealed, uses, expires)))

    async def claim(self, invitation: bytes) -> bytes:
        """Fetch an invitation.

        Raises:
            TicketError: it is not there, or not any more.
        """
        match await self._ask(lambda number: Claim(number, invitation)):
            case Claimed(sealed=sealed):
                return sealed
            case Failed(code=code) if code in TICKET_FAILURES:
                raise TicketError(TICKET_FAILURES[code])
            case reply:
                raise self._refused(reply)

    async def admit(self, network: PeerId, proof: bytes) -> None:
        """Have a network admitted.

        Raises:
            NotAdmittedError: the relay does not accept the proof, or wants one.
        """
        match await self._ask(lambda number: Admit(number, network, proof)):
            case Done():
                return
            case Failed(code="secret"):
                reason = "it does not accept this admission secret" if proof else "it is closed"
                raise NotAdmittedError(self._session.address, reason, Remedy(NEWEST_URL_HINT))
            case reply:
                raise self._refused(reply)

    async def _ask(self, question: Callable[[int], Question]) -> Reply:
        number = self.number()
        waiting = self._waiting[number] = _Waiting()
        otherwise = "the connection was lost"
        try:
            self._session.to_relay.request(question(number))
            with anyio.move_on_after(REPLY_SECONDS) as scope:
                await waiting.came.wait()
            if scope.cancelled_caught:
                otherwise = f"no reply within {REPLY_SECONDS:.0f} s"
        except LinkError as error:
            raise self._session.failure("it reads more slowly than we write") from error
        finally:
            del self._waiting[number]
        if waiting.reply is None:
            raise self._session.failure(otherwise)
        return waiting.reply

    def _done(self, reply: Reply) -> None:
        if not isinstance(reply, Done):
            raise self._refused(reply)

    def _refused(self, reply: Reply) -> RelayError:
        if not isinstance(reply, Failed):
            return RelayError(self._session.address, "its reply does not fit what was asked")
        return relay_error(self._session.address, why_failed(reply), reply.code)


def why_failed(reply: Failed) -> str:
    """A refusal as a sentence. A code that we do not know is shown as it came: it is one word."""
    reason = said_of_time(reply.code, "what we sent") or FAILURES.get(reply.code, f"it answered {reply.code!r}")
    if reply.retry_after is not None:
        reason += f"; try again in {max(1, round(reply.retry_after))} s"
    return reason
