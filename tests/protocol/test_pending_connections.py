"""The waiting room for connections that have proven nothing."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.protocol.pending_connections import MAX_WAITING, MAX_WAITING_PER_HOST, WAIT_SECONDS, PendingConnections


def test_a_host_with_too_many_loses_its_oldest() -> None:
    pending: PendingConnections[int] = PendingConnections()
    leavers = [pending.arrived(guest, "10.0.0.1", now=guest) for guest in range(MAX_WAITING_PER_HOST + 2)]
    assert leavers == [None] * MAX_WAITING_PER_HOST + [0, 1]


def test_a_full_room_loses_its_oldest_whoever_comes() -> None:
    pending: PendingConnections[int] = PendingConnections()
    leavers = [pending.arrived(guest, f"10.0.0.{guest}", now=guest) for guest in range(MAX_WAITING + 1)]
    assert leavers == [None] * MAX_WAITING + [0]


def test_a_flood_from_one_host_costs_others_nothing() -> None:
    pending: PendingConnections[str] = PendingConnections()
    pending.arrived("honest", "10.0.0.2", now=0)
    leavers = {pending.arrived(f"flood {number}", "10.0.0.1", now=0) for number in range(1_000)}
    assert "honest" not in leavers
    assert len(pending) == MAX_WAITING_PER_HOST + 1


def test_a_flood_from_many_hosts_turns_out_one_of_those_that_have_most() -> None:
    pending: PendingConnections[str] = PendingConnections()
    pending.arrived("honest", "10.0.0.200", now=0)
    leavers = {pending.arrived(f"flood {number}", f"10.0.0.{number % 30}", now=0) for number in range(1_000)}
    assert "honest" not in leavers
    assert len(pending) == MAX_WAITING


def test_the_addresses_of_one_ipv6_network_are_one_host() -> None:
    pending: PendingConnections[int] = PendingConnections()
    for guest in range(MAX_WAITING_PER_HOST + 1):
        pending.arrived(guest, f"2001:db8::{guest:x}", now=0)
    assert len(pending) == MAX_WAITING_PER_HOST


def test_an_ipv4_host_is_the_same_through_an_ipv6_socket() -> None:
    pending: PendingConnections[int] = PendingConnections()
    for guest in range(MAX_WAITING_PER_HOST):
        pending.arrived(guest, "10.0.0.1", now=0)
    assert pending.arrived(99, "::ffff:10.0.0.1", now=0) == 0
    assert pending.arrived(100, "::ffff:10.0.0.2", now=0) is None


def test_who_waits_too_long_is_overdue_once() -> None:
    pending: PendingConnections[str] = PendingConnections()
    pending.arrived("slow", "10.0.0.1", now=0)
    pending.arrived("late", "10.0.0.1", now=1)
    assert pending.next_timeout() == WAIT_SECONDS
    assert pending.overdue(WAIT_SECONDS - 0.1) == []
    assert pending.overdue(WAIT_SECONDS) == ["slow"]
    assert pending.overdue(WAIT_SECONDS) == []
    assert pending.next_timeout() == WAIT_SECONDS + 1


def test_who_has_left_is_forgotten() -> None:
    pending: PendingConnections[str] = PendingConnections()
    pending.arrived("proven", "10.0.0.1", now=0)
    pending.left("proven")
    pending.left("proven")
    assert len(pending) == 0
    assert pending.next_timeout() == math.inf


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 3)), max_size=300))
def test_the_room_is_never_over_its_limits(steps: list[tuple[int, bool, int]]) -> None:
    pending: PendingConnections[int] = PendingConnections()
    inside: dict[int, int] = {}
    now = 0
    for guest, (host, comes, passed) in enumerate(steps):
        now += passed
        if comes:
            leaves = pending.arrived(guest, f"10.0.0.{host}", now)
            inside.pop(leaves if leaves is not None else -1, None)
            inside[guest] = host
        for gone in pending.overdue(now):
            del inside[gone]
        assert len(pending) == len(inside) <= MAX_WAITING
        assert max((list(inside.values()).count(host) for host in range(10)), default=0) <= MAX_WAITING_PER_HOST
