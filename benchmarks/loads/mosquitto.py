"""mosquitto, MQTT 3.1.1 with QoS 1 and persistent sessions: C, memory, and a snapshot on the disk now and then.

A topic per pair. Done is a message whose sender has the PUBACK and whose recipient has the message.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loads.flight import Flight
from loads.line import Line, Where
from loads.servers import Server, free_port, listening
from loads.shape import body

NAME = "mosquitto, QoS 1"
CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9
CONFIGURATION = """
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
max_queued_messages 0
max_inflight_messages 0
log_type none
{user}
"""


def find() -> str | None:
    """Where it is installed (Debian: mosquitto)."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def serve(programs: Path, folder: Path) -> Iterator[Server]:
    port, configuration = free_port(), folder / "mosquitto.conf"
    # Started by root it would become another user, who may not write here.
    user = "user root" if os.geteuid() == 0 else ""
    configuration.write_text(CONFIGURATION.format(port=port, folder=folder, user=user))
    with listening([find() or "mosquitto", "-c", str(configuration)], port) as server:
        yield server


class Client(Line):
    """A session that the server keeps. `heard(kind, packet)` gets every packet without its fixed header."""

    def __init__(self, name: str, heard: Callable[[Client, int, bytes], None]) -> None:
        super().__init__()
        self._name, self._heard = name, heard

    def greet(self) -> None:
        self.send(packet(0x10, text("MQTT") + b"\x04\x00\x00\x00" + text(self._name)))

    def take(self, data: bytes) -> bytes:
        at = 0
        while (whole := _packet_at(data, at)) is not None:
            start, end = whole
            kind = data[at] >> 4
            if kind == CONNACK:
                self.ready.set_result(None)
            else:
                self._heard(self, kind, data[start:end])
            at = end
        return data[at:]


def _packet_at(data: bytes, at: int) -> tuple[int, int] | None:
    size = shift = 0
    for place in range(at + 1, min(at + 5, len(data))):
        size |= (data[place] & 0x7F) << shift
        shift += 7
        if data[place] < 0x80:
            end = place + 1 + size
            return (place + 1, end) if end <= len(data) else None
    return None


def packet(head: int, rest: bytes) -> bytes:
    size, length = len(rest), bytearray()
    while True:
        size, seven = divmod(size, 128)
        length.append(seven | (0x80 if size else 0))
        if not size:
            return bytes((head, *length)) + rest


def text(word: str) -> bytes:
    return len(word).to_bytes(2, "big") + word.encode()


class Load:
    """Senders and recipients of one run."""

    parts, parts_offline = 2, 1

    def __init__(self) -> None:
        self.flight: Flight | None = None
        self._senders: list[Client] = []
        self._recipients: list[Client] = []
        self._under_way: dict[tuple[Client, bytes], int] = {}
        self._sent = 0
        self._base = self._total = 0

    async def open(self, server: Server, pairs: int) -> None:
        where = Where(server.port)
        for number in range(pairs):
            self._senders.append(await Client(f"sender{number}", self._acknowledged).connect(where))
            recipient = await Client(f"recipient{number}", self._received).connect(where)
            recipient.send(packet(0x82, b"\0\1" + text(f"r/{number}") + b"\x01"))
            self._recipients.append(recipient)
        await asyncio.sleep(1)

    async def leave(self) -> None:
        """The recipients go away; their sessions stay."""
        for recipient in self._recipients:
            recipient.close()
        await asyncio.sleep(0.5)

    def begin(self, flight: Flight) -> None:
        self.flight = flight
        self._base = self._total

    def send(self, number: int) -> None:
        pair = number % len(self._senders)
        sender = self._senders[pair]
        self._total += 1
        ticket = (self._total % 65535 + 1).to_bytes(2, "big")
        self._under_way[sender, ticket] = number
        sender.send(packet(0x32, text(f"r/{pair}") + ticket + body(self._base + number)))

    def _acknowledged(self, client: Client, kind: int, said: bytes) -> None:
        if kind == PUBACK and self.flight is not None:
            self.flight.confirmed(self._under_way.pop((client, said[:2])))

    def _received(self, client: Client, kind: int, said: bytes) -> None:
        if kind != PUBLISH or self.flight is None:
            return
        at = 2 + int.from_bytes(said[:2])
        client.send(b"\x40\x02" + said[at : at + 2])
        number = int.from_bytes(said[at + 2 : at + 10]) - self._base
        if number >= 0:
            self.flight.confirmed(number)

    def close(self) -> None:
        for client in (*self._senders, *self._recipients):
            client.close()
