"""What a relay says over HTTP, and to whom."""

from __future__ import annotations

from dataclasses import fields

import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.test_utils import make_mocked_request

from mcp_a2a.protocol.control import Stored
from mcp_a2a.protocol.pending_connections import is_here
from mcp_a2a_transports.relay.server_http import Pages, RelayFacts, real_host
from tests.relay.conftest import Open
from tests.relay.guest import Door, envelope, person


async def get(door: Door, path: str, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with door.client.get(f"http://{door.base}{path}", headers=named) as response:
        assert response.headers["Server"] == "mcp-a2a"
        return response.status, await response.text()


async def test_it_says_that_it_lives_and_nothing_else_to_anybody(door: Door) -> None:
    assert await get(door, "/healthz") == (200, "ok\n")
    assert await get(door, "/healthz", X_Forwarded_For="203.0.113.9") == (200, "ok\n")


async def test_its_operator_sees_numbers_and_never_a_key(door: Door) -> None:
    alice, bob = await door.enter(), await door.enter()
    await bob.leave()
    sealed = envelope(bob.peer)
    await alice.submit(sealed, Stored)
    status, metrics = await get(door, "/metrics")
    assert status == 200
    assert "mcp_a2a_relay_messages 1.0" in metrics
    assert "mcp_a2a_relay_stored_total 1.0" in metrics
    status, facts = await get(door, "/status")
    assert status == 200
    assert '"messages": 1' in facts
    for text in (metrics, facts):
        assert "did:key" not in text
        assert bob.peer.key.hex() not in text


@pytest.mark.parametrize("path", ["/metrics", "/status"])
@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "Via", "Origin"])
async def test_numbers_are_not_for_whoever_comes_through_a_proxy_or_a_web_page(
    door: Door, path: str, header: str
) -> None:
    assert (await get(door, path, **{header: "http://localhost"}))[0] == 404


async def test_behind_a_proxy_the_real_caller_is_asked_for_its_network(open_relay: Open) -> None:
    async with open_relay(behind_proxy=True, metrics_allow=("203.0.113.0/24",)) as (_, door):
        assert (await get(door, "/metrics", X_Forwarded_For="203.0.113.9"))[0] == 200
        assert (await get(door, "/metrics", X_Forwarded_For="203.0.113.9, 198.51.100.1"))[0] == 404
        assert (await get(door, "/metrics", X_Forwarded_For="127.0.0.1"))[0] == 404
        assert (await get(door, "/metrics", X_Forwarded_For="garbage"))[0] == 404
        assert (await get(door, "/metrics"))[0] == 200


@pytest.mark.parametrize("path", ["/metrics", "/status"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 404),
        ("127.0.0.1.evil.example:6060", 404),
        ("relay.example", 200),
        ("RELAY.example:443", 200),
        ("127.0.0.1:6060", 200),
        ("[::1]:6060", 200),
        ("localhost:6060", 200),
        ("relay:6060", 404),
    ],
)
async def test_numbers_are_not_for_a_page_whose_name_was_made_to_point_to_this_machine(
    open_relay: Open, path: str, host: str, status: int
) -> None:
    async with open_relay(public_url="wss://relay.example") as (_, door):
        assert (await get(door, path, Host=host))[0] == status


@pytest.mark.parametrize("path", ["/metrics", "/status"])
@pytest.mark.parametrize("said", ["127.0.0.1", "::1", "10.9.9.9", "::ffff:127.0.0.1"])
def test_a_forwarded_address_is_not_believed_from_another_machine_of_a_private_network(path: str, said: str) -> None:
    pages = Pages(lambda: None, ["10.0.0.0/8"])  # type: ignore[arg-type, return-value]
    request = make_mocked_request("GET", path, headers={"X-Forwarded-For": said, "Host": "10.1.2.3"})
    host = real_host(request, "10.1.2.3", behind_proxy=True)
    assert not is_here(host)
    assert pages.answer(request, "10.1.2.3", host) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_numbers_are_not_for_a_page_of_another_site(door: Door, site: str) -> None:
    assert (await get(door, "/status", **{"Sec-Fetch-Site": site}))[0] == 404
    assert (await get(door, "/status", **{"Sec-Fetch-Site": "none"}))[0] == 200


def test_a_name_without_a_dot_is_the_relay_for_other_machines_that_may_look() -> None:
    facts = RelayFacts(*[0] * len(fields(RelayFacts)))
    pages = Pages(lambda: facts, ["10.0.0.0/8"])
    request = make_mocked_request("GET", "/status", headers={"Host": "relay:6060"})
    answer = pages.answer(request, "10.1.2.3", "10.1.2.3")
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/link", "/admin", "/metrics/x", "/../relay.db"])
async def test_everything_else_is_not_found(door: Door, path: str) -> None:
    assert (await get(door, path))[0] == 404


async def test_a_page_in_a_browser_opens_no_link(door: Door) -> None:
    with pytest.raises(Exception, match="404"):
        await door.knock({"Origin": "http://localhost:3000"})


async def test_writing_is_not_reading(door: Door) -> None:
    async with (
        ClientSession(connector=TCPConnector(force_close=True)) as client,
        client.post(f"http://{door.base}/status", json={}) as response,
    ):
        assert response.status == 404


async def test_hosts_behind_a_proxy_are_counted_one_by_one(open_relay: Open) -> None:
    async with open_relay(behind_proxy=True, host_connections=2) as (_, door):
        guests = [
            await door.enter(headers={"X-Forwarded-For": f"10.0.0.1, {host}"})
            for host in ("203.0.113.1", "203.0.113.2")
            for _ in range(2)
        ]
        assert len(guests) == 4
        with pytest.raises(Exception, match="busy"):
            await door.enter(person(), headers={"X-Forwarded-For": "203.0.113.1"})
        await door.enter(headers={"X-Forwarded-For": "203.0.113.3"})
