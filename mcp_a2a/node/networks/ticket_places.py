"""Addresses that a ticket may make this machine call: the author of a ticket chose the addresses in it.

A relay on a private network is common in homes and offices, so it is called. A relay on this machine is called where
this user invited others to it from here; any other such ticket was made elsewhere, or to have us call our own programs.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

import anyio

from mcp_a2a.errors.networks import TicketError, TicketPlaceError
from mcp_a2a.protocol.forbidden_addresses import is_no_place, is_this_machine
from mcp_a2a.protocol.paths import DirectAddr, ip_of, parse_address
from mcp_a2a.protocol.relay_url import RelayUrl, parse_relay_url
from mcp_a2a.protocol.ticket import Ticket
from mcp_a2a.store.network_folder import is_noted

RESOLVE_SECONDS = 3.0

MIN_PORT = 1024
"""Below it is what no agent of a user listens on."""


async def checked_places(ticket: Ticket, known: Collection[str], *, allow_private: bool) -> Ticket:
    """The ticket with the addresses that may be dialled; `known` are relays that need no look.

    Raises:
        TicketPlaceError: it would have us call ourselves, which a person may know about.
        TicketError: it names what is no place for a relay, or nothing else.
    """
    for text in ticket.relays:
        url = parse_relay_url(text)
        if str(url) not in known:
            await _check_relay(url, allow_private=allow_private)
    if ticket.relays or allow_private:
        return ticket
    kept = tuple(address for address in ticket.addresses if _is_dialled(parse_address(address)))
    if ticket.addresses and not kept:
        raise TicketError(f"it names {ticket.addresses[0]}, where no agent of another machine can be")
    return replace(ticket, addresses=kept)


async def _check_relay(url: RelayUrl, *, allow_private: bool) -> None:
    addresses = await _addresses(url)
    if any(is_no_place(address) and not is_this_machine(address) for address in addresses):
        raise TicketError(f"it names {url.place}, where no relay can be")
    here = url.is_loopback or any(is_this_machine(address) or _is_of_ours(address) for address in addresses)
    if here and not allow_private and not is_noted(str(url)):
        raise TicketPlaceError(url.place, url.host)


async def _addresses(url: RelayUrl) -> list[str]:
    if (ip := ip_of(url.host)) is not None:
        return [str(ip)]
    with anyio.move_on_after(RESOLVE_SECONDS), suppress(OSError, UnicodeError):
        return [str(found[4][0]) for found in await anyio.getaddrinfo(url.host, url.port)]
    return []  # a name that leads nowhere is found out by who calls it


def _is_of_ours(address: str) -> bool:
    """True if an interface of this machine has the address: what listens on all of them is reached by it as well."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))  # sends nothing
        return True
    return False


def _is_dialled(address: DirectAddr) -> bool:
    there = ip_of(address.host) is not None and not is_no_place(address.host) and not is_this_machine(address.host)
    return there and address.port >= MIN_PORT
