"""The options of a relay: each setting with its name, default, bounds and help.

`config.RelaySettings` checks values by this table, and `mcp-a2a relay serve` has an option for each setting. It imports
no library that checks, since a line of help has no time for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from mcp_a2a.setting_help import Told


class RelayOptions:
    """The settings of a relay. Each is a flag `--NAME` and a variable `MCP_A2A_RELAY_NAME`."""

    listen: Annotated[str, Told("Address to listen on", "[HOST]:PORT")] = "127.0.0.1:6060"
    """Without a host only this machine; port 0 picks a free one."""
    public_url: Annotated[str | None, Told("Public URL behind a proxy: wss://HOST.", "URL")] = None
    """The URL for others, if the relay listens behind a proxy or a port forwarding."""
    closed: Annotated[
        bool, Told("Serve only admitted networks and agents (the default), or every agent.", flags="--closed/--open")
    ] = True
    tls_cert: Annotated[Path | None, Told("TLS certificate, for wss.", "FILE")] = None
    tls_key: Annotated[Path | None, Told("Key of the certificate.", "FILE")] = None
    behind_proxy: Annotated[bool, Told("A proxy in front of the relay does TLS.")] = False
    """Believe the last X-Forwarded-For of a proxy on this machine or in a private network."""

    max_queue: Annotated[int, Interval(ge=1, le=100_000), Told("Messages kept for one agent")] = 1000
    max_per_sender: Annotated[int, Interval(ge=1, le=100_000), Told("Messages kept from one sender")] = 200
    """Of those for one agent."""
    max_mailbox_mib: Annotated[int, Interval(ge=2, le=10_240), Told("MiB kept for one agent")] = 50
    ttl_days: Annotated[float, Interval(gt=0, le=7), Told("Days a message is kept")] = 7
    """No agent takes a message that is older than 7 days."""
    rate: Annotated[float, Gt(0), Told("Messages per minute from one sender")] = 1200
    burst: Annotated[int, Ge(1), Told("Messages at once from one sender")] = 600
    host_senders: Annotated[float, Ge(1), Told("Rate limit of one IP address, in senders")] = 2
    """As a multiple of `rate` and `rate_mib`, unless the address proves an admitted network."""
    network_senders: Annotated[float, Ge(1), Told("Rate limit of one admitted network, in senders")] = 20
    host_new_agents: Annotated[int, Ge(1), Told("New agents per hour from one IP address")] = 10
    """Unless they prove an admitted network."""
    host_disk_percent: Annotated[float, Interval(gt=0, le=100), Told("Percent of the disk for one IP address")] = 10
    """For what the address sent without an admitted network."""
    network_disk_percent: Annotated[
        float, Interval(gt=0, le=100), Told("Percent of the disk for one admitted network")
    ] = 50
    rate_mib: Annotated[float, Gt(0), Told("MiB per minute from one sender")] = 10
    max_keys: Annotated[int, Ge(1), Told("Agents known")] = 100_000
    max_disk_mib: Annotated[int, Ge(1), Told("MiB on disk in total")] = 10_240
    max_memory_mib: Annotated[int, Ge(8), Told("MiB of messages in transit")] = 256
    max_connections: Annotated[int, Ge(1), Told("Connections in total")] = 10_000
    host_connections: Annotated[int, Ge(1), Told("Connections from one IP address")] = 50
    agent_connections: Annotated[int, Ge(1), Told("Connections of one agent")] = 5
    max_half_open: Annotated[int, Ge(1), Told("Connections without a proven key")] = 256
    metrics_allow: Annotated[
        tuple[str, ...], Told("A network that may read /metrics and /status. Repeatable.", "CIDR")
    ] = ()
    """Beside this machine. A variable has commas between them."""
