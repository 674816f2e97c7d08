"""What comes beside a body is bounded while it comes, whoever sends it: nothing is proven yet."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import anyio
import psutil
import pytest

from mcp_a2a.server.connection_limits import MAX_FIELDS, MAX_HEAD_BYTES, MAX_PIPELINED, HeadCount
from tests.server.test_http import Web, serving

MIB = 1024 * 1024

PROGRAM = [sys.executable, "-m", "tests.server.http_program"]

START = "GET /healthz HTTP/1.1\r\nHost: {}\r\n"
CHUNKED = START.replace("GET", "POST") + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


async def answered(web: Web, sent: bytes) -> bytes:
    """What the server says until it hangs up, or until what was asked is answered."""
    received = b""
    async with await anyio.connect_tcp(web.host, web.port) as stream:
        with contextlib.suppress(anyio.BrokenResourceError):
            await stream.send(sent)
        with anyio.fail_after(30), contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while not received.endswith((b"ok\n", b"fields.\n")):
                received += await stream.receive()
    return received


def filled(start: str, size: int) -> bytes:
    """A head of that many bytes."""
    head = start + "x: "
    return f"{head}{'a' * (size - len(head) - 4)}\r\n\r\n".encode()


@pytest.mark.parametrize(("size", "status"), [(MAX_HEAD_BYTES, b"200"), (MAX_HEAD_BYTES + 1, b"431")])
async def test_a_head_has_64_kib_and_not_a_byte_more(size: int, status: bytes) -> None:
    async with serving() as web:
        head = filled(START.format(web.name), size)
        assert len(head) == size
        assert (await answered(web, head)).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(("count", "status"), [(MAX_FIELDS, b"200"), (MAX_FIELDS + 1, b"431")])
async def test_a_head_has_128_fields_and_not_one_more(count: int, status: bytes) -> None:
    async with serving() as web:
        fields = "".join(f"x{number}: y\r\n" for number in range(count - 1))
        assert (await answered(web, f"{START.format(web.name)}{fields}\r\n".encode())).startswith(b"HTTP/1.1 " + status)


ENDLESS = {
    "a request line": "GET /" + "a" * 2 * MAX_HEAD_BYTES,
    "a field name": START + "x" * 2 * MAX_HEAD_BYTES,
    "a field": START + "x: " + "y" * 2 * MAX_HEAD_BYTES,
    "empty lines before a request": "\r\n" * MAX_HEAD_BYTES,
    "trailers": CHUNKED + "1\r\n{{\r\n0\r\n" + "x: y\r\n" * 2 * MAX_FIELDS,
    "a trailer": CHUNKED + "1\r\n{{\r\n0\r\nx: " + "y" * 2 * MAX_HEAD_BYTES,
    "the extension of a chunk": CHUNKED + "1;" + "y" * 2 * MAX_HEAD_BYTES,
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_nothing_beside_a_body_goes_on_for_ever(what: str) -> None:
    async with serving() as web:
        received = await answered(web, ENDLESS[what].format(web.name).encode())
        assert b"431" in received or not received  # the connection is closed where an answer was on its way
        assert b"200 OK" not in received
        assert await web.status("GET", "/healthz") == 200


async def test_the_next_head_on_a_connection_is_counted_from_its_own_beginning() -> None:
    async with serving() as web, await anyio.connect_tcp(web.host, web.port) as stream:
        for _ in range(3):
            await stream.send(filled(START.format(web.name), MAX_HEAD_BYTES - 1024))
            assert (await stream.receive()).startswith(b"HTTP/1.1 200")


async def test_few_requests_may_wait_behind_one_that_is_being_answered() -> None:
    async with serving() as web:
        request = f"{START.format(web.name)}\r\n".encode()
        assert (await answered(web, request * (MAX_PIPELINED + 1))).count(b"200 OK") >= 1
        async with await anyio.connect_tcp(web.host, web.port) as stream:
            await stream.send(request * (MAX_PIPELINED + 9))
            received = b""
            with anyio.fail_after(30), contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    received += await stream.receive()
        assert (received.count(b"200 OK"), received.count(b"431")) == (MAX_PIPELINED + 1, 1)
        assert await web.status("GET", "/healthz") == 200


async def test_a_trailer_is_none_of_the_fields() -> None:
    """The guard has looked at the fields when a trailer comes."""
    async with serving(token="t" * 43, this_user=False) as web:
        head = CHUNKED.replace("/healthz", "/mcp").format(web.name)
        sent = f"{head}2\r\n{{}}\r\n0\r\nAuthorization: Bearer {'t' * 43}\r\n\r\n".encode()
        async with await anyio.connect_tcp(web.host, web.port) as stream:
            await stream.send(sent)
            assert (await stream.receive()).startswith(b"HTTP/1.1 401")


# --- memory, in a process of its own ----------------------------------------------------------------


@pytest.fixture
def program() -> Iterator[tuple[psutil.Process, str, int]]:
    with subprocess.Popen(PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = urlsplit(process.stdout.readline())
        yield psutil.Process(process.pid), str(url.hostname), int(url.port or 0)
        process.terminate()
        process.communicate()


def health(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(f"{START.format(f'{host}:{port}')}\r\n".encode())
        return connection.recv(64)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fields", "a line", "requests"])
def test_62_mib_of_header_cost_no_memory(kind: str, program: tuple[psutil.Process, str, int]) -> None:
    process, host, port = program
    start = START.format(f"{host}:{port}").encode()
    piece = {
        "fields": b"".join(b"a%d: b\r\n" % number for number in range(100_000)),
        "a line": b"a" * MIB,
        "requests": (start + b"\r\n") * 20_000,
    }[kind]
    for _ in range(3):  # what the first requests load is not counted
        assert health(host, port).startswith(b"HTTP/1.1 200")
    before = process.memory_info().rss
    sent = 0
    for _ in range(3):
        with socket.create_connection((host, port), timeout=30) as connection, contextlib.suppress(OSError):
            connection.sendall(start)
            while sent < 62 * MIB:
                connection.sendall(piece)
                sent += len(piece)
    assert health(host, port).startswith(b"HTTP/1.1 200")
    assert process.memory_info().rss - before < 2 * MIB


# --- how it counts -----------------------------------------------------------------------------------


def test_a_body_is_not_counted() -> None:
    count = HeadCount()
    count.fed(1000)
    count.ended()
    for _ in range(100):
        count.advanced()
        count.fed(16_384)
    assert count.allowance == 16_384


def test_what_is_fed_never_exceeds_the_limit() -> None:
    count = HeadCount()
    fed = 0
    while count.allowance:
        fed += count.allowance
        count.fed(count.allowance)
    assert fed == MAX_HEAD_BYTES


# --- old and odd clients ------------------------------------------------------------------------------


async def test_http_1_0_gets_no_chunks() -> None:
    hello = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    async with serving(token="t" * 43) as web, await anyio.connect_tcp(web.host, web.port) as stream:
        head = f"POST /mcp HTTP/1.0\r\nHost: {web.name}\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {'t' * 43}\r\n"  # a request of HTTP/1.0 may come through a proxy
        head += f"Accept: application/json, text/event-stream\r\nContent-Length: {len(hello)}\r\n\r\n"
        await stream.send(head.encode() + hello)
        received = b""
        with anyio.fail_after(30), contextlib.suppress(anyio.EndOfStream):
            while True:
                received += await stream.receive()
    head_of_answer, _, body = received.partition(b"\r\n\r\n")
    assert b"chunked" not in head_of_answer.lower()
    assert b'"id":1' in body.replace(b" ", b"")
    assert not body[:1].isdigit()


@pytest.mark.parametrize("version", ["h2c", "websocket", "TLS/1.3"])
@pytest.mark.parametrize("framing", ["Content-Length: {}", "Transfer-Encoding: chunked"])
async def test_an_upgrade_that_is_not_spoken_here_is_ignored(
    version: str, framing: str, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade = f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {version}\r\nHTTP2-Settings: AAMAAABkAAQA\r\n"
    body = b'{"jsonrpc":"2.0","id":1,"method":"nothing"}'
    sized = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if "chunked" in framing else body
    async with serving() as web, await anyio.connect_tcp(web.host, web.port) as stream:
        head = START.replace("GET /healthz", "POST /mcp").format(web.name) + upgrade + framing.format(len(body))
        head += "\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\r\n"
        without = f"{START.format(web.name)}{upgrade}\r\n".encode()
        for request, said in ((without, b"200 OK"), (head.encode() + sized, b'"id":1'), (without * 2, b"200 OK")):
            await stream.send(request)
            received = b""
            with anyio.fail_after(30):
                while said not in received.replace(b" ", b"") and said not in received:
                    received += await stream.receive()
    assert not caplog.records


async def test_no_tunnel_is_opened() -> None:
    async with serving() as web:
        assert (await answered(web, b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 400")
