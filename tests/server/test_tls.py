"""HTTPS: by our own certificate, or by that of a proxy in front."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import anyio
import pytest
from anyio.streams.tls import TLSAttribute

from mcp_a2a.config import Settings
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.server.hosting import Served, host
from mcp_a2a.server.listening import Listening
from tests.server.standin import StandIn
from tests.transports.certificates import Authority, authority

CARD = "/.well-known/agent-card.json"


@asynccontextmanager
async def hosted(home: Path, listening: Listening) -> AsyncIterator[tuple[Served, str]]:
    settings = Settings(home=home, mdns=False)
    async with anyio.create_task_group() as tasks:
        served: Served = await tasks.start(partial(host, StandIn(), None, listening, settings))
        yield served, served.url
        tasks.cancel_scope.cancel()


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path)


async def test_with_a_certificate_cards_and_calls_are_https(tmp_path: Path, ca: Authority) -> None:
    chain, key = ca.issue("127.0.0.1")
    listening = Listening("127.0.0.1:0", tls_cert=chain, tls_key=key)
    async with hosted(tmp_path / "home", listening) as (_, url), aiohttp.ClientSession() as web:
        assert url.startswith("https://127.0.0.1:")
        async with web.get(url + CARD, ssl=ca.trusted) as response:
            card = await response.json()
        assert card["url"] == f"{url}/"
        assert {interface["url"] for interface in card["supportedInterfaces"]} == {f"{url}/"}
        for origin, status in ((url, 200), (url.replace("https", "http"), 403)):
            async with web.get(url + CARD, ssl=ca.trusted, headers={"Origin": origin}) as response:
                assert response.status == status
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await web.get(url + CARD)
        with pytest.raises(aiohttp.ClientError):
            await web.get(url.replace("https", "http") + CARD)


async def test_a_renewed_certificate_is_shown_from_the_next_connection_on(tmp_path: Path, ca: Authority) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    first, second = ca.issue("127.0.0.1"), ca.issue("127.0.0.1")
    shutil.copy(first[0], chain)
    shutil.copy(first[1], key)
    listening = Listening("127.0.0.1:0", tls_cert=chain, tls_key=key)
    async with hosted(tmp_path / "home", listening) as (_, url), aiohttp.ClientSession() as kept:
        port = int(url.rpartition(":")[2])

        async def shown() -> bytes:
            stream = await anyio.connect_tcp("127.0.0.1", port, tls=True, ssl_context=ca.trusted)
            async with stream:
                return bytes(stream.extra_attributes[TLSAttribute.peer_certificate_binary]())

        async with kept.get(url + CARD, ssl=ca.trusted) as response:
            assert await response.read()
        before = await shown()
        assert before == der(first[0])
        replace(second[0], chain)  # its key has not come yet
        assert await shown() == before
        replace(second[1], key)
        assert await shown() == der(second[0])
        async with kept.get(url + CARD, ssl=ca.trusted) as response:
            assert response.status == 200
        chain.write_text("no certificate")
        assert await shown() == der(second[0])
        chain.unlink()
        assert await shown() == der(second[0])


def replace(source: Path, target: Path) -> None:
    """As programs that renew certificates do it."""
    aside = target.with_suffix(".new")
    shutil.copy(source, aside)
    aside.replace(target)


def der(chain: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(chain.read_text())


async def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path, ca: Authority) -> None:
    old = ca.trusted
    old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_2
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    chain, key = ca.issue("127.0.0.1")
    listening = Listening("127.0.0.1:0", tls_cert=chain, tls_key=key)
    apart = aiohttp.TCPConnector(force_close=True)
    async with hosted(tmp_path / "home", listening) as (_, url), aiohttp.ClientSession(connector=apart) as web:
        async with web.get(url + CARD, ssl=old) as response:
            assert response.status == 200
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(aiohttp.ClientError):
            await web.get(url + CARD, ssl=old)


async def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, ca: Authority) -> None:
    chain, _ = ca.issue("127.0.0.1")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    for cert, key in ((nonsense, None), (chain, tmp_path / "missing"), (chain, nonsense)):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await host(StandIn(), None, Listening("127.0.0.1:0", tls_cert=cert, tls_key=key), Settings(home=tmp_path))


async def test_only_who_listens_for_others_without_tls_is_warned(tmp_path: Path, ca: Authority) -> None:
    chain, key = ca.issue("127.0.0.1")
    here, everywhere = "127.0.0.1:0", "0.0.0.0:0"
    for listening, warned in (
        (Listening(here), False),
        (Listening(everywhere), True),
        (Listening(everywhere, tls_cert=chain, tls_key=key), False),
        (Listening(everywhere, public_url=("https://agents.example",), behind_proxy=True), False),
    ):
        async with hosted(tmp_path / "home", listening) as (served, _):
            assert bool(served.warnings) is warned
            assert served.this_user is (listening.address == here)


async def test_behind_a_proxy_the_card_names_the_proxy_and_calls_need_the_token(tmp_path: Path) -> None:
    listening = Listening("127.0.0.1:0", public_url=("https://agents.example",), behind_proxy=True)
    proxied = {"Host": "agents.example", "Origin": "https://agents.example"}
    async with hosted(tmp_path / "home", listening) as (served, url), aiohttp.ClientSession() as web:
        async with web.get(url + CARD, headers=proxied) as response:
            card = await response.json()
        assert card["url"] == "https://agents.example/"
        assert card["securitySchemes"]
        async with web.get(f"{url}/tasks", headers=proxied) as response:
            assert response.status == 401
        assert served.token is not None
