"""The link on which each envelope went out, so that its answer comes back to that one."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.protocol.control import Answer, Delivered, Refused, Stored, envelopes_of
from mcp_a2a_transports.relay.link import RelayedLink

MAX_REMEMBERED = 10_000
"""The answer to an older one still reaches the node."""


@dataclass(slots=True)
class _Dispatch:
    link: RelayedLink
    sent_at: float | None
    """None where the time to the answer says nothing about the way."""


class Dispatches:
    """Of one session."""

    def __init__(self) -> None:
        self._sent: dict[bytes, _Dispatch] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._sent)

    def note(self, envelope_id: bytes, link: RelayedLink, sent_at: float | None) -> None:
        """An envelope went out, or was asked about, which is no round trip."""
        self._sent.pop(envelope_id, None)
        self._sent[envelope_id] = _Dispatch(link, sent_at)
        if len(self._sent) > MAX_REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def answered(self, answer: Answer, now: float) -> list[RelayedLink]:
        """The links that an answer is for, each once. A stored envelope will be answered again."""
        links: dict[RelayedLink, None] = {}
        for envelope_id in envelopes_of(answer):
            dispatch = self._sent.get(envelope_id)
            if dispatch is None:
                continue
            links[dispatch.link] = None
            if isinstance(answer, Stored):
                dispatch.sent_at = None
            else:
                del self._sent[envelope_id]
                _learn(dispatch, answer, now)
        return list(links)

    def forget(self, link: RelayedLink) -> None:
        """Forget the envelopes of a link that was closed."""
        self._sent = {key: dispatch for key, dispatch in self._sent.items() if dispatch.link is not link}

    def clear(self) -> None:
        """Forget the envelopes of all links."""
        self._sent.clear()


def _learn(dispatch: _Dispatch, answer: Answer, now: float) -> None:
    """Note the state of the route and of the recipient from an answer."""
    if isinstance(answer, Delivered) and dispatch.sent_at is not None:
        dispatch.link.newest_rtt = now - dispatch.sent_at
    if isinstance(answer, Refused) and answer.bundle is not None and answer.bundle.peer == dispatch.link.peer:
        dispatch.link.learn(answer.bundle)
