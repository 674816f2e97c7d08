"""How a relay is set up: by flag and variable, with TLS, and what its operator is told about it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from functools import partial
from pathlib import Path

import aiohttp
import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mcp_a2a import relaying
from mcp_a2a.api.networks import InviteRequest, JoinRequest
from mcp_a2a.config import RelaySettings, load_relay_settings
from mcp_a2a.errors.machine import ConfigurationError, PortInUseError
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.protocol.relay_limits import RelayLimits
from mcp_a2a.protocol.relay_url import parse_relay_url
from mcp_a2a.relaying import serve_relay
from mcp_a2a_transports.relay import server
from mcp_a2a_transports.relay.client import RelayTransport
from tests.node.world import World
from tests.relay.conftest import Open
from tests.relay.guest import person, shake_hands


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    cert_path, key_path = tmp_path / "cert.pem", tmp_path / "key.pem"
    renewed(cert_path, key_path)
    return cert_path, key_path


def renewed(cert_path: Path, key_path: Path) -> None:
    """Put a new one of each there."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


async def test_with_a_certificate_it_speaks_tls_and_says_so_in_its_url(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    settings = RelaySettings(home=tmp_path, listen="127.0.0.1:0", tls_cert=cert, tls_key=key)
    async with serve_relay(settings) as relay:
        url = parse_relay_url(relay.url)
        assert (url.scheme, url.relay) == ("wss", relay.relay)
        trusting = ssl.create_default_context(cafile=str(cert))
        connector = aiohttp.TCPConnector(ssl=trusting, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as client:
            async with client.ws_connect(url.endpoint) as socket:
                assert (await shake_hands(socket, person(), relay=relay.relay)).peer == relay.relay
            with pytest.raises(aiohttp.ClientError):
                await client.ws_connect(f"ws://127.0.0.1:{relay.port}/link")


async def test_over_tls_the_key_in_the_url_counts_beside_the_certificate(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate may be exchanged; whoever has one that is accepted is not the relay without its key."""
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=str(cert))
    settings = RelaySettings(home=tmp_path, listen="127.0.0.1:0", tls_cert=cert, tls_key=key, closed=False)
    world = World(tmp_path)
    async with serve_relay(settings) as relay:
        async with world.person("wary") as wary:
            with pytest.raises(RelayError, match="TLS certificate is not accepted"):
                await wary.api.call(InviteRequest(network="shop", relays=(relay.url,)))
        monkeypatch.setattr("tests.node.world.RelayTransport", partial(RelayTransport, trusting))
        elsewhere = relay.url.replace(str(relay.relay), world.did("mallory"))
        async with world.person("alice") as alice:
            with pytest.raises(RelayError, match="another agent answers there"):
                await alice.api.call(InviteRequest(network="shop", relays=(elsewhere,)))
            ticket = (await alice.api.call(InviteRequest(network="shop", relays=(relay.url,)))).ticket
        renewed(cert, key)
        trusting = ssl.create_default_context(cafile=str(cert))
        monkeypatch.setattr("tests.node.world.RelayTransport", partial(RelayTransport, trusting))
        async with world.person("bob") as bob:
            assert (await bob.api.call(JoinRequest(ticket=ticket))).agents_visible == 1


async def test_a_certificate_that_cannot_be_used_is_said_to_be_before_anything_starts(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    for wrong in ({"tls_cert": tmp_path / "missing.pem"}, {"tls_cert": key, "tls_key": cert}, {"tls_key": key}):
        with pytest.raises(ConfigurationError) as refused:
            async with serve_relay(RelaySettings.model_validate({"home": tmp_path / "r", **wrong})):
                pass
        assert refused.value.hint
    assert not (tmp_path / "r").exists()


async def test_a_port_that_another_program_has_is_said_to_be_taken(open_relay: Open, tmp_path: Path) -> None:
    async with open_relay() as (relay, _):
        with pytest.raises(PortInUseError):
            async with serve_relay(RelaySettings(home=tmp_path / "second", listen=f"127.0.0.1:{relay.port}")):
                pass


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"public_url": "wss://relay.example"}, "wss://relay.example/#"),
        ({"public_url": "wss://relay.example/team/#did:key:z6MkOld"}, "wss://relay.example/team/#"),
        ({"public_url": "ws://192.0.2.7:80"}, "ws://192.0.2.7/#"),
    ],
)
async def test_others_are_told_the_public_url_with_the_key_that_pins_it(
    open_relay: Open, settings: dict[str, object], expected: str
) -> None:
    async with open_relay(**settings) as (relay, _):
        assert relay.url == f"{expected}{relay.relay}"
        assert parse_relay_url(relay.url).relay == relay.relay


async def test_the_key_of_a_relay_stays_the_same(open_relay: Open) -> None:
    async with open_relay() as (first, _):
        pass
    async with open_relay() as (second, _):
        assert first.relay == second.relay


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["only be reached from this machine"]),
        ({"listen": "0.0.0.0:0"}, ["not encrypted", "open"]),
        ({"listen": "0.0.0.0:0", "closed": True}, ["not encrypted"]),
        ({"listen": "0.0.0.0:0", "closed": True, "behind_proxy": True}, []),
        ({"listen": "127.0.0.1:0", "public_url": "wss://relay.example"}, []),
    ],
)
async def test_its_operator_is_told_what_the_settings_mean(
    open_relay: Open, settings: dict[str, object], words: list[str]
) -> None:
    async with open_relay(**settings) as (relay, _):
        assert len(relay.warnings) == len(words)
        for word, warning in zip(words, relay.warnings, strict=True):
            assert word in warning


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MCP_A2A_RELAY_MAX_QUEUE", "7")
    monkeypatch.setenv("MCP_A2A_RELAY_RATE", "30")
    monkeypatch.setenv("MCP_A2A_HOME", str(tmp_path))
    settings = load_relay_settings({"rate": 90})
    assert (settings.max_queue, settings.rate, settings.burst, settings.home) == (7, 90, 600, tmp_path)
    monkeypatch.setenv("MCP_A2A_RELAY_HOME", str(tmp_path / "relays"))
    assert load_relay_settings({}).folder == tmp_path / "relays" / "relay"
    assert load_relay_settings({"home": tmp_path}).home == tmp_path


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        (":6060", ("127.0.0.1", 6060)),
        ("10.1.2.3:0", ("10.1.2.3", 0)),
        ("[::]:6060", ("::", 6060)),
        ("relay.example:443", ("relay.example", 443)),
    ],
)
def test_where_to_listen(listen: str, address: tuple[str, int]) -> None:
    assert load_relay_settings({"listen": listen}).address == address


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("listen", "6060"),
        ("listen", "::1:6060"),
        ("listen", "host:99999"),
        ("listen", "host:x"),
        ("max_queue", 0),
        ("ttl_days", 8),
        ("rate", 0),
        ("metrics_allow", ["10.0.0.0/99"]),
    ],
)
def test_what_cannot_be_set_names_flag_and_variable(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_relay_settings({field: value})
    assert f"--{field.replace('_', '-')}" in refused.value.message
    assert f"MCP_A2A_RELAY_{field.upper()}" in refused.value.message


async def test_whoever_connects_and_never_begins_with_tls_is_cut(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WAIT_SECONDS", 0.3)
    cert, key = certificate
    async with (
        serve_relay(RelaySettings(home=tmp_path, listen="127.0.0.1:0", tls_cert=cert, tls_key=key)) as relay,
        await anyio.connect_tcp("127.0.0.1", relay.port) as stream,
    ):
        with anyio.fail_after(30), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()


def test_a_relay_that_is_told_nothing_has_the_limits_of_the_protocol() -> None:
    assert relaying._limits(RelaySettings()) == RelayLimits()
