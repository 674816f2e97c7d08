"""Sessions that a test can talk to without MACs: they are put on and taken off here, as the other end would."""

from __future__ import annotations

from typing_extensions import override

from mcp_a2a.protocol.crypto import FrameMac
from mcp_a2a.protocol.link import LinkSession
from mcp_a2a.protocol.link_keys import LinkKeys
from mcp_a2a.protocol.relay_session import RelaySession


def mirrored(keys: LinkKeys) -> LinkKeys:
    """What the other end of the link has, before anything was said."""
    return LinkKeys(FrameMac(keys.receiving._key), FrameMac(keys.sending._key))


class _Clear:
    """The other end's keys, from the moment on at which there are any."""

    def __init__(self) -> None:
        self._keys: LinkKeys | None = None

    def of(self, keys: LinkKeys | None) -> LinkKeys | None:
        if self._keys is None and keys is not None:
            self._keys = mirrored(keys)
        return self._keys


def _put_on(keys: LinkKeys | None, frame: str | bytes) -> str | bytes:
    if keys is None:
        return frame
    return keys.tagged(frame.encode(errors="surrogatepass") if isinstance(frame, str) else frame)


def _take_off(keys: LinkKeys | None, frame: str | bytes) -> str | bytes:
    if keys is None or isinstance(frame, str):
        return frame
    body = keys.open_untrusted(frame)
    return body.decode() if body.startswith(b"{") else body


class ClearLink(LinkSession):
    """A node's side of a link."""

    def __init__(self, *words: object) -> None:
        super().__init__(*words)  # type: ignore[arg-type]  # the very same
        self._clear = _Clear()

    @override
    def receive_frame_untrusted(self, frame: str | bytes, now: float) -> None:
        super().receive_frame_untrusted(_put_on(self._clear.of(self._keys), frame), now)

    @override
    def frames_to_send(self) -> list[str | bytes]:
        return [_take_off(self._clear.of(self._keys), frame) for frame in super().frames_to_send()]


class ClearRelaySession(RelaySession):
    """A relay's side of a link."""

    def __init__(self, *words: object) -> None:
        self._clear = _Clear()
        super().__init__(*words)  # type: ignore[arg-type]  # the very same

    @override
    def receive_frame_untrusted(self, frame: str | bytes, now: float) -> None:
        super().receive_frame_untrusted(_put_on(self._clear.of(self._keys), frame), now)

    def heard(self) -> list[str | bytes]:
        """What it says, without MACs."""
        return [_take_off(self._clear.of(self._keys), frame) for frame in self.frames_to_send()]
