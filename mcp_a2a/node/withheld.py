"""What is not attached to a message unless a person typed it: keys, tokens and credentials, by name and by content.

An assistant can be talked into attaching a file. The folders that it may attach from are the first bound; this is the
second, for the secrets that lie in such folders. It is a net, no proof: an archive is not looked into, and a password
in a text looks like text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from mcp_a2a.errors import FileError

_FOLDERS = frozenset(
    {
        ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store", ".mozilla", ".thunderbird",
        ".1password", ".bitcoin", ".electrum", ".putty", "keychains", "keyrings", "kwalletd", "gcloud", "chromium",
        "google-chrome", "firefox", "bravesoftware", "vivaldi", "microsoft-edge",
    }
)  # fmt: skip
"""Folders whose whole content is withheld, in lower case."""

_NAMES = re.compile(
    r"\.env.*|.*\.(?:env|pem|key|p12|pfx|pkcs12|jks|keystore|kdbx?|ppk|ovpn|keychain(?:-db)?)"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)(?:[._-].*)?|id_(?:ecdsa|ed25519)_sk(?:\..*)?"
    r"|[._]netrc|\.git-credentials|\.pgpass|\.my\.cnf|\.npmrc|\.yarnrc\.yml|\.pypirc|\.htpasswd|\.dockercfg"
    r"|\.[a-z_]*history|fish_history|credentials(?:\.(?:json|toml|db|xml))?|application_default_credentials\.json"
    r"|login data(?: for account)?|cookies(?:\.sqlite|\.binarycookies)?|logins\.json|key[34]\.db|local state|web data"
    r"|\.vault-token|client_secrets?.*\.json|secrets?\.(?:ya?ml|json|toml|ini|txt)|wallet\.dat|\.s3cfg|\.boto|\.terraformrc"
    r"|auth\.json|shadow|gshadow|http\.token|terraform\.tfstate.*|.*\.tfvars",
    re.IGNORECASE,
)
"""Names of files that hold secrets."""

_MARKERS = (
    b"PRIVATE KEY", b"PuTTY-User-Key-File-", b"AGE-SECRET-KEY-1", b"aws_secret_access_key", b"AWS_SECRET_ACCESS_KEY",
    b"client-key-data", b'"secret"', b"a2a1", b"admit=", b'"kty"', b"ghp_", b"gho_", b"ghs_", b"github_pat_", b"glpat-",
    b"xox", b"sk-proj-", b"sk-ant-", b"sk-svcacct-", b"sk_live_", b"AIza", b"hvs.", b"npm_", b"pypi-AgE",
)  # fmt: skip
"""One of them is in every text that the pattern below finds: looking for these first is ten times as fast."""

_SECRET = re.compile(
    rb"---- ?-?BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)? ?----"  # PEM, OpenSSH, OpenPGP, SSH2
    rb"|PuTTY-User-Key-File-\d"
    rb"|AGE-SECRET-KEY-1[0-9A-Z]{20}"
    rb"|(?:aws_secret_access_key|AWS_SECRET_ACCESS_KEY)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{30}"
    rb"|client-key-data:\s*[A-Za-z0-9+/]{30}"
    rb'|"secret":\s*"[0-9a-f]{64}"'  # a network of ours
    rb"|\ba2a1[a-z0-9]{60}"  # a ticket to one
    rb"|[#&]admit=[A-Za-z0-9_-]{20}"  # the URL of a relay that admits
    rb'|"[dk]"\s*:\s*"[A-Za-z0-9_-]{42}'  # JWK
    rb"|gh[ops]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60}|glpat-[A-Za-z0-9_-]{20}|xox[abeprs]-[0-9A-Za-z-]{20}"
    rb"|sk-(?:proj|ant|svcacct)-[A-Za-z0-9_-]{32}|sk_live_[A-Za-z0-9]{24}|AIza[0-9A-Za-z_-]{35}|hvs\.[A-Za-z0-9_-]{24}"
    rb"|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{40}"
)
_WHOLE = re.compile(rb"(?:[0-9a-f]{64}|[A-Za-z0-9_-]{43})\s*")
"""A file that holds nothing else is a key or a token: ours are written so."""

_SQLITE = b"SQLite format 3\0"
_OUR_TABLES = (b"CREATE TABLE outbox(", b"CREATE TABLE answered(")
"""One of a node's database, one of a relay's."""

_WAL = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""How SQLite's write-ahead log begins, which has pages of its database."""

_OVERLAP = 256
"""Bytes of a chunk that are looked at again with the next one: a secret may lie across the two."""


def check_name(path: Path, shown: str) -> None:
    """Refuse a file that is named, or lies, where secrets are.

    Raises:
        FileError: it does.
    """
    *folders, name = [part.casefold() for part in path.parts]
    if _NAMES.fullmatch(name) or not _FOLDERS.isdisjoint(folders):
        raise _withheld(shown, "files of that name or folder hold keys or credentials")


class CheckedFile:
    """A file whose content is looked at as it is read: what is read has passed, whatever becomes of the file."""

    def __init__(self, source: BinaryIO, shown: str) -> None:
        self._file, self._shown = source.fileno(), shown
        self._state = self._look()
        self._offset = 0
        self._tail = b""
        self._begun = self._is_database = False

    def _look(self) -> tuple[int, int, int]:
        found = os.fstat(self._file)
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _read(self, size: int) -> bytes:
        """The next bytes, in one call of the system.

        Of two contents that took turns, the end of one behind the beginning of the other would show no marker. A file
        that shrinks gives less than its size, and what it grew by is not read.
        """
        wanted = min(size, self._state[0] - self._offset)
        chunk = os.pread(self._file, wanted, self._offset)
        if len(chunk) < wanted or self._look() != self._state:
            raise FileError(f"{self._shown} changed while it was read.", "Attach it again when nothing writes it.")
        self._offset += len(chunk)
        return chunk

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            FileError: they hold a secret, or the file is being written.
        """
        chunk = self._read(size)
        if not self._begun:
            self._begun = True
            self._begin(chunk)
        seen = self._tail + chunk
        if _holds_secret(seen):
            raise _withheld(self._shown, "it holds a private key or a credential")
        if self._is_database and _has(seen, _OUR_TABLES):
            raise _withheld(self._shown, "it is a database of mcp-a2a")
        self._tail = seen[-_OVERLAP:]
        return chunk

    def rewind(self) -> None:
        """Go back to the beginning."""
        self._offset = 0
        self._tail, self._begun = b"", False

    def _begin(self, chunk: bytes) -> None:
        self._is_database = chunk.startswith(_SQLITE)
        if _WHOLE.fullmatch(chunk):
            raise _withheld(self._shown, "it holds a key or a token, and nothing else")
        if chunk.startswith(_WAL):
            raise _withheld(self._shown, "it is the log of a database")


def _holds_secret(data: bytes) -> bool:
    if _has(data, _MARKERS) and _SECRET.search(data) is not None:
        return True
    return b"\0-\0" in data and _holds_secret(data.replace(b"\0", b""))  # UTF-16, as editors of Windows write


def _has(data: bytes, markers: Iterable[bytes]) -> bool:
    return any(marker in data for marker in markers)


def _withheld(shown: str, reason: str) -> FileError:
    return FileError(
        f"{shown} may not be attached: {reason}.",
        "If your user wants it sent, they can do it in a terminal: mcp-a2a send AGENT TEXT --file PATH",
    )
