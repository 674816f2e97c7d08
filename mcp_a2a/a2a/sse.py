"""Server-sent events out of whatever pieces they come in (HTML Living Standard 9.2.6), without any I/O."""

from __future__ import annotations

import codecs

from mcp_a2a.errors import WebAnswerError

MAX_EVENT = 8 * 1024 * 1024
"""Characters of one event; also of a line that does not end."""


class EventReader:
    """Feed it pieces; get the data of the events that they complete."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that end in this piece.

        Raises:
            WebAnswerError: an event grows beyond what anybody wants to read.
        """
        text = self._rest + self._decoder.decode(piece)
        held = "\r" if text.endswith("\r") else ""  # it may be the first half of one line end
        lines = text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop() + held
        events = [data for line in lines if (data := self._line(line)) is not None]
        if self._size + len(self._rest) > MAX_EVENT:
            raise WebAnswerError("an event of its stream does not end")
        return events

    def end(self) -> list[str]:
        """What was left when the stream ended: some agents leave out the last empty line."""
        events = [data for line in (self._rest.strip("\r"), "") if (data := self._line(line)) is not None]
        self._rest = ""
        return events

    def _line(self, line: str) -> str | None:
        if not line:
            data, self._data, self._size = self._data, [], 0
            return "\n".join(data) if data else None
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
            self._size += len(value)
        return None
