"""The certificate of a listener, by its files as they are now: they are renewed while it serves; and that of another.

Each handshake asks whether they have changed. What cannot be used is told of, and the earlier certificate stays.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.wall_clock import wall_clock

logger = logging.getLogger(__name__)

_Mark = tuple[int, int, int] | None
"""By what a change of a file is seen."""


_OUT_OF_TIME = frozenset({9, 10})
"""Codes of OpenSSL for a certificate that is not yet valid, or has expired (verify(1))."""


def why_not_accepted(error: Exception) -> str:
    """Why the certificate of another is not accepted, in OpenSSL's words, in which nothing is the other side's."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "it is for another name"
    if error.verify_code not in _OUT_OF_TIME:
        return error.verify_message
    now = datetime.fromtimestamp(wall_clock(), UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{error.verify_message}; the clock of this machine says {now}"


def load(chain: Path, key: Path | None, *, may_ask: bool = True) -> ssl.SSLContext:
    """TLS 1.2 and later with this certificate. For a key with a passphrase the terminal is asked, or it is refused.

    Raises:
        ConfigurationError: it cannot be used, and why.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(chain, key, None if may_ask else "")
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The certificate {chain} cannot be used: {error.strerror or error}.",
            "Name a PEM file with the whole chain, and its key with --tls-key.",
        ) from error
    return context


class CertificateFiles:
    """The files of a certificate: its whole chain, and its key where that is not in the same file."""

    def __init__(self, chain: Path, key: Path | None) -> None:
        self.chain, self.key = chain, key
        self._marks = self._seen()

    def renewed(self) -> ssl.SSLContext | None:
        """TLS with what they are now, where they have changed since they were looked at last and can be used."""
        marks = self._seen()
        if marks == self._marks:
            return None
        self._marks = marks
        try:
            context = load(self.chain, self.key, may_ask=False)
        except ConfigurationError as error:  # its key may follow in a moment
            logger.warning("the earlier certificate is used on: %s", error.message)
            return None
        logger.info("the certificate %s has changed and was read again", self.chain)
        return context

    def pem(self) -> tuple[bytes, bytes]:
        """The key and the chain, as they are written.

        Raises:
            OSError
        """
        return (self.key or self.chain).read_bytes(), self.chain.read_bytes()

    def _seen(self) -> Sequence[_Mark]:
        return [_mark(path) for path in (self.chain, self.key) if path is not None]


class ServerTls:
    """The TLS context of a listener: with the certificate of this moment, or the last one that could be used."""

    def __init__(self, chain: Path, key: Path | None) -> None:
        """Read the files.

        Raises:
            ConfigurationError: see `load`.
        """
        self._files = CertificateFiles(chain, key)
        self._context = load(chain, key)

    def __call__(self) -> ssl.SSLContext:
        """TLS for the next handshake."""
        self._context = self._files.renewed() or self._context
        return self._context


def _mark(path: Path) -> _Mark:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
