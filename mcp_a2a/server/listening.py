"""What a person says about where to serve HTTP. Imports nothing heavy: the command line reads it before it decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcp_a2a.certificates import load
from mcp_a2a.server.address import Listen

PUSH_LOCAL_RULE = (
    "Webhooks to this machine or a private network go with a server that only this machine can reach: "
    "--a2a-push-local without --public-url and --behind-proxy, and with every address on loopback, as in :3000."
)


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate: its whole chain, and its key where that is not in the same file."""

    chain: Path
    key: Path | None = None

    def check(self) -> None:
        """Try it.

        Raises:
            ConfigurationError: it cannot be used, and why.
        """
        load(self.chain, self.key)


@dataclass(frozen=True)
class Listening:
    """Where to serve: an address as a person writes it, the public URLs that lead there, and how."""

    address: str
    public_urls: tuple[str, ...] = ()
    card: Literal["v1", "dual"] = "dual"
    certificate: Certificate | None = None
    behind_proxy: bool = False
    """A proxy speaks TLS for it."""
    grpc: str | None = None
    """Where to serve gRPC as well."""
    grpc_in_card: bool = False
    """Name it in the card: some clients refuse a card with a URL of another port."""
    token: bool = False
    """Ask programs of this user for the token too."""
    show_token: bool = False
    """Print the token on a terminal, though it was made earlier."""
    push: bool = False
    """Post what happens to tasks to the URLs that clients name."""
    push_local: bool = False
    """Also to those of this machine and of private networks."""

    @property
    def here_only(self) -> bool:
        """Whether nothing but programs of this machine can get at it.

        Raises:
            ConfigurationError: an address cannot be read.
        """
        return self._is_local and not self.public_urls and not self.behind_proxy

    @property
    def is_overheard(self) -> bool:
        """Whether an observer of the network can read what clients send to it, by HTTP or by gRPC.

        Raises:
            ConfigurationError: an address cannot be read.
        """
        return not self._is_local and self.certificate is None and not self.behind_proxy

    @property
    def _is_local(self) -> bool:
        return all(Listen.parse(where).local for where in (self.address, self.grpc) if where)
