"""What a session takes over from the front of its process, however slow its client is."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from mcp_a2a.front.frames import Greeting
from mcp_a2a.front.loop import Front
from mcp_a2a.server.pipes import TextWriter
from tests.front.client import INITIALIZE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its pipes are filled")

LISTS = 40
"""Answers to so many lists of tools fill any pipe."""


@pytest.fixture
def _handlers() -> Iterator[None]:
    """The front leaves handlers of signals behind, for the session."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


@pytest.mark.usefixtures("_handlers")
async def test_a_client_that_reads_nothing_keeps_no_session_from_beginning_and_misses_nothing() -> None:
    asked = [{"id": "hello", "method": "initialize", "params": INITIALIZE}]
    asked += [{"id": number, "method": "tools/list"} for number in range(LISTS)]
    questions = b"".join(json.dumps({"jsonrpc": "2.0", **question}).encode() + b"\n" for question in asked)
    ready, waiting = os.pipe()
    with pipe() as (source, said), pipe() as (taken, sink):

        def load() -> str:
            os.read(ready, 1)
            return "loaded"

        def greet() -> Greeting:
            return Greeting("process", "00" * 32, "", 30)

        os.write(said, questions)
        front = Front(source, sink, None, load, greet)
        front._read()  # what is asked fits into one read
        os.write(waiting, b"\0")
        handover = front.serve()
        assert handover is not None
        assert handover.client.unsent
        told = bytearray()

        async def read() -> None:
            while told.count(b"\n") <= LISTS + 1:
                await anyio.wait_readable(taken)
                told.extend(os.read(taken, 1 << 16))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await TextWriter(sink, tasks.cancel_scope.cancel, bytes(handover.client.unsent)).write('{"id": "last"}\n')
    for end in (ready, waiting):
        os.close(end)
    assert [json.loads(line)["id"] for line in told.splitlines()] == ["hello", *range(LISTS), "last"]
