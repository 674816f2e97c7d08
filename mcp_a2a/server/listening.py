"""The options for serving HTTP. Imports nothing heavy: the command line reads it before it decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mcp_a2a.certificates import load
from mcp_a2a.server.address import Listen
from mcp_a2a.serving_options import ServingOptions

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
class Listening(ServingOptions):
    """The address at which to serve, as a person writes it, with its options."""

    address: str

    @property
    def certificate(self) -> Certificate | None:
        """The certificate of the server, if it has one."""
        return Certificate(self.tls_cert, self.tls_key) if self.tls_cert is not None else None

    @property
    def here_only(self) -> bool:
        """True if nothing but programs of this machine can get at it.

        Raises:
            ConfigurationError: an address cannot be read.
        """
        return self._is_local and not self.public_url and not self.behind_proxy

    @property
    def is_overheard(self) -> bool:
        """True if an observer of the network can read what clients send to it, by HTTP or by gRPC.

        Raises:
            ConfigurationError: an address cannot be read.
        """
        return not self._is_local and self.tls_cert is None and not self.behind_proxy

    @property
    def _is_local(self) -> bool:
        return all(Listen.parse(where).local for where in (self.address, self.grpc_listen) if where)
