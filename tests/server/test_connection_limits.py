"""Connections that ask nothing do not keep others from asking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.abc import SocketStream

from mcp_a2a.server.connection_limits import LimitedConnections, Limits
from tests.server.test_http import Web, serving

HALF_A_HEADER = b"POST / HTTP/1.1\r\nHost: x\r\n"

A_REQUEST = "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n"

HASTY = Limits(header_seconds=0.2)


@asynccontextmanager
async def connected(web: Web, count: int, start: bytes) -> AsyncIterator[list[SocketStream]]:
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(count):
            streams.append(await stack.enter_async_context(await anyio.connect_tcp(web.host, web.port)))
            if start:
                await streams[-1].send(start)
        yield streams


async def ended(stream: SocketStream) -> None:
    """Wait until the server closes it without a word."""
    with anyio.fail_after(30), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
        await stream.receive()


# --- over sockets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", HALF_A_HEADER])
async def test_who_sends_no_whole_header_in_time_is_shown_out(start: bytes) -> None:
    async with serving(limits=HASTY) as web, connected(web, 2, start) as streams:
        for stream in streams:
            await ended(stream)


async def test_a_header_that_drips_is_not_waited_for_any_longer() -> None:
    async with serving(limits=HASTY) as web, connected(web, 1, HALF_A_HEADER) as (stream,):
        with anyio.fail_after(30), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            while True:
                await stream.send(b"X: y\r\n")
                with anyio.move_on_after(0.02):
                    await stream.receive()


async def test_the_next_header_has_as_little_time_as_the_first() -> None:
    async with serving(limits=HASTY) as web, connected(web, 1, b"") as (stream,):
        await stream.send(A_REQUEST.format(web.name).encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 200")
        await stream.send(HALF_A_HEADER)
        await ended(stream)


async def test_a_body_has_more_time_than_a_header() -> None:
    head = "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{"
    async with serving(limits=HASTY) as web, connected(web, 2, b"") as (slow, silent):
        await slow.send(head.format(web.name).encode())
        await ended(silent)
        await slow.send(b"}")
        assert (await slow.receive()).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("start", [b"", HALF_A_HEADER])
async def test_a_flood_of_silent_connections_keeps_nobody_from_asking(start: bytes) -> None:
    limits = Limits(silent=3)
    async with serving(limits=limits) as web, connected(web, 8, start) as streams:
        assert await web.status("GET", "/healthz") == 200
        for stream in streams[:-3]:
            await ended(stream)
        assert await web.hello() == 200


# --- who has to go ---------------------------------------------------------------------------------


@dataclass(eq=False)
class HttpConnection:
    """A connection from an address."""

    address: str
    is_of_another_user: bool = False
    is_out: bool = field(default=False)

    def evict(self) -> None:
        self.is_out = True


def crowd(address: str, count: int) -> list[HttpConnection]:
    return [HttpConnection(address) for _ in range(count)]


def entering(opened: list[HttpConnection], connections: LimitedConnections) -> int:
    """Let them in; how many were shown out after that."""
    for connection in opened:
        connections.entered(connection, 0)
    return sum(connection.is_out for connection in opened)


def test_a_host_loses_its_own_silent_ones_and_not_those_of_others() -> None:
    connections = LimitedConnections(Limits(silent_per_host=3), behind_proxy=False)
    assert entering(honest := crowd("192.0.2.1", 2), connections) == 0
    assert entering(flood := crowd("192.0.2.2", 10), connections) == 7
    assert [connection.is_out for connection in flood] == [True] * 7 + [False] * 3
    assert not any(connection.is_out for connection in honest)


def test_a_host_has_a_share_of_the_connections_whatever_it_asks() -> None:
    connections = LimitedConnections(Limits(per_host=3), behind_proxy=False)
    asking = crowd("192.0.2.2", 3)
    for connection in asking:
        connections.entered(connection, 0)
        connections.asks(connection)
    assert entering(crowd("192.0.2.2", 2), connections) == 2
    assert entering(crowd("192.0.2.1", 2), connections) == 0
    connections.left(asking[0])


def test_a_place_that_was_left_is_free_again() -> None:
    connections = LimitedConnections(Limits(per_host=1), behind_proxy=False)
    first, second = crowd("2001:db8::1", 1) + crowd("2001:db8::2", 1)
    connections.entered(first, 0)
    connections.left(first)
    assert entering([second], connections) == 0
    assert entering(crowd("2001:db8::3", 1), connections) == 1


@pytest.mark.parametrize(
    ("address", "behind_proxy"),
    [("127.0.0.1", False), ("::1", False), ("::ffff:127.0.0.1", False), ("192.0.2.1", True)],
)
def test_programs_of_this_machine_and_the_crowd_of_a_proxy_share_an_address(address: str, behind_proxy: bool) -> None:  # noqa: FBT001
    connections = LimitedConnections(Limits(per_host=2, silent_per_host=2), behind_proxy=behind_proxy)
    assert entering(crowd(address, 10), connections) == 0


def test_programs_of_other_users_share_the_places_of_one_host() -> None:
    connections = LimitedConnections(Limits(per_host=2), behind_proxy=False)
    assert entering([HttpConnection("127.0.0.1", is_of_another_user=True) for _ in range(5)], connections) == 3
    assert entering(crowd("127.0.0.1", 5), connections) == 0


def test_where_too_many_are_silent_the_first_of_them_goes_wherever_they_come_from() -> None:
    connections = LimitedConnections(Limits(silent=3), behind_proxy=False)
    opened = [HttpConnection(f"192.0.2.{number}") for number in range(5)]
    assert entering(opened, connections) == 2
    assert [connection.is_out for connection in opened] == [True, True, False, False, False]


def test_silence_is_counted_from_the_last_answer() -> None:
    connections = LimitedConnections(Limits(header_seconds=10), behind_proxy=False)
    connection = HttpConnection("192.0.2.1")
    connections.entered(connection, 0)
    connections.asks(connection)
    connections.evict_overdue(100)
    connections.waits(connection, 100)
    connections.evict_overdue(109)
    assert not connection.is_out
    connections.evict_overdue(110)
    assert connection.is_out
