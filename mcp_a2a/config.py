"""Settings: read once from flags and `MCP_A2A_*` variables, validated, frozen."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import AliasChoices, BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.front.plain import IDENTITY_PATTERN, MAX_ACCEPT_RATE, MAX_PORT
from mcp_a2a.protocol.naming import why_not_called
from mcp_a2a.protocol.plain_words import plainly
from mcp_a2a.relay_options import RelayOptions
from mcp_a2a.store.folder import read_name

MAX_LEASE_SECONDS = 1_000_000_000.0
"""About 31 years. The end of a lease is shown as a date, so a lease cannot be endless."""


_VARIABLE = re.compile(r"\$[A-Za-z_({]|%\w+%|`")


def default_home() -> Path:
    """The data folder of this account.

    Raises:
        ConfigurationError: the account has no home folder.
    """
    try:
        return Path(platformdirs.user_data_dir("mcp-a2a", appauthor=False)).absolute()
    except RuntimeError as error:  # as in a container that runs under a number without an account
        raise ConfigurationError(
            "This account has no home folder, so there is no place for the data folder.",
            "Name one: --home DIR, or MCP_A2A_HOME.",
        ) from error


def _configured_path(value: object) -> object:
    """The path that a setting means. A path from a JSON configuration never went through a shell."""
    if not isinstance(value, (str, Path)):
        return value
    text = str(value).strip()
    if not text:
        raise ValueError("it is empty")
    if _VARIABLE.search(text):
        raise ValueError("it holds a variable that no shell has replaced: write the whole path")
    return whole_path(text)


def whole_path(text: str) -> Path:
    """The absolute path that a text means, with `~` expanded.

    Raises:
        ValueError: there is no such home folder, or no working folder.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("there is no such home folder: write the whole path") from None
    except FileNotFoundError:
        raise ValueError("it is relative to the working folder, which no longer exists: write the whole path") from None


WholePath = Annotated[Path, BeforeValidator(_configured_path)]
"""A file or folder, with `~` expanded, absolute."""


class Settings(BaseSettings):
    """The settings of a process. A flag wins over its variable, a variable over the default."""

    model_config = SettingsConfigDict(env_prefix="MCP_A2A_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: WholePath = Field(default_factory=default_home)
    """Data folder of every identity of this person on this machine."""
    identity: str = Field(default="default", pattern=IDENTITY_PATTERN)
    """The name of the identity: one key, one inbox, one database."""
    name: str | None = None
    """Display name; a label, never an identity. `called` says what counts where it is not given."""
    own_name: str | None = None
    """The name of the program that runs under this identity."""
    mdns: bool = True
    """Announce on the LAN and look for others there."""
    networks: bool = True
    """Be in the networks that were joined on this machine, with every identity of the data folder."""
    accept_rate: int = Field(default=30, ge=1, le=MAX_ACCEPT_RATE)
    """New tasks a minute from each stranger with `accept=anyone`; of a day, so many for 17 minutes."""
    accept: Literal["trusted", "anyone"] = "trusted"
    """Agents whose tasks are taken at once: own and trusted ones, or all that can reach this node."""
    allow_strangers: bool = False
    """Send to strangers, and files to agents that are not the user's own, without asking a person."""
    link_host: str = "*"
    """The address of the peer listener: one of this machine, or "*" for all, IPv4 and IPv6. A peer-to-peer node is
    there to be reached; the handshake decides who speaks."""
    link_port: int = Field(default=0, ge=0, le=MAX_PORT)
    """Its port; 0 picks a free one, and the lookups announce which."""

    lease_seconds: float = Field(default=900.0, gt=0, le=MAX_LEASE_SECONDS)
    """Seconds that the worker of a task may be silent before the task is offered again."""

    downloads: WholePath | None = None
    """The folder for files of others that are saved on request; by default `files` in the data folder."""
    file_roots: Annotated[tuple[WholePath, ...], NoDecode] = ()
    """Folders that an assistant may attach files from. A variable has them as PATH has its own."""

    hop: int = Field(default=0, ge=0)
    """Set by `agent exec` for its command: how often the work of the task was passed on. What it sends carries it."""

    a2a_push: bool = False
    """Post what happens to a task to the URLs that A2A clients name for it."""
    a2a_push_local: bool = False
    """Such URLs may also be of this machine or of a private network: where the server listens on loopback only."""

    @property
    def pushes(self) -> bool:
        """True if there are push notifications."""
        return self.a2a_push or self.a2a_push_local

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str | None) -> str | None:
        if name is not None and (why := why_not_called(name)) is not None:
            raise ValueError(why)
        return name

    @field_validator("file_roots", mode="before")
    @classmethod
    def _split(cls, folders: object) -> object:
        return tuple(filter(None, folders.split(os.pathsep))) if isinstance(folders, str) else folders

    @property
    def folder(self) -> Path:
        """The folder of this identity."""
        return self.home / "identities" / self.identity

    @property
    def called(self) -> str | None:
        """The name to go by; None for the memorable name of the key.

        The one given to this process counts (--name, then MCP_A2A_NAME), then the one that was kept (`mcp-a2a name`),
        then that of the program.
        """
        return self.name or read_name(self.folder) or self.own_name


class RelaySettings(RelayOptions, BaseSettings):
    """The settings of a relay; see `RelayOptions`."""

    model_config = SettingsConfigDict(
        env_prefix="MCP_A2A_RELAY_", frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True,
        enable_decoding=False,
    )  # fmt: skip

    home: WholePath = Field(
        default_factory=default_home, validation_alias=AliasChoices("MCP_A2A_RELAY_HOME", "MCP_A2A_HOME")
    )
    """Data folder; the relay's own is `relay` in it."""

    @field_validator("tls_cert", "tls_key", mode="before")
    @classmethod
    def _are_whole(cls, file: object) -> object:
        return _configured_path(file)

    @field_validator("metrics_allow", mode="before")
    @classmethod
    def _split(cls, allowed: object) -> object:
        return tuple(filter(None, map(str.strip, allowed.split(",")))) if isinstance(allowed, str) else allowed

    @field_validator("metrics_allow")
    @classmethod
    def _are_networks(cls, allowed: tuple[str, ...]) -> tuple[str, ...]:
        for network in allowed:
            ipaddress.ip_network(network)
        return allowed

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        split_address(listen)
        return listen

    @property
    def folder(self) -> Path:
        """The relay's own."""
        return self.home / "relay"

    @property
    def address(self) -> tuple[str, int]:
        """The address to listen on."""
        return split_address(self.listen)


def split_address(listen: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, [HOST]:PORT or :PORT (this machine only).

    Raises:
        ValueError: not one of these.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ValueError("it must be HOST:PORT, such as 0.0.0.0:6060")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare and bare == host:
        raise ValueError("an IPv6 address stands in brackets: [::]:6060")
    return bare or "127.0.0.1", int(port)


def load_settings(flags: Mapping[str, object]) -> Settings:
    """The settings that these flags and the environment make.

    Raises:
        ConfigurationError: one of them cannot be; it names flag and variable.
    """
    _check_variables(flags, {"MCP_A2A_HOME": "home", "MCP_A2A_DOWNLOADS": "downloads"})
    try:
        return Settings.model_validate(flags)
    except ValidationError as error:
        raise _unusable(error, "MCP_A2A_") from error


def load_relay_settings(flags: Mapping[str, object]) -> RelaySettings:
    """The settings of a relay that these flags and the environment make.

    Raises:
        ConfigurationError: one of them cannot be; it names flag and variable.
    """
    _check_variables(flags, {"MCP_A2A_RELAY_HOME": "home", "MCP_A2A_HOME": "home"})
    try:
        return RelaySettings.model_validate(flags)
    except ValidationError as error:
        raise _unusable(error, "MCP_A2A_RELAY_") from error


def _check_variables(flags: Mapping[str, object], variables: Mapping[str, str]) -> None:
    """Refuse folders from the environment that depend on where a process was started.

    A client starts its servers in a folder of its choice, and each folder would get an identity of its own.

    Raises:
        ConfigurationError: a variable holds a relative path, and no flag replaces it.
    """
    for variable, setting in variables.items():
        text = os.environ.get(variable, "").strip()
        if text and setting not in flags and not text.startswith("~") and not Path(text).is_absolute():
            if _VARIABLE.search(text):
                continue  # the setting's own validator names that reason
            raise ConfigurationError(
                f"{variable} cannot be {text!r}: a relative path means another folder wherever a process starts.",
                "Write the whole path.",
            )


def _unusable(error: ValidationError, prefix: str) -> ConfigurationError:
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "settings"
    flag, variable = f"--{field.replace('_', '-')}", f"{prefix}{field.upper()}"
    return ConfigurationError(
        f"{flag} (or {variable}) cannot be {first['input']!r}: {plainly(first)}.",
        "Use lowercase letters, digits, - and _." if field == "identity" else "Change it, or leave it out.",
    )
