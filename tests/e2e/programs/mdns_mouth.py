"""A machine that says by mDNS what a test wants: `mdns_mouth.py NAME MY_ADDRESS TOLD... [--to ADDRESS]`.

It announces the peer NAME, and an A2A server, at the addresses TOLD; with --to also in packets to that address alone.
"""

from __future__ import annotations

import itertools
import json
import sys

import anyio
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mcp_a2a.protocol.identity import Identity
from mcp_a2a_transports import dns_sd, mdns
from mcp_a2a_transports._sightings import fingerprint


async def main(name: str, mine: str, told: list[str], to: str | None) -> None:
    peer = Identity(name.encode().ljust(32, b".")).peer_id
    txt = {"v": "1", "did": str(peer), "port": "7009"}
    records = [
        AsyncServiceInfo(
            mdns.SERVICE_TYPE, mdns.instance_of(peer), 7009, properties=txt, server=f"{fingerprint(peer)}.local.",
            parsed_addresses=told, host_ttl=120, other_ttl=120,
        ),
        AsyncServiceInfo(
            dns_sd.SERVICE_TYPE, f"{name}.{dns_sd.SERVICE_TYPE}", 7009, properties={"card": "/card"},
            server=f"{name}.local.", parsed_addresses=told, host_ttl=120, other_ttl=120,
        ),
    ]  # fmt: skip
    mouth = AsyncZeroconf(interfaces=[mine])
    for record in records:
        await mouth.async_register_service(record, cooperating_responders=True)
    sys.stdout.write(json.dumps({"me": str(peer)}) + "\n")
    for times in itertools.count(1):
        await anyio.sleep(0.3)
        for record in records:
            mouth.zeroconf.async_send(mouth.zeroconf.generate_service_broadcast(record, None), to)
        sys.stdout.write(json.dumps({"times": times}) + "\n")


if __name__ == "__main__":
    words = sys.argv[1:]
    to = words.pop() if "--to" in words else None
    anyio.run(main, words[0], words[1], [word for word in words[2:] if word != "--to"], to)
