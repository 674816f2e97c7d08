"""Who of a network is there, and who is told."""

from __future__ import annotations

import math

from mcp_a2a.protocol.control import MAX_PRESENCE, Presence
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.frames import decode_untrusted
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.presence import GATHER_SECONDS, PresenceTable
from tests.protocol.people import ALICE, BOB, CAROL

NET = Network(b"n" * 32).id
A, B, C = ALICE.peer_id, BOB.peer_id, CAROL.peer_id


class Line:
    def __init__(self, peer: PeerId) -> None:
        self.key = peer.key
        self.said: list[Presence] = []

    def send(self, frame: str | bytes) -> None:
        heard = decode_untrusted(frame)
        assert isinstance(heard, Presence)
        self.said.append(heard)


def test_coming_and_going_is_gathered_and_told_to_watchers() -> None:
    presence, alice = PresenceTable(), Line(A)
    presence.came(A, [NET], 0.0)
    presence.handle_timeout(GATHER_SECONDS)
    presence.watch(alice, NET)
    assert presence.next_timeout() == math.inf
    presence.came(B, [NET], 1.0)
    presence.came(C, [NET], 1.05)
    presence.handle_timeout(1.05)
    assert alice.said == []
    presence.handle_timeout(1.0 + GATHER_SECONDS)
    assert [set(presence.online) for presence in alice.said] == [{B, C}]
    presence.went(Line(B), B, [NET], 2.0)
    presence.handle_timeout(3.0)
    assert alice.said[-1].offline == (B,)
    assert [set(presence.online) for presence in presence.present(NET)] == [{A, C}]


def test_whoever_comes_back_at_once_was_never_away() -> None:
    presence, alice = PresenceTable(), Line(A)
    presence.came(A, [NET], 0.0)
    presence.came(B, [NET], 0.0)
    presence.handle_timeout(1.0)
    presence.watch(alice, NET)
    presence.went(Line(B), B, [NET], 2.0)
    presence.came(B, [NET], 2.05)
    presence.handle_timeout(3.0)
    assert alice.said == []


def test_a_second_connection_of_a_member_is_no_news_and_neither_is_the_end_of_one_of_two() -> None:
    presence, alice = PresenceTable(), Line(A)
    presence.came(A, [NET], 0.0)
    presence.came(B, [NET], 0.0)
    presence.handle_timeout(1.0)
    presence.watch(alice, NET)
    presence.came(B, [NET], 2.0)
    presence.went(Line(B), B, [NET], 2.0)
    presence.handle_timeout(3.0)
    assert alice.said == []
    assert presence.is_here(NET, B)


def test_whoever_was_there_when_one_began_to_watch_and_leaves_at_once_is_told_to_be_gone() -> None:
    presence, alice = PresenceTable(), Line(A)
    presence.came(A, [NET], 0.0)
    presence.came(B, [NET], 0.0)
    assert [set(presence.online) for presence in presence.present(NET)] == [{A, B}]
    presence.watch(alice, NET)
    presence.went(Line(B), B, [NET], 0.05)
    presence.handle_timeout(1.0)
    assert [presence.offline for presence in alice.said] == [(B,)]


def test_many_are_told_in_frames_that_a_peer_accepts() -> None:
    presence, alice = PresenceTable(), Line(A)
    presence.came(A, [NET], 0.0)
    presence.watch(alice, NET)
    crowd = [Network(number.to_bytes(32)).id for number in range(MAX_PRESENCE + 1)]
    for peer in crowd:
        presence.came(peer, [NET], 0.0)
    presence.handle_timeout(1.0)
    assert [len(presence.online) for presence in alice.said] == [MAX_PRESENCE, 1]


def test_a_network_that_nobody_is_in_is_forgotten() -> None:
    presence, alice = PresenceTable(), Line(A)
    presence.came(A, [NET], 0.0)
    presence.watch(alice, NET)
    presence.went(alice, A, [NET], 1.0)
    presence.handle_timeout(2.0)
    assert len(presence) == 0
    assert presence.watchers(NET) == ()
    assert not presence.is_here(NET, A)
