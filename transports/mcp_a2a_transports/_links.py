"""Every link of one open transport: how many there may be, and how they all end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.abc
from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.ports import Credentials, LinkHandler
from mcp_a2a.protocol.control import ByeCode
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.handshake import ANY_PEER, Side, Target
from mcp_a2a.protocol.link_places import Place, find_place
from mcp_a2a.protocol.pending_connections import host_in, is_here
from mcp_a2a_transports._channel import Channel
from mcp_a2a_transports._drive import DrivenLink
from mcp_a2a_transports._tasks import background_tasks

logger = logging.getLogger(__name__)

MAX_LINKS_PER_KEY = 5
DIAL_SECONDS = 5.0
LEAVE_SECONDS = 1.0


class LinkOwner:
    """The owner of a link: its credentials, its handler, and the room for links that they share."""

    def __init__(self, credentials: Credentials, handler: LinkHandler) -> None:
        self.credentials = credentials
        self.handler = handler

    def admit(self, link: DrivenLink, peer: PeerId) -> bool:
        """True if a link whose handshake is complete may open."""
        return True


class Links(LinkOwner):
    """Every link of one open transport; their tasks live in its task group."""

    def __init__(self, credentials: Credentials, handler: LinkHandler, tasks: anyio.abc.TaskGroup) -> None:
        super().__init__(credentials, handler)
        self._tasks = tasks
        self._links: dict[DrivenLink, Side] = {}  # in the order they were made

    def start(
        self,
        side: Side,
        channel: Channel,
        address: str,
        route: str,
        target: Target = ANY_PEER,
    ) -> DrivenLink:
        """Run a link over a channel that has just been connected."""
        link = DrivenLink(self, channel, side, target, address, route)
        self._links[link] = side
        self._tasks.start_soon(self._run, link)
        return link

    def look_after(self, service: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run something beside the links, for as long as they are kept."""
        self._tasks.start_soon(service)

    @override
    def admit(self, link: DrivenLink, peer: PeerId) -> bool:
        """Only so many links others open (`protocol.link_places`); of one key, the oldest makes room for the newest."""
        if self._links[link] is Side.LISTENER and not self._make_room(self._place(link, peer)):
            return False
        of_peer = [other for other in self._links if other.is_open and other.peer == peer]
        if len(of_peer) >= MAX_LINKS_PER_KEY:
            of_peer[0].close("newer links with this peer took its place", ByeCode.REPLACED)
        return True

    def close_gone(self, addresses: Collection[str]) -> None:
        """This machine has these addresses and no other: what runs over one that it had is dead, and closed at once."""
        for link in tuple(self._links):
            if link.here is not None and link.here not in addresses and not is_here(link.here):
                link.close("this machine no longer has the address that it runs over")

    async def leave(self) -> None:
        """Say goodbye on every link and wait for the end of all, which takes less than a second."""
        links = tuple(self._links)
        for link in links:
            link.close("we are leaving", ByeCode.LEAVING)
        for link in links:
            await link.ended.wait()

    def _make_room(self, newcomer: Place) -> bool:
        """True if there is a place for a link that others open; who has to leave for it does."""
        others = [link for link, side in self._links.items() if side is Side.LISTENER and link.is_open]
        decision = find_place([self._place(link, link.peer) for link in others], newcomer)
        if decision.leaves is not None:
            others[decision.leaves].close("it makes room for a peer that comes first", ByeCode.BUSY)
        return decision.admitted

    def _place(self, link: DrivenLink, peer: PeerId) -> Place:
        return Place(self.handler.standing(peer), host_in(link.address))

    async def _run(self, link: DrivenLink) -> None:
        try:
            await link.run()
        except Exception:
            # A channel that fails unexpectedly; the other links go on.
            logger.exception("the link with %s failed", link.address)
        finally:
            del self._links[link]


@asynccontextmanager
async def keep_links(credentials: Credentials, handler: LinkHandler) -> AsyncIterator[Links]:
    """A home for links until the context ends; then they say goodbye, and none is left."""
    async with background_tasks() as tasks:
        links = Links(credentials, handler, tasks)
        try:
            yield links
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                await links.leave()


@contextmanager
def answered_in_time() -> Iterator[None]:
    """The context with the time limit of a dial.

    Raises:
        LinkError: it took too long.
    """
    try:
        with anyio.fail_after(DIAL_SECONDS):
            yield
    except TimeoutError as error:
        raise LinkError(f"no answer within {DIAL_SECONDS:.0f} s") from error
