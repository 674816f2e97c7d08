"""Serves a client on stdin and stdout until there is a session for it, or by way of the process that has one.

    RESTING   nothing but what the front answers by itself was asked
    SEEKING   it tries to become the owner of the data folder, or to reach the one that is
    PIPED     the owner has the session; lines pass through here
    LOADING   what a session needs is imported here, by the owner or where nothing else helps; then `serve` returns

No line is lost, doubled or told out of order on these ways: `journal` keeps each until a session is done with it.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from mcp_a2a.front.announced import Announced
from mcp_a2a.front.background_imports import Behind
from mcp_a2a.front.client import ClientPipe, write_log
from mcp_a2a.front.frames import Frame, Greeting, Kind, frame_of
from mcp_a2a.front.handover import Handover
from mcp_a2a.front.journal import Journal
from mcp_a2a.front.plain import Plain
from mcp_a2a.front.signals import StopSignals
from mcp_a2a.front.silence import OwnerAction, SilenceWatch
from mcp_a2a.front.splitting import Whole, is_due, message_in

if TYPE_CHECKING:
    from mcp_a2a.front.owner import HeldLock, OwnerLink

HEAD_START_SECONDS = 0.1
"""From the first answer until anything is loaded: a client lists the tools right after `initialize`."""

LOOK_SECONDS = 0.1
"""Seconds between attempts of a front without a session to own the folder, or to reach its owner."""

REACH_SECONDS = 3.0
"""How long a call waits for a process that has the folder, does not start, and cannot be reached; then what a session
needs is imported here, which takes as long again, and the node says who does not answer."""

MAX_DUE = 256
"""Answers that are due, beyond which nothing more is read of the client."""

MAX_UNSENT = 1024 * 1024
"""Bytes that one side has not taken, beyond which nothing more is read of the other."""

MAX_STRIKES = 3
"""Connections, one after the other, that end before anything came of them: an owner of an older version closes them
without a word, and a session that breaks off at a line does so each time that it is told."""

PATIENT_SECONDS = 5.0
"""From then on a front without a session looks less often."""

Loaded = TypeVar("Loaded")


class Stage(Enum):
    """See the module."""

    RESTING = "resting"
    SEEKING = "seeking"
    PIPED = "piped"
    LOADING = "loading"


class Front(Generic[Loaded]):
    """One client, on these descriptors."""

    def __init__(
        self,
        source: int,
        sink: int,
        settings: Plain | None,
        load: Callable[[], Loaded],
        greet: Callable[[], Greeting],
    ) -> None:
        self._client, self._settings = ClientPipe(source, sink), settings
        self._load, self._greet = load, greet
        self._greeting: Greeting | None = None
        self._sessions = 0
        self._announced, self._journal = Announced(), Journal()
        self._stage = Stage.RESTING
        self._finished = False
        self._due_at: float | None = None
        """The time of the next step of the stage, on the clock of `_now`."""
        self._began_seeking = 0.0
        self._strikes = 0
        self._link: OwnerLink | None = None
        self._watch = SilenceWatch()
        self._lock: HeldLock | None = None
        self._behind: Behind[Loaded] | None = None
        self._stop = StopSignals()

    @property
    def is_loading(self) -> bool:
        """True if a thread imports something: then the interpreter cannot be ended in the usual way."""
        return self._behind is not None and not self._behind.ended

    def serve(self) -> Handover[Loaded] | None:
        """Serve the client; what its session takes over, or None when there is nothing left to do.

        Raises:
            Exception: what `load` raised.
        """
        with self._stop.caught():
            if self._settings is None:
                self._begin_loading()
            while not self._is_over():
                if self._behind is not None and self._behind.ended:
                    return self._handover(self._behind.result())
                self._turn()
        return None

    def _is_over(self) -> bool:
        if self._stop.wanted or self._client.gone:
            return True
        return not self._client.unsent and (self._finished or (self._client.ended and not self._journal.due))

    def _handover(self, loaded: Loaded) -> Handover[Loaded]:
        return Handover(loaded, self._next_greeting(), self._client, self._journal, self._lock)

    # --- one turn --------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for the next thing that happens, and do it."""
        ready = self._wait()
        if self._stop.descriptor in ready:
            self._stop.drain()
        if self._link is not None and self._link.descriptor in ready:
            self._hear(self._link)
        if self._client.sink in ready:
            self._client.flush()
        if self._client.source in ready:
            self._read()
        if self._due_at is not None and self._now >= self._due_at:
            self._step()

    def _wait(self) -> set[int]:
        poll = select.poll()
        poll.register(self._stop.descriptor, select.POLLIN)
        if self._reads:
            poll.register(self._client.source, select.POLLIN)
        if self._client.unsent:
            poll.register(self._client.sink, select.POLLOUT)
        if self._link is not None:
            wanted = select.POLLOUT if self._link.unsent else 0
            wanted |= select.POLLIN if len(self._client.unsent) < MAX_UNSENT else 0
            poll.register(self._link.descriptor, wanted)
        left = None if self._due_at is None else max(0.0, self._due_at - self._now) * 1000 + 1
        return {descriptor for descriptor, _ in poll.poll(left)}

    @property
    def _now(self) -> float:
        return time.monotonic()

    @property
    def _reads(self) -> bool:
        if self._client.ended or len(self._client.unsent) >= MAX_UNSENT:
            return False
        behind = self._link is not None and self._link.unsent >= MAX_UNSENT
        return not behind and not self._journal.is_full and self._journal.due < MAX_DUE

    def _step(self) -> None:
        """Take the step of the stage whose time has come."""
        self._due_at = None
        if self._stage is Stage.RESTING:
            self._seek()
        elif self._stage is Stage.SEEKING:
            self._look()
        elif self._link is not None:
            self._look_after_owner(self._link)

    # --- the client ------------------------------------------------------------------------------

    def _read(self) -> None:
        for content in self._client.lines():
            self._take(content)
        if self._client.ended and self._link is not None:
            self._tell(Frame(Kind.END))

    def _take(self, content: Whole) -> None:
        """Answer a line, or keep it for the session."""
        message = message_in(content)
        if message is None:
            return
        method, answer = None, None
        if isinstance(message, dict):
            answer, method = self._announced.answer(message), message.get("method")
        else:
            self._announced.give_up()
        method = method if isinstance(method, str) else None
        line = self._journal.add(content, method, self._now, is_due=is_due(message))
        if answer is not None:
            line.answered = True
            self._journal.thin(line)
            self._client.say(answer)
        if self._link is not None:
            self._tell(frame_of(line, self._now))
            self._expect()
        elif self._stage is Stage.RESTING:
            if answer is None and line.is_due:
                self._seek()
            elif answer is not None and self._due_at is None:
                self._due_at = self._now + HEAD_START_SECONDS

    # --- the owner -------------------------------------------------------------------------------

    def _seek(self) -> None:
        """Begin to look for a session."""
        if self._stage is Stage.LOADING:
            return
        self._stage, self._began_seeking, self._due_at = Stage.SEEKING, self._now, self._now

    def _look(self) -> None:
        """Become the owner of the folder, or reach the one that is; else look again in a moment."""
        assert self._settings is not None  # noqa: S101  without them it is loaded from the beginning
        from mcp_a2a.front.owner import OwnerLink, find  # noqa: PLC0415  nothing of it before the first answer
        from mcp_a2a.store.owner_file import HALTED_SECONDS, is_halted, is_starting, read_owner  # noqa: PLC0415

        try:
            found = find(self._settings.folder)
        except (OSError, RuntimeError):
            self._begin_loading()  # the node says what is wrong
            return
        patience = REACH_SECONDS
        if found is None and is_starting(self._settings.folder):
            self._began_seeking = self._now
        elif found is None and is_halted(read_owner(self._settings.folder)):
            patience = HALTED_SECONDS
        if isinstance(found, OwnerLink):
            self._attach(found)
        elif found is not None or self._has_waited(patience):
            self._lock = found
            self._begin_loading()
        else:
            is_early = self._now - self._began_seeking < PATIENT_SECONDS
            self._due_at = self._now + (LOOK_SECONDS if is_early else 5 * LOOK_SECONDS)

    def _has_waited(self, seconds: float) -> bool:
        """True if a call has waited so long for a session, in this search for one."""
        since = (line.at for line in self._journal if line.is_due and not line.answered)
        return self._now - max(min(since, default=self._now), self._began_seeking) >= seconds

    def _attach(self, link: OwnerLink) -> None:
        """Tell the owner everything that its session has to know."""
        self._link, self._stage, self._watch = link, Stage.PIPED, SilenceWatch()
        self._tell(self._next_greeting().line())
        for line in self._journal:
            line.settled = False
            if self._link is link:  # it may be lost on the way
                self._tell(frame_of(line, self._now))
        if self._client.ended and self._link is link:
            self._tell(Frame(Kind.END))
        self._expect()

    def _tell(self, content: bytes | Frame) -> None:
        if self._link is None:
            return
        try:
            self._link.send(content)
        except OSError:
            self._lose()

    def _hear(self, link: OwnerLink) -> None:
        try:
            link.flush()
        except OSError:
            self._lose()
            return
        frames = link.receive()
        if frames is None:
            self._lose()
            return
        if frames:
            self._watch.receive(self._now)
        for frame in frames:
            if self._link is link:
                self._obey(frame)
        self._expect()

    def _obey(self, frame: Frame) -> None:
        due = self._journal.due
        if frame.kind is Kind.MESSAGE:
            if not frame.number or self._journal.takes_answer(frame.number):
                self._client.say(frame.payload + b"\n")
            self._journal.settle(frame.number)
        elif frame.kind is Kind.SETTLED:
            self._announced.give_up()  # the session is there
            self._journal.settle(frame.number)
        elif frame.kind is Kind.LOG:
            write_log(frame.payload)
        elif frame.kind is Kind.END:
            self._finished = True
        elif frame.kind is Kind.REFUSED:
            self._leave()
            self._begin_loading()
        if not self._journal.due or self._journal.due < due:
            self._strikes = 0  # something comes of this connection

    def _lose(self) -> None:
        """The owner is gone: look for the next."""
        self._leave()
        self._strikes += 1
        if self._strikes > MAX_STRIKES:
            self._begin_loading()
            return
        self._seek()
        self._due_at = self._now + (self._strikes - 1) * LOOK_SECONDS

    def _leave(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = self._due_at = None

    # --- an owner that does not answer -----------------------------------------------------------

    def _expect(self) -> None:
        """See to it that a silent owner is noticed, as long as an answer is due."""
        if self._stage is Stage.PIPED and self._link is not None:
            self._watch.expect(self._now, self._journal.due)
            self._due_at = self._watch.next_timeout()

    def _look_after_owner(self, link: OwnerLink) -> None:
        action = self._watch.handle_timeout(self._now, link.owner_runs, link.owner_is_halted)
        if action is OwnerAction.ASK:
            self._tell(Frame(Kind.ALIVE))
        elif action is OwnerAction.GIVE_UP:
            for line in self._journal:
                if line.is_due and not line.answered:
                    self._tell(Frame(Kind.WITHDRAW, line.number))
            self._leave()
            self._begin_loading()  # the node says who is silent
        self._expect()

    # --- this process ----------------------------------------------------------------------------

    def _begin_loading(self) -> None:
        self._stage, self._due_at = Stage.LOADING, None
        self._behind = Behind(self._load, self._stop.wake)

    def _next_greeting(self) -> Greeting:
        """The greeting of this process for the next session."""
        if self._greeting is None:
            self._greeting = self._greet()
        self._sessions += 1
        return replace(self._greeting, session=self._sessions - 1)
