"""Who waits for an answer learns soon whether the other end is gone; who waits for nothing asks for nothing."""

from __future__ import annotations

from mcp_a2a.protocol.heartbeat import (
    DEAD_SECONDS,
    LATE_SECONDS,
    PING_SECONDS,
    PROBE_SECONDS,
    QUIET_SECONDS,
    Heartbeat,
)

LATER = QUIET_SECONDS + 1.0


def test_nobody_is_asked_who_is_not_suspected() -> None:
    heart = Heartbeat(0.0)
    assert heart.next_timeout() == PING_SECONDS
    assert not heart.is_dead(DEAD_SECONDS - 0.1)
    assert heart.is_dead(DEAD_SECONDS)


def test_a_suspect_that_says_nothing_is_gone_within_seconds() -> None:
    heart = Heartbeat(0.0)
    assert heart.suspect(LATER)
    assert heart.next_timeout() == LATER + PROBE_SECONDS
    assert not heart.is_dead(LATER + PROBE_SECONDS - 0.1)
    assert heart.is_dead(LATER + PROBE_SECONDS)


def test_any_sign_of_life_clears_a_suspect() -> None:
    heart = Heartbeat(0.0)
    heart.suspect(LATER)
    heart.heard(LATER + 1.0)
    assert not heart.is_dead(LATER + PROBE_SECONDS)
    assert heart.next_timeout() > LATER + PROBE_SECONDS


def test_who_was_just_heard_is_not_asked_and_a_suspect_is_not_asked_twice() -> None:
    heart = Heartbeat(0.0)
    assert not heart.suspect(QUIET_SECONDS - 0.1)
    assert heart.suspect(LATER)
    assert not heart.suspect(LATER + 1.0)
    assert heart.suspect(LATER + 1.0, 1.0)  # with less patience than before
    assert heart.is_dead(LATER + 2.0)


def test_a_process_that_was_held_up_itself_blames_nobody_at_once() -> None:
    """Stopped, or starved on a busy machine: what the peer said meanwhile lies unread in the socket."""
    heart = Heartbeat(0.0)
    heart.suspect(LATER)
    late = LATER + PROBE_SECONDS + LATE_SECONDS
    assert not heart.is_dead(late)
    assert heart.next_timeout() == late + LATE_SECONDS
    assert heart.is_dead(late + LATE_SECONDS)
