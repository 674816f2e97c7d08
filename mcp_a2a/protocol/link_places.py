"""Places for links at a listener that is full: own agents always have one, and known agents go before strangers.

A key costs nothing, so strangers have a part of the places only, and one host a part of that. A stranger that comes
when their part is taken gets the place of a host that has more of them; a peer that is known gets a stranger's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from mcp_a2a.protocol.pending_connections import is_here

MAX_PLACES = 64
"""Links that others opened with us, beside those of our own agents."""
MAX_STRANGERS = 16
MAX_STRANGERS_PER_HOST = 8
"""Not of this machine itself."""


class Standing(IntEnum):
    """The relation of a peer to a listener: the lowest leaves first."""

    STRANGER = 0
    MEMBER = 1
    TRUSTED = 2
    OWN = 3


@dataclass(frozen=True)
class Place:
    """A link: who has it, and from where (`pending_connections.host_of`)."""

    standing: Standing
    host: str


@dataclass(frozen=True)
class PlaceDecision:
    """The decision about a newcomer: admitted or not, and the link that makes room: its index, or None."""

    admitted: bool
    leaves: int | None = None


def find_place(links: Sequence[Place], newcomer: Place) -> PlaceDecision:
    """Decide about one more. `links` are those that are open, the oldest first."""
    if newcomer.standing is Standing.OWN:
        return PlaceDecision(admitted=True)
    others = [place.standing for place in links if place.standing is not Standing.OWN]
    if newcomer.standing is Standing.STRANGER:
        return _find_for_stranger(links, newcomer, is_full=len(others) >= MAX_PLACES)
    if len(others) < MAX_PLACES:
        return PlaceDecision(admitted=True)
    lowest = min(others)
    if lowest >= newcomer.standing:
        return PlaceDecision(admitted=False)
    return PlaceDecision(admitted=True, leaves=next(at for at, place in enumerate(links) if place.standing is lowest))


def _find_for_stranger(links: Sequence[Place], newcomer: Place, *, is_full: bool) -> PlaceDecision:
    hosts = Counter(place.host for place in links if place.standing is Standing.STRANGER)
    if hosts[newcomer.host] >= MAX_STRANGERS_PER_HOST and not is_here(newcomer.host):
        return PlaceDecision(admitted=False)
    if not is_full and hosts.total() < MAX_STRANGERS:
        return PlaceDecision(admitted=True)
    crowd, count = hosts.most_common(1)[0] if hosts else ("", 0)
    if count <= hosts[newcomer.host]:
        return PlaceDecision(admitted=False)
    strangers = (at for at, place in enumerate(links) if place == Place(Standing.STRANGER, crowd))
    return PlaceDecision(admitted=True, leaves=next(strangers))
