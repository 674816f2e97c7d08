"""The direct transport against clients and servers that mean no good, and machines that do not work."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp
import anyio
import anyio.abc
import pytest

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.machine import ConfigurationError, PortInUseError
from mcp_a2a.protocol.control import Bye, ByeCode, Challenge, Role
from mcp_a2a.protocol.envelope import MAX_ENVELOPE
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Established, Handshake, Side, Waiting
from mcp_a2a.protocol.link_keys import LinkKeys
from mcp_a2a.protocol.link_places import MAX_PLACES as MAX_LINKS
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a.protocol.pending_connections import MAX_WAITING_PER_HOST
from mcp_a2a.protocol.rates import Rate
from mcp_a2a_transports import _link_server
from mcp_a2a_transports.direct import DirectTransport
from tests.transports.people import Witness, credentials, envelope, identity, ring, until

HELLO = b"GET /link HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
UPGRADE = HELLO + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"


@dataclass
class Ben:
    """The node that is attacked, and Ann, who must be served all the while."""

    of_ben: Witness
    address: DirectAddr
    ann: DirectTransport
    of_ann: Witness

    async def still_serves(self) -> None:
        """Ann dials, and gets a receipt."""
        link = await self.ann.dial(identity("ben").peer_id, self.address, "direct")
        had = len(self.of_ann.answers)
        link.submit(envelope(1, "ben"))
        await until(lambda: len(self.of_ann.answers) > had, self.of_ann)
        link.close("enough")

    async def connect(self) -> anyio.abc.SocketStream:
        """A bare connection to his port."""
        return await anyio.connect_tcp(self.address.host, self.address.port)


@pytest.fixture
async def ben() -> AsyncIterator[Ben]:
    of_ben, of_ann = Witness("ben"), Witness("ann")
    host, ann = DirectTransport("127.0.0.1"), DirectTransport("127.0.0.1")
    async with host.open(credentials("ben"), of_ben) as (address,), ann.open(credentials("ann"), of_ann):
        assert isinstance(address, DirectAddr)
        yield Ben(of_ben, address, ann, of_ann)


@asynccontextmanager
async def websocket(address: DirectAddr) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A client that speaks WebSocket and then whatever the test wants."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://{address}/link", max_msg_size=0) as ws:
        yield ws


async def log_in(socket: aiohttp.ClientWebSocketResponse, name: str) -> LinkKeys:
    """Prove a key, by hand."""
    handshake = Handshake(Side.DIALLER, identity(name), ring(name).current, bytes(32))
    challenge = decode_untrusted(await socket.receive_str())
    step = handshake.receive_untrusted(challenge)
    assert isinstance(step, Waiting)
    await socket.send_str(encode(step.reply))
    established = handshake.receive_untrusted(decode_untrusted(await socket.receive_str()))
    assert isinstance(established, Established)
    return established.keys


async def last_word(socket: aiohttp.ClientWebSocketResponse, keys: LinkKeys | None = None) -> ByeCode | None:
    """The code of the bye that comes before the end, if one comes."""
    word = None
    with anyio.fail_after(30):
        while (message := await socket.receive()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            frame = decode_untrusted(message.data if keys is None else keys.open_untrusted(message.data))
            word = frame.code if isinstance(frame, Bye) else word
    return word


async def response_to(ben: Ben, request: bytes) -> bytes:
    """All that a client gets that sends these bytes and then listens."""
    received = b""
    async with await ben.connect() as stream:
        await stream.send(request)
        with anyio.fail_after(30), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                received += await stream.receive()
    return received


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET /link HTTP/1.1\r\nHost: x\r\n",
        b"POST /link HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        HELLO + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n",
        HELLO + b"Sec-WebSocket-Version: 1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        UPGRADE + b"Origin: http://localhost:3000\r\n",
        UPGRADE + b"Origin: null\r\n",
    ],
)
async def test_what_does_not_ask_for_a_link_gets_404_and_learns_nothing(ben: Ben, request_head: bytes) -> None:
    response = await response_to(ben, request_head + b"\r\n")
    assert response.startswith(b"HTTP/1.1 404 ")
    assert b"Server: mcp-a2a\r\n" in response
    assert b"aiohttp" not in response
    await ben.still_serves()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET /link HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET /link HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /link HTTP/9.9\r\n\r\n",
        b"GET /link\r\n\r\n",
        b"X" * 100_000 + b"\r\n\r\n",
        b"GET /link HTTP/1.1\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        b"GET /link HTTP/1.1\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        bytes(range(256)) * 10 + b"\r\n\r\n",
    ],
    ids=range(9),
)
async def test_garbage_instead_of_http_ends_its_own_connection_only(ben: Ben, garbage: bytes) -> None:
    await response_to(ben, garbage)
    await ben.still_serves()
    assert len(ben.of_ben.opened) == 1


async def test_a_page_in_a_browser_cannot_open_a_link(ben: Ben) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"http://{ben.address}/link", origin="http://127.0.0.1:8080")
    assert refused.value.status == 404


# --- links ----------------------------------------------------------------------------------------


async def test_compression_is_not_accepted(ben: Ben) -> None:
    url = f"http://{ben.address}/link"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=15) as ws:
        assert ws.compress == 0


@pytest.mark.parametrize(
    "first",
    [
        "null",
        "[]",
        "{}",
        '{"t":"hello"}',
        "x" * 70_000,
        "[" * 60_000,
        b"\0" * 100,
        b"\xff" * MAX_ENVELOPE,
        envelope(1, "ben"),
        '{"t":"bye","code":"leaving"}',
    ],
    ids=range(10),
)
async def test_who_does_not_say_hello_is_closed_with_a_reason(ben: Ben, first: str | bytes) -> None:
    async with websocket(ben.address) as ws:
        await (ws.send_str(first) if isinstance(first, str) else ws.send_bytes(first))
        assert await last_word(ws) in {ByeCode.PROTOCOL, None}
    assert ben.of_ben.story == []
    await ben.still_serves()


@pytest.mark.parametrize(
    "then",
    ["null", '{"t":"ping"}', '{"t":"hello"}', "garbage", b"garbage", b"\0" * (MAX_ENVELOPE + 2), "x" * 2_000_000],
    ids=range(7),
)
@pytest.mark.parametrize("tagged", [True, False], ids=["with a MAC", "without"])
async def test_garbage_after_hello_closes_that_link_only(ben: Ben, then: str | bytes, *, tagged: bool) -> None:
    async with websocket(ben.address) as ws:
        keys = await log_in(ws, "mallory")
        await until(lambda: ben.of_ben.opened, ben.of_ben)
        with suppress(ConnectionError):  # closed while we are still sending
            if tagged:
                await ws.send_bytes(keys.tagged(then.encode() if isinstance(then, str) else then))
            else:
                await (ws.send_str(then) if isinstance(then, str) else ws.send_bytes(then))
        await until(lambda: ben.of_ben.closed, ben.of_ben)
    ((_, reason, goodbye),) = ben.of_ben.closed
    assert "broke the protocol" in reason
    assert not goodbye
    await ben.still_serves()


async def test_websocket_pings_are_not_answered_with_memory(ben: Ben) -> None:
    async with websocket(ben.address) as ws:
        keys = await log_in(ws, "mallory")
        await ws.ping(b"x" * 100)
        assert await last_word(ws, keys) is ByeCode.PROTOCOL


async def test_a_message_that_is_not_utf8_closes_that_link_only(ben: Ben) -> None:
    async with websocket(ben.address) as ws:
        await ws.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
        await last_word(ws)
    await ben.still_serves()


async def test_a_proof_made_for_another_listener_is_refused(ben: Ben) -> None:
    async with websocket(ben.address) as ws:
        challenge = decode_untrusted(await ws.receive_str())
        assert isinstance(challenge, Challenge)
        handshake = Handshake(Side.DIALLER, identity("ann"), ring("ann").current, bytes(32))
        step = handshake.receive_untrusted(Challenge(2, challenge.nonce, identity("mallory").peer_id, Role.NODE, 1))
        assert isinstance(step, Waiting)
        await ws.send_str(encode(step.reply))
        assert await last_word(ws) is ByeCode.PROOF
    assert ben.of_ben.story == []


# --- crowds ---------------------------------------------------------------------------------------


async def test_200_silent_connections_do_not_keep_anybody_out(ben: Ben) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(await ben.connect()) for _ in range(200)]
        await ben.still_serves()
        # Who had to make room is closed by now.
        for stream in silent[: 200 - MAX_WAITING_PER_HOST]:
            with anyio.fail_after(30), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
        await ben.still_serves()


async def test_200_websockets_without_a_hello_do_not_keep_anybody_out(ben: Ben) -> None:
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(websocket(ben.address)) for _ in range(200)]
        assert await last_word(sockets[0]) is ByeCode.BUSY
        await ben.still_serves()
    assert len(ben.of_ben.opened) == 1


async def test_more_links_than_there_may_be_are_refused_and_told_why(ben: Ben) -> None:
    async with AsyncExitStack() as stack:
        for number in range(MAX_LINKS):
            ws = await stack.enter_async_context(websocket(ben.address))
            await log_in(ws, f"guest {number}")
            await until(lambda: len(ben.of_ben.opened) > number, ben.of_ben)  # noqa: B023  awaited here
        one_more = await stack.enter_async_context(websocket(ben.address))
        keys = await log_in(one_more, "one more")  # its key decides if another makes room for it
        assert await last_word(one_more, keys) is ByeCode.BUSY
        with suppress(LinkError):  # or it is open for a moment
            await ben.ann.dial(None, ben.address, "direct")
        assert len(ben.of_ben.open_links) == MAX_LINKS
    await until(lambda: len(ben.of_ben.closed) == MAX_LINKS, ben.of_ben)
    await ben.still_serves()


@pytest.mark.slow
async def test_who_says_nothing_for_five_seconds_is_turned_out(ben: Ben) -> None:
    async with await ben.connect() as silent, await ben.connect() as slow, websocket(ben.address) as polite:
        await slow.send(b"GET /link HT")
        with anyio.fail_after(30):
            for stream in (silent, slow):
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    await stream.receive()
            assert await last_word(polite) is ByeCode.TIMEOUT


# --- servers that are none of ours ----------------------------------------------------------------


@asynccontextmanager
async def server(handle: Callable[[anyio.abc.SocketStream], Awaitable[None]]) -> AsyncIterator[DirectAddr]:
    """Something else that listens."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await handle(stream)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield DirectAddr("127.0.0.1", listener.extra(anyio.abc.SocketAttribute.local_port))  # noqa: S610  not Django
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
)
async def test_what_is_no_node_is_a_link_error_that_says_so(ben: Ben, answer: bytes) -> None:
    async def handle(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(answer)

    async with server(handle) as address:
        with pytest.raises(LinkError, match="something other than an mcp-a2a node"):
            await ben.ann.dial(None, address, "direct")


async def test_a_redirect_is_not_followed(ben: Ben) -> None:
    knocked: list[bytes] = []

    async def victim(stream: anyio.abc.SocketStream) -> None:
        knocked.append(await stream.receive())

    async with server(victim) as elsewhere:

        async def handle(stream: anyio.abc.SocketStream) -> None:
            await stream.receive()
            head = f"HTTP/1.1 307 Elsewhere\r\nLocation: http://{elsewhere}/admin\r\nContent-Length: 0\r\n\r\n"
            await stream.send(head.encode())

        async with server(handle) as address:
            with pytest.raises(LinkError, match="something other"):
                await ben.ann.dial(None, address, "direct")
    assert knocked == []


async def test_the_first_bytes_that_we_send_are_always_the_same(ben: Ben) -> None:
    heard: list[bytes] = []

    async def handle(stream: anyio.abc.SocketStream) -> None:
        heard.append(await stream.receive())

    async with server(handle) as address:
        with pytest.raises(LinkError):
            await ben.ann.dial(None, address, "direct")
    assert heard
    for request in heard:  # aiohttp tries once more when a connection breaks so early
        assert request.startswith(b"GET /link HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"User-Agent: mcp-a2a\r\n" in request
        assert b"Python" not in request


@pytest.mark.slow
async def test_a_server_that_never_answers_is_given_up_after_five_seconds(ben: Ben) -> None:
    async def handle(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await anyio.sleep_forever()

    async with server(handle) as address:
        with pytest.raises(LinkError, match="no answer within 5 s"):
            await ben.ann.dial(None, address, "direct")


async def test_a_name_that_does_not_exist_is_a_link_error_that_says_so(ben: Ben) -> None:
    with pytest.raises(LinkError, match="no machine of that name"):
        await ben.ann.dial(None, DirectAddr("nobody.invalid", 7301), "direct")


# --- this machine ---------------------------------------------------------------------------------


async def test_a_fixed_port_that_another_program_has_is_a_port_in_use_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            async with DirectTransport("127.0.0.1", port).open(credentials("ben"), Witness("ben")):
                pytest.fail("two programs listen on one port")


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host", "2001:db8::1", "192.168..5", "x" * 64 + ".local"])
async def test_an_address_that_is_not_ours_is_a_configuration_error(host: str) -> None:
    with pytest.raises(ConfigurationError, match="not possible"):
        async with DirectTransport(host).open(credentials("ben"), Witness("ben")):
            pytest.fail("listening where we are not")


async def test_ipv6_works_where_the_machine_has_it() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    ben = DirectTransport("::1")
    async with ben.open(credentials("ben"), Witness("ben")) as (address,):
        ann = DirectTransport("127.0.0.1")
        async with ann.open(credentials("ann"), Witness("ann")):
            link = await ann.dial(identity("ben").peer_id, address, "local")
            assert link.address.startswith("[::1]:")


async def test_a_host_that_connects_again_and_again_is_cut_before_it_costs_a_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_link_server, "_is_from_here", lambda _: False)
    monkeypatch.setattr(_link_server, "ARRIVALS", Rate(0.001, 3))
    of_ben, listener = Witness("ben"), DirectTransport("127.0.0.1")
    async with listener.open(credentials("ben"), of_ben) as (address,):
        assert isinstance(address, DirectAddr)
        for _ in range(2):
            async with websocket(address) as ws:
                await ws.receive_str()
        async with websocket(address) as ws:
            await log_in(ws, "a member")  # who is known is not counted
            await until(lambda: of_ben.opened, of_ben)
        async with websocket(address) as ws:
            await ws.receive_str()
        with pytest.raises(aiohttp.ClientError):
            async with websocket(address):
                pass
