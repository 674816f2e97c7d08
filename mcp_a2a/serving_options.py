"""The options of the HTTP server: each setting with its name, default and help.

The commands that serve have an option for each, `server.listening.Listening` has them as they were said, and the
command line that is read before any library knows their names from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal, Self

from mcp_a2a.setting_help import Told


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """The settings of a server, beside the address. Each is a flag `--NAME`."""

    public_url: Annotated[
        tuple[str, ...], Told("URL of a proxy or tunnel in front of this server. Repeatable.", "URL")
    ] = ()
    card: Annotated[
        Literal["v1", "dual"], Told("Agent cards for A2A 1.0 only, or for 0.3 too (default {default}).", "v1|dual")
    ] = "dual"
    tls_cert: Annotated[Path | None, Told("TLS certificate, for https.", "FILE")] = None
    """The whole chain, and the key where that is not in a file of its own."""
    tls_key: Annotated[Path | None, Told("Key of the certificate, if it is in another file.", "FILE")] = None
    behind_proxy: Annotated[bool, Told("A proxy in front of this server does TLS.")] = False
    a2a_push: Annotated[bool, Told("Send push notifications to URLs that A2A clients register.")] = False
    a2a_push_local: Annotated[bool, Told("Also to this machine and private networks (loopback servers only).")] = False
    token: Annotated[bool, Told("Require the token from your own programs too.")] = False
    show_token: Annotated[bool, Told("Print the token (on a terminal only).")] = False
    """Also one that was made earlier."""
    grpc_listen: Annotated[str | None, Told("Also serve A2A over gRPC (needs the extra grpc).", "[HOST]:PORT")] = None
    grpc_in_card: Annotated[bool, Told("List gRPC in the agent card; some clients refuse it.")] = False
    """They refuse a card with a URL of another port."""

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """The settings that options make: each value as a command line has it, or a list of values.

        Of several values of an option that takes one, the last counts.
        """
        made: dict[str, object] = {}
        for one in fields(cls):
            values = given.get(one.name, [])
            values = values if isinstance(values, list) else [values]
            if values and isinstance(one.default, bool):
                made[one.name] = True
            elif values and one.default == ():
                made[one.name] = tuple(values)
            elif values:
                made[one.name] = Path(str(values[-1])) if one.name.startswith("tls_") else values[-1]
        return cls(**made)  # type: ignore[arg-type]  # a text each, or what the annotation says


def flag_of(name: str) -> str:
    """The option of a setting."""
    return f"--{name.replace('_', '-')}"


SWITCHES = tuple(flag_of(one.name) for one in fields(ServingOptions) if isinstance(one.default, bool))
VALUED = tuple(flag_of(one.name) for one in fields(ServingOptions) if not isinstance(one.default, bool))
"""Options with a value."""
