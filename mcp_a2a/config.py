"""Settings: read once from flags and `MCP_A2A_*` variables, validated, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mcp_a2a.errors import ConfigurationError

IDENTITY_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""An identity's name is a folder name, so it is kept to letters every file system agrees on."""


def default_home() -> Path:
    """The data folder where nobody names one."""
    return Path(platformdirs.user_data_dir("mcp-a2a", appauthor=False))


class Settings(BaseSettings):
    """What a process is told. A flag wins over its variable, a variable over the default."""

    model_config = SettingsConfigDict(env_prefix="MCP_A2A_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(default_factory=default_home)
    """Data folder of every identity of this person on this machine."""
    identity: str = Field(default="default", pattern=IDENTITY_PATTERN)
    """Which identity: one key, one inbox, one database."""
    name: str | None = Field(default=None, min_length=1, max_length=128)
    """Display name; a label, never an identity. Without it a memorable name is derived from the key."""
    mdns: bool = True
    """Announce on the LAN and look for others there."""
    accept: Literal["trusted", "anyone"] = "trusted"
    """Whose tasks are taken at once: my own agents and those I trust, or everybody who can reach this node."""
    link_host: str = "0.0.0.0"  # noqa: S104  a peer-to-peer node is there to be reached; the handshake decides who speaks
    """Where the peer listener binds."""
    link_port: int = Field(default=0, ge=0, le=65535)
    """Its port; 0 picks a free one, and the lookups announce which."""

    lease_seconds: float = Field(default=900.0, gt=0)
    """How long whoever took a task from the inbox may be silent before it is offered again."""

    @field_validator("home")
    @classmethod
    def _expand(cls, home: Path) -> Path:
        # A path from a JSON configuration never went through a shell.
        return home.expanduser().absolute()

    @property
    def folder(self) -> Path:
        """The folder of this identity."""
        return self.home / "identities" / self.identity


def load_settings(flags: Mapping[str, object]) -> Settings:
    """The settings that these flags and the environment make.

    Raises:
        ConfigurationError: one of them cannot be; it names flag and variable.
    """
    try:
        return Settings.model_validate(flags)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        flag, variable = f"--{field.replace('_', '-')}", f"MCP_A2A_{field.upper()}"
        raise ConfigurationError(
            f"{flag} (or {variable}) cannot be {first['input']!r}: {first['msg']}.",
            "Use lowercase letters, digits, - and _." if field == "identity" else "Change it, or leave it out.",
        ) from error
