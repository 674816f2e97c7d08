"""Lines of a server or an agent on its terminal: one for each event, and no more than fit.

Peers and clients decide how many events there are. So lines are bounded: a burst is shown, then two a second, and the
number of those left out. They are written in a thread, because a terminal that is stopped (Ctrl-S) must not stop the
server.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.to_thread

from mcp_a2a.api.news import EventView, NewsRequest
from mcp_a2a.errors import McpA2AError
from mcp_a2a.plurals import many
from mcp_a2a.protocol.moment import ENDED
from mcp_a2a.protocol.naming import shown_name
from mcp_a2a.protocol.rates import Bucket, Rate
from mcp_a2a.protocol.text import clean, preview
from mcp_a2a.screen import put
from mcp_a2a.server.fence import shown_who
from mcp_a2a.server.outgoing import for_programs

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

LINES = Rate(per_second=2.0, burst=40)
"""About a screen at once."""

WAIT_SECONDS = 60.0
RETRY_SECONDS = 5.0
QUIET_SECONDS = 1.0
BACKLOG = 256
"""Events of the HTTP server, and lines of an agent, that wait to be written."""

END_SECONDS = 1.0
"""Seconds for which a stopped terminal may delay the end of a program."""

Item: TypeAlias = EventView | str
"""An event, or the line for one."""

WORDS = {
    "task_received": "task received",
    "question_asked": "question asked",
    "task_answered": "task answered",
    "question_received": "question received",
    "answer_received": "answer received",
    "contact_request": "contact request",
    "agent_trusted": "trusted",
    "agent_blocked": "blocked",
    "message_refused": "message refused",
    "member_joined": "joined",
    "client_connected": "client connected",
    "client_gone": "client gone",
    "request_refused": "request refused",
}


class Reporter:
    """Writes what happens at a node and at its HTTP server."""

    def __init__(self, *, as_json: bool, ascii_only: bool = False, received: bool = True) -> None:
        """`received`: also what happens to the tasks that others have sent here."""
        self._as_json, self._received = as_json, received
        self._ascii_only = ascii_only
        self._came: deque[Item] = deque()
        self._lost = 0
        self._unwritten: deque[str] = deque()
        """Lines that no thread has taken: a program that ends is cancelled in between."""
        self._has_come, self._left_out = anyio.Event(), anyio.Event()
        self._lines: Bound | None = None

    def tell(self, event: EventView) -> None:
        """Something happened at the HTTP server. Never waits."""
        self._add(event)

    def say(self, line: Callable[[], str]) -> None:
        """Something else happened, and `line` makes the line for it, if it is shown. Never waits."""
        if self._lines is not None and not self._came and self._lines.leaves_out(anyio.current_time()):
            self._left_out.set()
        else:
            self._add(line())

    def _add(self, item: Item) -> None:
        if len(self._came) < BACKLOG:
            self._came.append(item)
        else:
            self._lost += 1
        self._has_come.set()

    async def run(self, node: NodeApi) -> None:
        """Write lines until cancelled, and then those of what came before."""
        self._lines = Bound(anyio.current_time())
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._follow, node)
                tasks.start_soon(self._catch_up)
                while True:
                    await self._has_come.wait()
                    self._has_come = anyio.Event()
                    await self._write_what_came()
        finally:
            with anyio.move_on_after(END_SECONDS, shield=True):
                await self._write_what_came()

    async def _write_what_came(self) -> None:
        came, lost = list(self._came), self._lost
        self._came.clear()
        self._lost = 0
        await self._write(came, lost)

    async def _follow(self, node: NodeApi) -> None:
        """Read what happens at the node, also across its restarts and in another process."""
        run, after = None, None
        while True:
            try:
                view = await node.call(
                    NewsRequest(after=after, run=run, received=self._received, wait_seconds=WAIT_SECONDS)
                )
            except McpA2AError:
                await anyio.sleep(RETRY_SECONDS)  # an owner of an earlier version knows no news, or there is none now
                continue
            await self._write(view.events, view.missed)
            run, after = view.run, view.number

    async def _catch_up(self) -> None:
        """Say how much was left out once it is quiet again; without a wake-up while nothing was."""
        while True:
            await self._left_out.wait()
            self._left_out = anyio.Event()
            await anyio.sleep(QUIET_SECONDS)
            await self._write([], 0)

    async def _write(self, items: Sequence[Item], missed: int) -> None:
        lines = self._lines
        if lines is None:
            return
        lines.missed += missed
        now = anyio.current_time()
        text = "".join(f"{line}\n" for line in lines.shown(items, now, as_json=self._as_json))
        if lines.missed:
            self._left_out.set()
        if text:
            self._unwritten.append(text)
        if self._unwritten:
            await anyio.to_thread.run_sync(self._put, abandon_on_cancel=True)

    def _put(self) -> None:
        taken = []
        with suppress(IndexError):  # two threads may be here, and each line is for one of them
            while True:
                taken.append(self._unwritten.popleft())
        if not (text := "".join(taken)):
            return
        if not self._as_json:
            put(sys.stderr, text.rstrip("\n"), ascii_only=self._ascii_only)
            return
        with suppress(OSError, ValueError):
            sys.stdout.write(text)
            sys.stdout.flush()


class Bound:
    """Decides which events get a line. Sans-I/O."""

    def __init__(self, now: float) -> None:
        self._bucket = Bucket(LINES, now)
        self.missed = 0

    def leaves_out(self, now: float) -> bool:
        """True if one more gets no line now; then it is counted with those that were left out."""
        is_full = self._bucket.wait_for(2 if self.missed else 1, now) > 0
        self.missed += is_full
        return is_full

    def shown(self, items: Sequence[Item], now: float, *, as_json: bool) -> Iterator[str]:
        """The lines of those that are shown, and of how many were not, once there is room to say so."""
        for item in items:
            if self.missed and not self._bucket.take(2, now):
                yield self._left_out(as_json=as_json)
                yield item if isinstance(item, str) else line_of(item, as_json=as_json)
            elif self.missed or self._bucket.take(1, now) > 0:
                self.missed += 1
            else:
                yield item if isinstance(item, str) else line_of(item, as_json=as_json)
        if self.missed and not items and not self._bucket.take(1, now):
            yield self._left_out(as_json=as_json)

    def _left_out(self, *, as_json: bool) -> str:
        missed, self.missed = self.missed, 0
        if as_json:
            return json.dumps({"event": "left_out", "count": missed})
        return f"… {many(missed, 'more event', 'more events')} not shown"


def line_of(event: EventView, *, as_json: bool) -> str:
    """One event in one line, in which no word of others can begin another line or control a terminal."""
    if as_json:
        fields = for_programs(event)
        return json.dumps({"event": fields.pop("kind"), **fields})
    at = datetime.fromisoformat(event.at).astimezone().strftime("%H:%M:%S")
    said = "  ".join(filter(None, (WORDS[event.kind], *_facts(event))))
    return " ".join(clean(f"{at}  {said}").split("\n"))


def _facts(event: EventView) -> Iterator[str]:
    if event.task_id is not None:
        yield event.task_id
    if event.skill is not None:
        yield preview(event.skill, 40)
    if event.state is not None and event.state in ENDED:
        yield event.state
    if event.agent is not None:
        who = shown_name(event.agent.name) or shown_who(event.agent.did)
        yield {"task_received": "← ", "answer_received": "← ", "question_received": "← "}.get(
            event.kind, "→ " if event.task_id else ""
        ) + who
    if event.kind == "contact_request" and event.agent is not None:
        yield f"{shown_who(event.agent.did)}  (decide: mcp-a2a inbox)"
    if event.network is not None:
        yield f"in {shown_name(event.network)}"
    if event.client is not None:
        yield preview(event.client, 100)
    if event.detail is not None:
        yield event.detail
