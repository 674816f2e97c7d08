"""What a host of a LAN announces and finds, one line of JSON for each change: `lan_host.py NAME PORT`."""

from __future__ import annotations

import json
import sys

import anyio

from mcp_a2a.ports import Announcement, LookupHandler, Sighting
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.web_ports import WebSighting
from mcp_a2a_transports.dns_sd import A2AWatch, announced
from mcp_a2a_transports.mdns import MdnsLookup
from mcp_a2a_transports.surroundings import Surroundings
from mcp_a2a_transports.wires import Multicast


def say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")


class Teller(LookupHandler):
    """Says what a lookup sees."""

    def sighted(self, sighting: Sighting) -> None:
        say(peer=str(sighting.peer), at=[str(address) for address in sighting.addresses])

    def lost(self, peer: PeerId, provenance: str) -> None:
        say(peer=str(peer), at=[])


def web_seen(sighting: WebSighting) -> None:
    say(web=sighting.name, at=[sighting.card_url])


async def main(name: str, port: int) -> None:
    peer = Identity(name.encode().ljust(32, b".")).peer_id
    here = Surroundings()
    multicast = Multicast(here)
    async with (
        here.open(),
        multicast.open(),
        MdnsLookup(multicast).open(Announcement(peer, port), Teller()),
        A2AWatch(multicast).open(web_seen, lambda lost: say(web=lost, at=[])),
        announced("*", port, tls=False),
    ):
        say(me=str(peer))
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]))
