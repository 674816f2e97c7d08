"""The client of a front: what it says, and what it is told, on two descriptors that do not block."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import suppress

from mcp_a2a.front.splitting import Splitter, Whole

_CHUNK = 64 * 1024


class ClientPipe:
    """Both ways to a client.

    Attributes:
        splitter: where the next lines begin.
        unsent: what the client was told and has not taken.
        ended: the client says no more.
        gone: the client takes no more.
    """

    def __init__(self, source: int, sink: int) -> None:
        self.source, self.sink = source, sink
        self.splitter = Splitter()
        self.unsent = bytearray()
        self.ended = self.gone = False

    def lines(self) -> Iterator[Whole]:
        """Read once; every line that is whole by then."""
        try:
            chunk = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return
        except ConnectionResetError:
            chunk = b""  # a socket may stand for a pipe
        self.ended = not chunk
        self.splitter.feed(chunk)
        while (content := self.splitter.next_line()) is not None:
            yield content

    def say(self, text: bytes) -> None:
        """Tell the client this, now or when it takes it."""
        self.unsent += text
        self.flush()

    def flush(self) -> None:
        """Tell it what it has not taken yet, as far as it takes it."""
        try:
            while self.unsent:
                del self.unsent[: os.write(self.sink, self.unsent)]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.gone = True


def write_log(record: bytes) -> None:
    """Write what the session has logged, unless its reader is gone."""
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    with suppress(OSError):
        if poll.poll(0):
            os.write(2, record)
