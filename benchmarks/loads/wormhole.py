"""magic-wormhole's mailbox server: like ours one Python process that speaks WebSocket and commits to SQLite.

A mailbox per pair, a phase per message. The server commits, then tells everybody in the mailbox, the sender too, which
is the sender's acknowledgement. Bodies are hexadecimal, as its clients write them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loads.flight import Flight
from loads.line import Where
from loads.servers import Server, free_port, listening
from loads.shape import BODY_SIZE
from loads.wire import TEXT, Wire, frame

NAME = "magic-wormhole mailbox server"
PACKAGE = "magic-wormhole-mailbox-server"
BODY = (b"x" * BODY_SIZE).hex()


@contextmanager
def serve(programs: Path, folder: Path) -> Iterator[Server]:
    port = free_port()
    command = [str(programs / "twist"), "wormhole-mailbox", f"--port=tcp:{port}:interface=127.0.0.1",
               f"--channel-db={folder / 'mailbox.sqlite'}"]  # fmt: skip
    with listening(command, port) as server:
        yield server


class Load:
    """Senders and recipients of one run."""

    parts, parts_offline = 2, 1

    def __init__(self) -> None:
        self.flight: Flight | None = None
        self._senders: list[Wire] = []
        self._recipients: list[Wire] = []
        self._batch = 0

    async def open(self, server: Server, pairs: int) -> None:
        for number in range(pairs):
            for side, wires in (("sender", self._senders), ("recipient", self._recipients)):
                wire = await Wire.open(Where(server.port, "/v1"), self._heard)
                _say(wire, type="bind", appid="load", side=side)
                _say(wire, type="open", mailbox=f"box{number}")
                wires.append(wire)
        await asyncio.sleep(1)

    async def leave(self) -> None:
        """The recipients go away."""
        for wire in self._recipients:
            wire.close()
        await asyncio.sleep(0.5)

    def begin(self, flight: Flight) -> None:
        self.flight = flight
        self._batch += 1

    def send(self, number: int) -> None:
        phase = f"{self._batch}-{number}"
        _say(self._senders[number % len(self._senders)], type="add", phase=phase, body=BODY)

    def _heard(self, opcode: int, payload: bytes) -> None:
        at = payload.find(b'"phase"')
        if at < 0 or self.flight is None:
            return
        start = payload.index(b'"', at + 8) + 1
        batch, _, number = payload[start : payload.index(b'"', start)].partition(b"-")
        if int(batch) == self._batch:
            self.flight.confirmed(int(number))

    def close(self) -> None:
        for wire in (*self._senders, *self._recipients):
            wire.close()


def _say(wire: Wire, **fields: str) -> None:
    wire.send(frame(json.dumps(fields).encode(), TEXT))
