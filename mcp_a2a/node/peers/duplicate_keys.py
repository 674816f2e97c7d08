"""Notices that one key runs twice: a copied machine, or a backup that was restored beside the original.

Each start of a node draws a name for its run and tells it in its greetings. A peer that has living direct links with
two runs of one key names both in a new greeting to each, and so both copies learn of it. A relay tells living
connections of one key of each other. Peers and relays may lie about that, so nothing depends on it: a person is told,
and decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import anyio

from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.ports import Link
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.payload import MAX_RUNS

logger = logging.getLogger(__name__)

RUN_SIZE = 16

ALIVE_SECONDS = 1.9
"""Seconds in which the links of both runs must give a sign of life: that of a node which was killed may still
look open."""

SURE_SECONDS = 4.0
"""Seconds after which both links must still be there."""


class DuplicateKeys:
    """Knows the runs of each key on our direct links, and what peers say about our own."""

    def __init__(self, context: Context, directory: Directory, greet: Callable[[Link], None]) -> None:
        self._context = context
        self._directory = directory
        self._greet = greet
        self._runs: dict[Link, str] = {}
        self._checking: set[PeerId] = set()
        self.run = context.randomness(RUN_SIZE).hex()
        """The name of this run."""
        self.noticed_at: float | None = None
        """The time at which a peer or a relay last said that our key runs twice, by the wall clock."""

    def runs_of(self, peer_id: PeerId) -> Sequence[str]:
        """The runs of this key that we have direct links with, if there are several."""
        peer = self._directory.known(peer_id)
        runs = {self._runs[link] for link in peer.links if link in self._runs} if peer is not None else set()
        return sorted(runs)[:MAX_RUNS] if len(runs) > 1 else ()

    def introduced(self, link: Link, run: str, told: Sequence[str]) -> None:
        """A greeting came: from this run, which has met these of our own key."""
        if any(other != self.run for other in told):
            self.notice(str(link.peer))
        if run and not link.is_relayed:
            self._runs[link] = run
            if self.runs_of(link.peer) and link.peer not in self._checking:
                self._checking.add(link.peer)
                self._context.tasks.start_soon(self._tell, link.peer)

    def link_closed(self, link: Link) -> None:
        """Forget the run of a link that was closed."""
        self._runs.pop(link, None)

    def notice(self, who: str) -> None:
        """Note that `who` says that our key runs twice, and log it the first time."""
        if self.noticed_at is None:
            logger.error(
                "THIS KEY RUNS TWICE, as %s says: also on a machine that is a copy of this one or has its backup. Stop "
                "one of them, or give it an identity of its own (--identity NAME): what one is sent, both may get.",
                who,
            )
        self.noticed_at = self._context.clock()

    async def _tell(self, peer_id: PeerId) -> None:
        try:
            peer = self._directory.get(peer_id)
            for link in peer.links:
                if not link.is_relayed:
                    link.probe(ALIVE_SECONDS)
            await anyio.sleep(SURE_SECONDS)
            if self.runs_of(peer_id):
                logger.warning("the key of %s runs on two machines; both are told", peer_id)
                for link in list(peer.links):
                    self._greet(link)
        finally:
            self._checking.discard(peer_id)
