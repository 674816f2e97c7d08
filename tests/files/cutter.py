"""A wire that breaks: passes bytes on, and drops every connection at given amounts."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Cutter:
    """A TCP proxy on a port of its own. `cuts` are totals of bytes, rising, at which everything is dropped."""

    def __init__(self, port: int, cuts: Sequence[int]) -> None:
        self._target = port
        self._cuts = list(cuts)
        self._passed = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.made = 0
        """Cuts so far."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                with self._lock:
                    self._open |= {near, far}
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16_384):
                target.sendall(data)
                self._count(len(data))
        for end in (source, target):
            self._drop(end)

    def _count(self, size: int) -> None:
        with self._lock:
            self._passed += size
            due = bool(self._cuts) and self._passed >= self._cuts[0]
            if due:
                self._cuts.pop(0)
                self.made += 1
            dropped = list(self._open) if due else []
        for end in dropped:
            self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        with self._lock:
            self._open.discard(end)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()

    def close(self) -> None:
        """No more connections, and none of those that are."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in list(self._open):
            self._drop(end)


@contextmanager
def cutter(port: int, cuts: Sequence[int] = ()) -> Iterator[Cutter]:
    """A wire to that port of this machine."""
    wire = Cutter(port, cuts)
    try:
        yield wire
    finally:
        wire.close()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
