"""What our relay does with each load."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from loads.flight import WARM_UP, Figures, resident_bytes
from loads.line import Where
from loads.members import Member, Pair, RelayLoad
from loads.servers import forwarder, relay
from loads.shape import Shape
from loads.wire import Wire

PATH = "/link"
AT_ONCE = 32
"""Connections that are opened at a time."""


@dataclass(frozen=True)
class Idle:
    """What connections cost that say nothing."""

    connections: int
    bytes_each: float
    opens_per_s: float


@dataclass(frozen=True)
class Offline:
    """Messages to recipients that are away: to the disk, and later from it."""

    stored: Figures
    fetched_per_s: float
    """From their return until they have all of it."""

    @property
    def foreign_cores(self) -> float:
        return self.stored.foreign_cores


async def online(folder: Path, shape: Shape, tls: Certificate | None = None) -> Figures:
    """Both sides connected."""
    with relay(folder, *_options(tls)) as (server, _):
        pairs = [Pair.make() for _ in range(shape.pairs)]
        await open_all(pairs, Where(server.port, PATH, tls=tls.context if tls else None))
        await RelayLoad(pairs, WARM_UP, shape.in_flight).measure(server.pid)
        figures = await RelayLoad(pairs, shape.count, shape.in_flight).measure(server.pid)
        close_all(pairs)
        return figures


async def offline(folder: Path, shape: Shape) -> Offline:
    """Recipients are away: each message is done when it is on the disk. Then they come back."""
    with relay(folder) as (server, _):
        pairs = [Pair.make() for _ in range(shape.pairs)]
        await open_all(pairs, Where(server.port, PATH))
        for pair in pairs:
            pair.recipient.close()
        await asyncio.sleep(0.5)
        warm = RelayLoad(pairs, WARM_UP, shape.in_flight, done_at=b"stored")
        await warm.measure(server.pid)
        load = RelayLoad(pairs, shape.count, shape.in_flight, done_at=b"stored")
        load.owes(warm)
        figures = await load.measure(server.pid)
        start = asyncio.get_running_loop().time()
        for pair in pairs:
            await pair.recipient.open(Where(server.port, PATH))
        await asyncio.wait_for(load.all_received.wait(), 60)
        seconds = asyncio.get_running_loop().time() - start
        close_all(pairs)
        return Offline(figures, (shape.count + WARM_UP) / seconds)


async def idle(folder: Path, connections: int, tls: Certificate | None = None) -> Idle:
    """So many agents that are connected and say nothing."""
    with relay(folder, *_options(tls)) as (server, _):
        where = Where(server.port, PATH, tls=tls.context if tls else None)
        first = [Member() for _ in range(AT_ONCE)]
        await open_members(first, where)
        await asyncio.sleep(1)
        before = resident_bytes(server.pid)
        members = [Member() for _ in range(connections)]
        start = asyncio.get_running_loop().time()
        await open_members(members, where)
        seconds = asyncio.get_running_loop().time() - start
        await asyncio.sleep(2)
        grown = resident_bytes(server.pid) - before
        lost = sum(member.wire is None or member.wire.is_closed for member in (*first, *members))
        if lost:
            raise RuntimeError(f"{lost} of {connections} connections were lost")
        for member in (*first, *members):
            member.close()
        return Idle(connections, grown / connections, connections / seconds)


async def floor(shape: Shape) -> Figures:
    """The same load through a server that only passes messages on."""
    with forwarder() as server:
        pairs = [Pair.make() for _ in range(shape.pairs)]
        for number, pair in enumerate(pairs):
            for member in (pair.sender, pair.recipient):
                member.wire = await Wire.open(Where(server.port, f"/{number}"))
                member.listen()
        await RelayLoad(pairs, WARM_UP, shape.in_flight).measure(server.pid)
        figures = await RelayLoad(pairs, shape.count, shape.in_flight).measure(server.pid)
        close_all(pairs)
        return figures


async def open_all(pairs: Sequence[Pair], where: Where) -> None:
    await open_members([member for pair in pairs for member in (pair.sender, pair.recipient)], where)


async def open_members(members: Sequence[Member], where: Where) -> None:
    for at in range(0, len(members), AT_ONCE):
        await asyncio.gather(*(member.open(where) for member in members[at : at + AT_ONCE]))


def close_all(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        pair.close()


def _options(tls: Certificate | None) -> tuple[str, ...]:
    return ("--tls-cert", str(tls.cert), "--tls-key", str(tls.key)) if tls else ()


@dataclass(frozen=True)
class Certificate:
    """Made for one run: signed by itself, and trusted by its own context."""

    cert: Path
    key: Path
    context: ssl.SSLContext

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        secret = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(secret.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(secret, hashes.SHA256())
        )
        cert, key = folder / "cert.pem", folder / "key.pem"
        cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            secret.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cls(cert, key, ssl.create_default_context(cafile=str(cert)))
