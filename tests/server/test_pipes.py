"""Lines in and text out, over descriptors that do not block."""

from __future__ import annotations

import os
from collections.abc import Iterator

import anyio
import pytest

from mcp_a2a.front import splitting
from mcp_a2a.front.splitting import Overlong, Whole
from mcp_a2a.server import pipes
from mcp_a2a.server.lines import FromClient, Unreadable
from mcp_a2a.server.pipes import LineReader, TextWriter, from_client


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:  # the test closed it
            continue


async def lines_of(descriptor: int) -> list[Whole]:
    reader, lines = LineReader(descriptor), list[Whole]()
    while (line := await reader.next_line()) is not None:
        lines.append(line)
    return lines


async def test_lines_come_out_whole_however_they_went_in(pipe: tuple[int, int]):
    reading, writing = pipe
    pieces = [b"on", b"e\ntw", b"o\n\nthr", b"ee\n", "schön\n".encode()[:4], "schön\n".encode()[4:]]
    lines: list[Whole] = []

    async def feed() -> None:
        for piece in pieces:
            os.write(writing, piece)
            await anyio.wait_all_tasks_blocked()
        os.close(writing)

    async with anyio.create_task_group() as group:
        group.start_soon(feed)
        lines += await lines_of(reading)
    assert lines == [b"one", b"two", b"", b"three", "schön".encode()]


async def test_a_last_line_without_its_end_is_a_line(pipe: tuple[int, int]):
    reading, writing = pipe
    os.write(writing, b"one\ntwo")
    os.close(writing)
    assert await lines_of(reading) == [b"one", b"two"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"id":8,"text":"' + b"x" * 500 + b'"}}',
        b'{"params":{"id":8,"text":"' + b"x" * 500 + b'"},"jsonrpc":"2.0","method":"tools/call","id":7}',
        b'{"params":{"id":8,"text":"' + b"x" * 500 + b'"},"id": 7 , "jsonrpc":"2.0" ,"method":"tools/call" } ',
    ],
)
@pytest.mark.parametrize("ended", [True, False])
async def test_a_line_that_is_too_long_is_refused_under_its_id_and_the_next_one_is_read(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, line: bytes, *, ended: bool
):
    monkeypatch.setattr(splitting, "MAX_LINE_BYTES", 200)
    monkeypatch.setattr(splitting, "EDGE_BYTES", 100)
    monkeypatch.setattr(pipes, "_CHUNK", 7)
    reading, writing = pipe
    os.write(writing, b"short\n" + (line + b"\nnext\n" if ended else line))
    os.close(writing)
    first, dropped, *rest = await lines_of(reading)
    assert first == b"short"
    assert isinstance(dropped, Overlong)
    refused = from_client(dropped, 1)
    assert isinstance(refused, Unreadable)
    assert (refused.ids, refused.code) == ((7,), -32600)
    assert rest == ([b"next"] if ended else [])


async def test_bytes_that_are_not_text_do_not_stop_the_reader(pipe: tuple[int, int]):
    reading, writing = pipe
    os.write(writing, b"\xff\xfe\nnext\n")
    os.close(writing)
    odd, line = await lines_of(reading)
    assert line == b"next"
    assert isinstance(from_client(odd, 1), Unreadable)


async def test_a_text_larger_than_the_pipe_arrives_whole(pipe: tuple[int, int]):
    reading, writing = pipe
    text = "é" * 1_000_000
    received = bytearray()

    async def drain() -> None:
        while len(received) < len(text.encode()):
            await anyio.wait_readable(reading)
            received.extend(os.read(reading, 65_536))

    async with anyio.create_task_group() as group:
        group.start_soon(drain)
        await TextWriter(writing, lambda: None).write(text)
    assert received.decode() == text


async def test_a_reader_that_went_away_is_reported(pipe: tuple[int, int]):
    reading, writing = pipe
    gone: list[bool] = []
    os.close(reading)
    await TextWriter(writing, lambda: gone.append(True)).write("hello")
    assert gone == [True]


async def test_a_reader_can_be_cancelled_while_it_waits(pipe: tuple[int, int]):
    reading, _ = pipe
    async with anyio.create_task_group() as group:

        async def read() -> None:
            await LineReader(reading).next_line()

        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("beginning", "end", "ids"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":', b"}", (7,)),
        (b'{"method":"tools/call","params":', b',"id":7,"jsonrpc":"2.0"}', (7,)),
        (b'{"jsonrpc":"2.0","id":7,"result":', b"}", ()),
    ],
)
def test_a_million_members_are_refused_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch, beginning: bytes, end: bytes, ids: tuple[int, ...]
) -> None:
    """One process may read for all assistants of its user: they would all wait for it."""
    monkeypatch.setattr(pipes, "read_line", lambda _: pytest.fail("it was read"))
    refused = from_client(beginning + b'{"a":[' + b"{}," * 1_000_000 + b"{}]}" + end, 1)
    assert isinstance(refused, Unreadable)
    assert (refused.code, refused.ids) == (-32600, ids)
    assert refused.reason == "The message has more than 10,000 members."


def test_ten_thousand_members_are_read() -> None:
    text = b'"' + b"{,[" * 100_000 + b'"'
    line = b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":[' + b"1," * 9_990 + text + b"]}}"
    assert isinstance(from_client(line, 1), FromClient)
