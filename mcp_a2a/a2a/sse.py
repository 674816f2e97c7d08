"""Server-sent events out of whatever pieces they come in (HTML Living Standard 9.2.6), without any I/O."""

from __future__ import annotations

import codecs
import re

from mcp_a2a.errors import WebAnswerError

MAX_EVENT = 8 * 1024 * 1024
"""Characters of one event; also of a line that does not end."""


NEWS = frozenset({"", "message"})
"""Names of events that are for everyone. What has another one, such as `ping`, is for who waits for that."""

_ANSWERS = (
    ('"jsonrpc"', '"result"'), ('"jsonrpc"', '"error"'), ('"task"',), ('"statusUpdate"',), ('"artifactUpdate"',),
)  # fmt: skip
"""What an event of any name has that is an answer all the same: some agents name theirs after what they tell."""


_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")


def is_stream(media_type: str, body: bytes) -> bool:
    """Whether these are server-sent events, by their type or by how they begin."""
    return media_type == "text/event-stream" or _BEGINNING.match(body) is not None


class EventReader:
    """Feed it pieces; get the data of the events that they complete."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._is_too_large = False

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that end in this piece.

        Raises:
            WebAnswerError: an event grows beyond what anybody wants to read; those before it were given out.
        """
        text = "" if self._is_too_large else self._rest + self._decoder.decode(piece)
        held = "\r" if text.endswith("\r") else ""  # it may be the first half of one line end
        lines = text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop() + held
        events = [data for line in lines if (data := self._line(line)) is not None]
        self._is_too_large = self._is_too_large or self._size + len(self._rest) > MAX_EVENT
        if self._is_too_large and not events:
            raise WebAnswerError("an event of its stream does not end")
        return events

    def end(self) -> list[str]:
        """What was left when the stream ended: some agents leave out the last empty line."""
        events = [data for line in (self._rest.strip("\r"), "") if (data := self._line(line)) is not None]
        self._rest = ""
        return events

    def _line(self, line: str) -> str | None:
        if not line:
            data, name = "\n".join(self._data), self._name
            self._data, self._name, self._size = [], "", 0
            return data if data.strip() and (name in NEWS or _is_answer(data)) else None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field == "event":
            self._name = value
        return None


def _is_answer(data: str) -> bool:
    return data.lstrip().startswith("{") and any(all(mark in data for mark in marks) for marks in _ANSWERS)
