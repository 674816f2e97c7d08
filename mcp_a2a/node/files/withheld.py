"""Files that are attached only if a person typed their name: keys, tokens and credentials, by name and by content.

An assistant can be talked into attaching a file. The folders that it may attach from are the first bound; this is the
second, for the secrets that lie in such folders. It is a net, no proof: an archive is not looked into, and a password
in a text looks like text.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.tasks import FileError

_FOLDERS = frozenset(
    {
        ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store", ".mozilla", ".thunderbird",
        ".1password", ".bitcoin", ".electrum", ".putty", "keychains", "keyrings", "kwalletd", "gcloud", "chromium",
        "google-chrome", "firefox", "bravesoftware", "vivaldi", "microsoft-edge", ".secrets", "secrets", ".vnc", ".op",
        ".minikube", "serviceaccount", "system-connections",
    }
)  # fmt: skip
"""Folders whose whole content is withheld, in lower case."""

_NAMES = re.compile(
    r"\.env.*|.*\.(?:env|pem|key|p8|pk8|p12|pfx|pkcs12|jks|jceks|keystore|kdbx?|ppk|ovpn|keychain(?:-db)?|keytab)"
    r"|.*\.(?:1pux|psafe3|nmconnection|kubeconfig|tfvars)|kubeconfig|krb5cc_.*"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)(?:[._~ -].*)?|id_(?:ecdsa|ed25519)_sk(?:[.~ ].*)?"
    r"|[._]netrc|\.git-credentials|\.pgpass|\.my\.cnf|\.npmrc|\.yarnrc\.yml|\.pypirc|\.htpasswd|\.dockercfg"
    r"|\.[a-z_]*history|fish_history|\.?credentials(?:\.(?:tfrc\.json|json|toml|db|xml))?|oauth_creds?\.json|token\.json"
    r"|login data(?: for account)?|cookies(?:\.sqlite|\.binarycookies)?|logins\.json|key[34]\.db|local state|web data"
    r"|\.vault-token|client_secrets?.*\.json|secrets?\.(?:ya?ml|json|toml|ini|txt)|wallet\.dat|\.s3cfg|\.boto|\.terraformrc"
    r"|passw(?:or)?ds?\.(?:txt|csv|md|json|ya?ml|xlsx?|ods|docx?|odt)|application_default_credentials\.json"
    r"|auth\.json|g?shadow[-~]?|http\.token|terraform\.tfstate.*|\.?rclone\.conf|settings-security\.xml|\.claude\.json"
    r"|\.xauthority|\.smbcredentials|\.msmtprc|\.fetchmailrc",
    re.IGNORECASE | re.DOTALL,  # a line break is a character of a name, too
)
"""Names of files that hold secrets."""

_PEM_KINDS = (b"", b"RSA ", b"EC ", b"DSA ", b"OPENSSH ", b"ENCRYPTED ")


def _encoded(text: bytes) -> bytes:
    """The beginning of the text in base64, as far as it does not depend on what follows."""
    return base64.b64encode(text[: len(text) // 3 * 3])


_ENCODED_PEM = b"|".join(_encoded(b"-----BEGIN " + kind + b"PRIVATE KEY") for kind in _PEM_KINDS)
_PLACEHOLDERS = (
    rb"(?:pass|password|passwd|pwd?|secret|token|user|root|x{3,}|test|postgres|guest|admin|example|changeme"
    rb"|your[a-z_-]{0,32})"
)
_IN_URL = rb"[!#-&(-.0-9;=?A-~]"  # what is printed, but no quote, slash, colon, angle bracket or at sign
_PEM = rb"BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)? ?----"  # PEM, OpenSSH, OpenPGP, SSH2
_LONG = rb"(?=[^\s\"']{0,64}\d)[a-z0-9._+/=~-]{16}"  # a long word with a digit in it, as names of types have none
_VALUE = rb"(?!(?:process|this|self|env|config|settings|req|request)\.)" + _LONG + rb"[a-z0-9._+/=~-]*+(?!\()"
"""The same as a value, and no expression of a program."""
_NO_CREDENTIAL = rb"(?<!page)(?<!next)(?<!sync)(?<!continuation)(?<!bos)(?<!eos)(?<!pad)"
"""Words before a token of a page, or of a language model, which is no credential."""

_SECRETS = tuple(
    (marker, re.compile(pattern, flags))
    for markers, pattern, flags in (
        ((b"-----BEGIN ", b"---- BEGIN "), rb"----[- ]" + _PEM, 0),
        ((b"LS0tLS1CRUdJTi",), _ENCODED_PEM, 0),
        ((b"b3BlbnNzaC1rZXktdjE",), rb"", 0),  # the body of an OpenSSH key without its armour
        ((b"PuTTY-User-Key-File-",), rb"PuTTY-User-Key-File-\d", 0),
        ((b"private-key",), rb"(?:(?<=\()|(?<=\d:)|(?<=protected-))private-key\s*\(\w", 0),  # of the agent of GnuPG
        ((b"untrusted comment: ",), rb"untrusted comment: (?:minisign encrypted|signify) secret key", 0),
        ((b"== ed25519v1-secret",), rb"", 0),  # Tor
        ((b"PrivateKey", b"PresharedKey"), rb"\w{1,32}\s*=\s*[A-Za-z0-9+/]{43}=", 0),  # WireGuard
        ((b"AGE-SECRET-KEY-1", b"AGE-PLUGIN-"), rb"AGE-(?:SECRET-KEY|PLUGIN-[0-9A-Z-]{1,64})-1[0-9A-Z]{20}", 0),
        ((b"aws_secret_access_key", b"AWS_SECRET_ACCESS_KEY"), rb"\w{1,32}[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{30}", 0),
        ((b"client-key-data",), rb"client-key-data:\s*[A-Za-z0-9+/]{30}", 0),
        ((b'"secret"',), rb'"secret":\s*"[0-9a-f]{64}"', 0),  # a network of ours
        ((b"a2a1",), rb"(?<!\w)a2a1[a-z0-9]{60}", 0),  # a ticket to one
        ((b"#admit=", b"&admit="), rb".admit=[A-Za-z0-9_-]{20}", 0),  # the URL of a relay that admits
        ((b'"d"',), rb'"d"\s*:\s*"[A-Za-z0-9_-]{42}', 0),  # JWK
        ((b'"k"',), rb'"k"\s*:\s*"(?:[A-Za-z0-9_-]{42}|[A-Za-z0-9_-]{22,}"[^{}]{0,256}"oct")', 0),
        ((b'"oct"',), rb'"oct"[^{}]{0,256}"k"\s*:\s*"[A-Za-z0-9_-]{22}', 0),
        ((b"gho_", b"ghp_", b"ghr_", b"ghs_", b"ghu_"), rb"gh._[A-Za-z0-9]{36}", 0),
        ((b"github_pat_",), rb"github_pat_[A-Za-z0-9_]{60}", 0),
        ((b"glpat-",), rb"glpat-[A-Za-z0-9_-]{20}", 0),
        ((b"xox",), rb"xox[abeprs]-[0-9A-Za-z-]{20}", 0),
        ((b"sk-proj-", b"sk-ant-", b"sk-svcacct-"), rb"sk-[a-z]+-[A-Za-z0-9_-]{32}", 0),
        ((b"T3BlbkFJ",), rb"T3BlbkFJ[A-Za-z0-9]{20}", 0),
        ((b"k_live_",), rb"(?<=[rs])k_live_[A-Za-z0-9]{24}", 0),
        ((b"AIza",), rb"AIza[0-9A-Za-z_-]{35}", 0),
        ((b"hvs.",), rb"hvs\.[A-Za-z0-9_-]{24}", 0),
        ((b"npm_",), rb"npm_[A-Za-z0-9]{36}", 0),
        ((b"pypi-AgE",), rb"pypi-AgE[A-Za-z0-9_-]{40}", 0),
        ((b"dckr_pat_",), rb"dckr_pat_[A-Za-z0-9_-]{24}", 0),
        ((b"hf_",), rb"hf_[A-Za-z0-9]{34}", 0),
        ((b"AccountKey=", b"AccessKey="), rb"\w+=[A-Za-z0-9+/]{40}", 0),  # Azure
        # A password in a URL, as of a remote of Git or a database, unless it only says where one goes; or a token.
        (
            (b"://",),
            rb"://"
            + _IN_URL
            + rb"{0,64}:(?![$%{<(*\[]|\d{1,5}[,;|]|"
            + _PLACEHOLDERS
            + rb"@)"
            + _IN_URL
            + rb"{3,256}@\w",
            re.IGNORECASE,
        ),
        ((b"://",), rb"://(?=[a-z_-]{0,256}\d)[a-z0-9_-]{20,256}@[a-z0-9]", re.IGNORECASE),
        (
            (b"uthorization", b"UTHORIZATION"),
            rb"\w{1,32}[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|token)\s+" + _LONG,
            re.IGNORECASE,
        ),
        ((b'"auth"',), rb'"auth"\s*:\s*"[A-Za-z0-9+/=]{16}', 0),  # Docker
        ((b'_token"', b'client_secret"'), _NO_CREDENTIAL + rb'\w+"\s*:\s*"' + _LONG, re.IGNORECASE),
        (
            (b":_auth", b"\n_auth", b":_password", b"\n_password"),  # npm
            rb"._(?:auth|authtoken|password)(?:=[\"']?[^\s$\"'(]{8}|\s+=\s*[\"']?(?=\S*\d)[\w+/=-]{8,}[\"']?(?:\s|$))",
            re.IGNORECASE | re.DOTALL,
        ),
        (
            (b"oken:", b"assword:"),
            rb"(?<!page.t)(?<!next.t)(?<!valid.t)(?<!expected.t)\w+:[ \t]*[\"']?" + _VALUE,
            re.IGNORECASE,
        ),  # YAML
        (
            (b"<password>",),
            rb"<password>(?!(?:string|" + _PLACEHOLDERS + rb")<)[^<$\s][^<]{3,256}</password>",
            re.IGNORECASE,
        ),  # Maven
    )
    for marker in markers
)
"""The beginnings of secrets of a known form, and the whole form.

Looking for the beginnings first is many times as fast as one pattern of all.
"""

_WHOLE = re.compile(
    rb"\s*(?:[0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=?|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,})\s*"
)
"""A file that holds nothing else is a key or a token: ours are written so, and those of WireGuard and Kubernetes."""

_SQLITE = b"SQLite format 3\0"
_OUR_TABLES = (b"CREATE TABLE outbox(", b"CREATE TABLE answered(")
"""One of a node's database, one of a relay's."""
_TABLES_OF_OTHERS = (
    b"CREATE TABLE logins", b"CREATE TABLE moz_cookies", b"CREATE TABLE cookies", b"CREATE TABLE nssPrivate",
    b'CREATE TABLE "credentials"', b'CREATE TABLE "access_tokens"',
)  # fmt: skip
"""Of browsers, and of the Google Cloud SDK."""

_BINARY = re.compile(
    rb"\x37\x7f\x06[\x82\x83]"  # SQLite's write-ahead log, which has pages of its database
    # DER: PKCS #8, PKCS #1, SEC 1 (a version, then what only a private key goes on with), PKCS #12, encrypted PKCS #8
    rb"|\x30(?:\x82..|\x81.|[\x20-\x7f])\x02\x01(?:[\x00\x01]\x30|\x00\x02[\x81\x82]|\x01\x04)"
    rb"|\x30(?:\x82..|\x83...|\x80)\x02\x01\x03\x30|\x30(?:\x82..|\x81.)\x30.\x06.\x2a\x86\x48\x86\xf7\x0d\x01[\x05\x0c]"
    # OpenPGP: packets of a secret key, with a version, a time and an algorithm (RFC 9580 5.5)
    rb"|(?:\x95..|\x94.|\xc5(?:[\x00-\xbf]|[\xc0-\xdf].|\xff....))[\x04-\x06]....[\x01\x11-\x13\x16\x19-\x1c]"
    rb"|\xfe\xed\xfe\xed|\xce\xce\xce\xce|\x03\xd9\xa2\x9a|GnomeKeyring\n|\x05[\x02\x04]\0\0",  # Java, KeePass …
    re.DOTALL,
)
"""The beginnings of binary files that are keys, or rings of keys."""

_BYTE_ORDER_MARKS = b"\xef\xbb\xbf\xff\xfe"

_OVERLAP = 4096
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
            raise FileError(
                f"{self._shown} changed while it was read.", "Attach it again when no program writes to it."
            )
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
        if self._is_database and _has(seen, _TABLES_OF_OTHERS):
            raise _withheld(self._shown, "it is a database with passwords or cookies")
        self._tail = seen[-_OVERLAP:]
        return chunk

    def rewind(self) -> None:
        """Go back to the beginning."""
        self._offset = 0
        self._tail, self._begun = b"", False

    def _begin(self, chunk: bytes) -> None:
        self._is_database = chunk.startswith(_SQLITE)
        if _WHOLE.fullmatch(chunk.lstrip(_BYTE_ORDER_MARKS).replace(b"\0", b"")):
            raise _withheld(self._shown, "it holds a key or a token, and nothing else")
        if _BINARY.match(chunk):
            raise _withheld(self._shown, "it is a key, a ring of keys, or the log of a database")


def _holds_secret(data: bytes) -> bool:
    if any(form.match(data, at) for marker, form in _SECRETS for at in _places(data, marker)):
        return True
    return b"\0" in data and _holds_secret(data.replace(b"\0", b""))  # UTF-16, as editors of Windows write


def _places(data: bytes, marker: bytes) -> Iterator[int]:
    at = data.find(marker)
    while at >= 0:
        yield at
        at = data.find(marker, at + 1)


def _has(data: bytes, markers: Iterable[bytes]) -> bool:
    return any(marker in data for marker in markers)


def _withheld(shown: str, reason: str) -> FileError:
    return FileError(
        f"{shown} may not be attached: {reason}.",
        Remedy("{want_sent}: mcp-a2a send AGENT TEXT --file PATH"),
    )
