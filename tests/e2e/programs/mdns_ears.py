"""What mDNS says on one interface, heard by a plain socket: a line of JSON for each record. `mdns_ears.py DEVICE`."""

from __future__ import annotations

import json
import select
import socket
import struct
import sys

from zeroconf import DNSAddress, DNSIncoming, DNSPointer

PORT = 5353


def ears(device: str) -> list[socket.socket]:
    """Sockets of both families that hear the group there, and nothing of other interfaces."""
    index = socket.if_nametoindex(device)
    made = []
    for family, group in ((socket.AF_INET, "224.0.0.251"), (socket.AF_INET6, "ff02::fb")):
        heard = socket.socket(family, socket.SOCK_DGRAM)
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        if family == socket.AF_INET6:
            heard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            membership = socket.inet_pton(family, group) + struct.pack("@I", index)
            heard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        else:
            membership = socket.inet_aton(group) + struct.pack("=II", 0, index)
            heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        heard.bind(("", PORT))
        made.append(heard)
    return made


def main(device: str) -> None:
    heard = ears(device)
    sys.stdout.write(json.dumps({"ready": device}) + "\n")
    while True:
        for one in select.select(heard, [], [])[0]:
            for record in DNSIncoming(one.recv(9_000)).answers():
                if isinstance(record, DNSAddress):
                    address = socket.inet_ntop(socket.AF_INET if record.type == 1 else socket.AF_INET6, record.address)
                    sys.stdout.write(json.dumps({"host": record.name, "address": address, "ttl": record.ttl}) + "\n")
                elif isinstance(record, DNSPointer):
                    sys.stdout.write(json.dumps({"type": record.name, "name": record.alias, "ttl": record.ttl}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
