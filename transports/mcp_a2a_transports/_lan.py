"""What the TXT record of a stranger may make us believe: a key and a port."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_a2a.errors import RemoteProtocolError
from mcp_a2a.protocol.did import DID_LENGTH, PeerId

VERSION = b"1"
MIN_PORT = 1024
MAX_PORT = 65_535


def parse_txt_untrusted(properties: Mapping[bytes, bytes | None]) -> tuple[PeerId, int]:
    """The key and port that a TXT record names."""
    if properties.get(b"v") != VERSION:
        raise RemoteProtocolError("This record is of another version.")
    did, port = properties.get(b"did") or b"", properties.get(b"port") or b""
    if len(did) != DID_LENGTH or not did.isascii():
        raise RemoteProtocolError("This record names no key.")
    if not port.isdigit() or len(port) > len(str(MAX_PORT)):
        raise RemoteProtocolError("This record names no port.")
    if not MIN_PORT <= int(port) <= MAX_PORT:
        raise RemoteProtocolError("This record names a port that no agent of a user listens on.")
    return PeerId.parse_untrusted(did.decode()), int(port)
