"""A relay that a session is kept with: a new one after every loss, with pauses that spread a crowd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import anyio.abc

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.protocol.control import ByeCode
from mcp_a2a.protocol.relay_url import RelayUrl
from mcp_a2a.relay_ports import RelayHandler, RelayState, Watched
from mcp_a2a_transports._links import DIAL_SECONDS
from mcp_a2a_transports._tasks import background_tasks
from mcp_a2a_transports.relay.backoff import RelayBackoff
from mcp_a2a_transports.relay.questions import SHUT_OUT, relay_error
from mcp_a2a_transports.relay.session import RelaySession
from mcp_a2a_transports.relay.shared_state import World

HOPELESS = SHUT_OUT | {ByeCode.WRONG_KEY, ByeCode.ROLE, ByeCode.SELF, ByeCode.VERSION, ByeCode.PROOF}
"""Codes of a bye that only a person can do something about, there or here."""


class KeptRelay:
    """One relay, as long as it is wanted."""

    def __init__(self, url: RelayUrl, watched: Callable[[], Sequence[Watched]], backoff: RelayBackoff) -> None:
        self._url = url
        self._watched = watched
        self._backoff = backoff
        self._session: RelaySession | None = None
        """The one that is open, or about to be."""
        self._detail = "connecting"
        self._code: ByeCode | None = None
        self._failures = 0
        self._is_pausing = False
        self._again = False
        """True if the next session is wanted at once."""
        self._over = False
        self._changed = anyio.Event()

    # --- asking ----------------------------------------------------------------------------------

    @property
    def session(self) -> RelaySession | None:
        """The session, when it can be used."""
        session = self._session
        return session if session is not None and session.is_open else None

    @property
    def state(self) -> RelayState:
        """The state of the session."""
        session = self.session
        if session is None:
            return RelayState(str(self._url), connected=False, detail=self._detail)
        return RelayState(str(self._url), connected=True, detail="on", rtt_seconds=session.to_relay.rtt_seconds)

    def watched(self) -> Sequence[Watched]:
        """The networks that are to be shown and watched there now."""
        return self._watched()

    async def opened(self) -> RelaySession:
        """The session; waits a few seconds for it.

        Raises:
            LinkError: there is none, and why.
        """
        return await self._wait_for_session(lambda: False)

    async def asked(self) -> RelaySession:
        """The session, for a caller that waits: dials at once rather than after a pause, and only once.

        Raises:
            RelayError: there is none, and why.
        """
        failures = self._failures
        if self._is_pausing:
            self._again = True
            self._change()
        try:
            return await self._wait_for_session(lambda: self._failures > failures)
        except LinkError as error:
            raise self._error(error.message) from error

    async def _wait_for_session(self, is_hopeless: Callable[[], bool]) -> RelaySession:
        with anyio.move_on_after(DIAL_SECONDS):
            while (session := self.session) is None and not (self._over or is_hopeless()):
                await self._changed.wait()
            if session is not None:
                return session
        raise LinkError(self._detail)

    def _error(self, reason: str) -> RelayError:
        return relay_error(str(self._url), reason, self._code)

    # --- deciding --------------------------------------------------------------------------------

    def renew(self, watched: Callable[[], Sequence[Watched]]) -> None:
        """Start a session anew, with other networks."""
        self._watched, self._again = watched, True
        self._end_session("our networks have changed", ByeCode.CLOSED)

    def end(self, reason: str) -> RelaySession | None:
        """Keep no session any more; returns the one that is ending."""
        self._over = True
        return self._end_session(reason, ByeCode.LEAVING)

    def _end_session(self, reason: str, code: ByeCode) -> RelaySession | None:
        session, self._session = self._session, None  # no caller shall ask the one that ends
        if session is not None:
            session.close(reason, code)
        self._change()
        return session

    def _change(self) -> None:
        """Wake all waiters."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    # --- keeping ---------------------------------------------------------------------------------

    def start(self, tasks: anyio.abc.TaskGroup, world: World, relays: RelayHandler | None) -> None:
        """Keep a session until `end`."""
        self._over, self._detail = False, "connecting"
        tasks.start_soon(self._run, world, relays)

    async def _run(self, world: World, relays: RelayHandler | None) -> None:
        while not self._over:
            self._again = False
            session = self._session = RelaySession(world, self._url, self._watched(), relays)
            started = anyio.current_time()
            async with background_tasks() as tasks:
                tasks.start_soon(session.run)
                await session.settled()
                self._change()
                await session.ended.wait()
            if not (self._again or self._over):
                lasted = anyio.current_time() - started if session.opened.is_set() else 0.0
                await self._pause(session, lasted, relays)

    async def _pause(self, session: RelaySession, lasted: float, relays: RelayHandler | None) -> None:
        """Tell that there is no session, and wait for the time of the next."""
        self._detail, self._code = session.reason, session.code
        self._failures += 1
        self._change()
        if relays is not None:
            relays.relay_closed(str(self._url), self._detail)
        self._is_pausing = True
        with anyio.move_on_after(self._backoff.pause(lasted, hopeless=session.code in HOPELESS)):
            while not (self._again or self._over):
                await self._changed.wait()
        self._is_pausing = False
