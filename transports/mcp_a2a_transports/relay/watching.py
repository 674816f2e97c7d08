"""The networks that a session watches: asks for them once it is open, and passes on what the relay tells of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.protocol.control import Done, Doubled, Failed, ListingFrame, News, Presence, Reply, Watch
from mcp_a2a.relay_ports import RelayHandler, Watched
from mcp_a2a_transports.relay.questions import Questions, why_failed

if TYPE_CHECKING:
    from mcp_a2a_transports.relay.session import RelaySession

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
"""The shortest pause before a relay that has put us off is asked again."""


class Watching:
    """The news of one session for a `RelayHandler`, in the order of the wire."""

    def __init__(
        self,
        session: RelaySession,
        questions: Questions,
        watched: Sequence[Watched],
        relays: RelayHandler,
        own: Collection[bytes],
    ) -> None:
        self._session = session
        self._questions = questions
        self._watched = watched
        self._relays = relays
        self._own = own
        self._asked: dict[int, Watched] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """The session is open; `tasks` end with it."""
        self._tasks = tasks
        for watched in self._watched:
            self._watch(watched)
        self._relays.relay_opened(self._session.address)

    def heard(self, frame: Reply | News) -> bool:
        """The relay says something; whether it was for us."""
        match frame:
            case ListingFrame(listing):
                self._relays.listed(self._session.address, listing)
            case Presence(network, online, offline):
                self._relays.presence(self._session.address, network, online, offline)
            case Doubled(names):
                if any(name not in self._own for name in names):
                    self._relays.doubled(self._session.address)
            case Done(number, epoch, revision) if number in self._asked:
                network = self._asked.pop(number).network.id
                self._relays.synced(self._session.address, network, epoch, revision)
            case Failed(number) if number in self._asked:
                self._put_off(frame, self._asked.pop(number))
            case _:
                return False
        return True

    def _watch(self, watched: Watched) -> None:
        number = self._questions.number()
        self._asked[number] = watched
        self._session.to_relay.request(Watch(number, watched.network.id, watched.epoch, watched.revision))

    def _put_off(self, failed: Failed, watched: Watched) -> None:
        logger.warning("%s does not show us a network: %s", self._session.address, why_failed(failed))
        if failed.retry_after is not None and self._tasks is not None:
            self._tasks.start_soon(self._watch_later, watched, failed.retry_after)

    async def _watch_later(self, watched: Watched, seconds: float) -> None:
        """Without this a network would stay invisible until some day the connection is lost."""
        while True:
            await anyio.sleep(max(AGAIN_SECONDS, seconds))
            try:
                self._watch(watched)
            except LinkError as error:
                logger.debug("%s cannot be asked for a network now: %s", self._session.address, error)
            else:
                return
