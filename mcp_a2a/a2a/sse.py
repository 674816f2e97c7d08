"""Server-sent events out of whatever pieces they come in (HTML Living Standard 9.2.6), without any I/O."""

from __future__ import annotations

import codecs
import io
import re

from mcp_a2a.errors.web import WebAnswerError

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
    """True if these are server-sent events, by their type or by how they begin."""
    return media_type == "text/event-stream" or _BEGINNING.match(body) is not None


class EventReader:
    """Feed it pieces; get the data of the events that they complete."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest, self._rest_size = io.StringIO(), 0
        """The line that has not ended: a piece costs what is new in it, however long the line is by then."""
        self._held = ""
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._is_too_large = False

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that end in this piece.

        Raises:
            WebAnswerError: an event is larger than a reader accepts; those before it were given out.
        """
        text = "" if self._is_too_large else self._held + self._decoder.decode(piece)
        self._held = "\r" if text.endswith("\r") else ""  # it may be the first half of one line end
        *lines, rest = text.removesuffix(self._held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if lines:
            lines[0] = self._take_rest() + lines[0]
        self._rest_size += self._rest.write(rest)
        events = [data for line in lines if (data := self._line(line)) is not None]
        self._is_too_large = self._is_too_large or self._size + self._rest_size > MAX_EVENT
        if self._is_too_large and not events:
            raise WebAnswerError("an event of its stream does not end")
        return events

    def end(self) -> list[str]:
        """What was left when the stream ended: some agents leave out the last empty line."""
        return [data for line in (self._take_rest(), "") if (data := self._line(line)) is not None]

    def _take_rest(self) -> str:
        rest, self._rest, self._rest_size = self._rest.getvalue(), io.StringIO(), 0
        return rest

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
