"""The settings of a server, as far as they can be read without the library that checks them.

Only settings that are certain to be taken are read here. Every other one is left to `config`, which is loaded at once
then, because a server with settings that cannot be says so and ends.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "mcp_a2a_"

IDENTITY_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""An identity's name is a folder name, so it is kept to letters every file system agrees on."""

MAX_ACCEPT_RATE = 100_000
MAX_PORT = 65_535

_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_PATH = re.compile(r"(?:/|~(?=/|\Z))[^$%`\0]*")
_SECONDS = re.compile(r"[1-9][0-9]{0,8}(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Plain:
    """The settings that a front needs."""

    home: str | None = None
    """None: the folder of this account."""
    identity: str = "default"
    allow_strangers: bool = False
    hop: int = 0
    file_roots: tuple[str, ...] = ()
    downloads: str | None = None

    @property
    def folder(self) -> Path:
        """The folder of the identity.

        Raises:
            RuntimeError: the account has no home folder.
        """
        return (_default_home() if self.home is None else Path(self.home)) / "identities" / self.identity


def read_plain(flags: Mapping[str, object], environ: Mapping[str, str]) -> Plain | None:
    """The settings in flags and variables; None if one of them may be wrong, or means something else than it says."""
    variables = [(name.lower(), value) for name, value in environ.items() if name.lower().startswith(PREFIX) and value]
    given: dict[str, object] = {name.removeprefix(PREFIX): value for name, value in variables}
    if len(given) < len(variables):
        return None  # one variable in small and in capital letters
    given |= flags
    if not all(_CHECKS[name](str(value)) for name, value in given.items() if name in _CHECKS):
        return None
    if "home" not in given and not environ.get("HOME", "").startswith("/"):
        return None
    texts = {name: str(value) for name, value in given.items()}
    return Plain(
        home=_expanded(texts["home"]) if "home" in texts else None,
        identity=texts.get("identity", "default"),
        allow_strangers=_BOOLEANS[texts.get("allow_strangers", "false").lower()],
        hop=int(texts.get("hop", "0")),
        file_roots=tuple(map(_expanded, filter(None, texts.get("file_roots", "").split(os.pathsep)))),
        downloads=_expanded(texts["downloads"]) if "downloads" in texts else None,
    )


def _default_home() -> Path:
    import platformdirs  # noqa: PLC0415  needed once the first answer is given

    return Path(platformdirs.user_data_dir("mcp-a2a", appauthor=False)).absolute()


def _is_boolean(text: str) -> bool:
    return text.lower() in _BOOLEANS


def _is_path(text: str) -> bool:
    return text == text.strip() and bool(_PATH.fullmatch(text)) and _expanded(text).startswith("/")


def _expanded(text: str) -> str:
    return os.path.expanduser(text)  # noqa: PTH111  text, as it is sent


def _are_paths(text: str) -> bool:
    return all(map(_is_path, filter(None, text.split(os.pathsep))))


def _is_name(text: str) -> bool:
    from mcp_a2a.protocol.naming import why_not_called  # noqa: PLC0415  only where a name is given

    return why_not_called(text) is None


def _is_number(least: int, most: int) -> Callable[[str], bool]:
    return lambda text: text.isascii() and text.isdigit() and len(text) < 7 and least <= int(text) <= most


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "home": _is_path,
    "identity": lambda text: bool(re.fullmatch(IDENTITY_PATTERN, text)),
    "name": _is_name,
    "own_name": _is_name,
    "mdns": _is_boolean,
    "networks": _is_boolean,
    "accept_rate": _is_number(1, MAX_ACCEPT_RATE),
    "accept": lambda text: text in ("trusted", "anyone"),
    "allow_strangers": _is_boolean,
    "link_host": lambda text: True,
    "link_port": _is_number(0, MAX_PORT),
    "lease_seconds": lambda text: bool(_SECONDS.fullmatch(text)),
    "downloads": _is_path,
    "file_roots": _are_paths,
    "hop": _is_number(0, 1_000),
    "a2a_push": _is_boolean,
    "a2a_push_local": _is_boolean,
}
"""Of each setting (`config.Settings`), whether a value is certain to be taken as it is written."""
