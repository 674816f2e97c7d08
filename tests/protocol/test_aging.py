"""The sound time: what is deleted by age, whatever the wall clock says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.protocol.aging import MAX_DOUBT_SECONDS, MAX_PACE, Aging, Mark
from mcp_a2a.protocol.clock_evidence import MAX_WITNESSES, Witnesses
from mcp_a2a.protocol.identity import Identity

NOW = 1_790_000_000.0
DAY = 86_400.0
ALICE, BOB, CAROL = (Identity(name.ljust(32, b"\0")).peer_id for name in (b"alice", b"bob", b"carol"))

steps = st.lists(st.tuples(st.floats(0, 5 * DAY), st.floats(-400 * DAY, 400 * DAY)), min_size=1, max_size=12)
"""How much time passes, and how far the wall clock is off then."""


@given(steps)
def test_nothing_ages_faster_than_the_pace_while_nobody_confirms_the_clock(course: list[tuple[float, float]]) -> None:
    up, aging = 0.0, Aging(NOW, 0.0)
    stamp = aging.stamp
    for passed, off in course:
        up += passed
        aging.read(NOW + up + off, up)
        assert aging.aged - stamp <= up * MAX_PACE + 1


@given(steps, st.floats(-400 * DAY, 400 * DAY))
def test_what_is_stamped_under_any_clock_is_not_old_when_the_clock_is_right(
    course: list[tuple[float, float]], off: float
) -> None:
    up, aging = 0.0, Aging(NOW, 0.0)
    for passed, wrong in course:
        up += passed
        aging.read(NOW + up + wrong, up)
    aging.read(NOW + up + off, up)
    stamp = aging.stamp
    aging.read(NOW + up + 60, up + 60)
    assert aging.aged - stamp <= 60 * MAX_PACE


def test_a_clock_that_is_ahead_for_a_minute_ages_nothing_by_more_than_minutes() -> None:
    aging = Aging(NOW, 0.0)
    aging.read(NOW + 366 * DAY, 30.0)
    aging.read(NOW + 366 * DAY + 30, 60.0)
    assert aging.aged <= NOW + 60 * MAX_PACE
    assert aging.read(NOW + 70, 70.0) <= NOW + 60 * MAX_PACE + 10


def test_a_machine_that_was_off_catches_up_at_once_when_others_confirm_its_clock_and_else_in_time() -> None:
    aging = Aging(NOW + 30 * DAY, 0.0, Mark(NOW, NOW, 5000.0))
    assert aging.read(NOW + 30 * DAY, 0.0) == NOW
    assert aging.read(NOW + 31 * DAY, DAY) == NOW + MAX_PACE * DAY
    assert aging.read(NOW + 31 * DAY, DAY, witnessed=False) == NOW + MAX_PACE * DAY
    assert aging.read(NOW + 31 * DAY, DAY, witnessed=True) == NOW + 31 * DAY


def test_a_program_that_was_not_running_while_the_machine_was_on_loses_no_time() -> None:
    aging = Aging(NOW + 9 * DAY, 10 * DAY, Mark(NOW, NOW, DAY))
    assert aging.sound == NOW + 9 * DAY


def test_a_program_that_was_not_running_knows_for_how_long_where_the_machine_was_not_started_again() -> None:
    mark = Mark(NOW, NOW, 100.0, "first start", NOW - DAY)
    again = Aging(NOW + 40 * DAY, 160.0, mark, "first start")
    assert (again.sound, again.since) == (NOW + 60, NOW - DAY)
    later = Aging(NOW + 40 * DAY, 160.0, mark, "second start")
    assert (later.sound, later.since) == (NOW, NOW)


def test_a_sound_time_that_was_led_astray_falls_back_when_others_confirm_the_clock() -> None:
    aging = Aging(NOW, 0.0, Mark(NOW + 366 * DAY, NOW + 366 * DAY, 10.0))
    assert aging.judging == NOW, "no message is refused because of it"
    assert aging.read(NOW, 0.0, witnessed=True) == NOW


@pytest.mark.parametrize("back", [60.0, MAX_DOUBT_SECONDS])
def test_a_clock_that_is_set_back_by_days_does_not_make_what_has_ended_valid(back: float) -> None:
    aging = Aging(NOW, 0.0)
    aging.read(NOW - back, 0.0)
    assert aging.judging == NOW


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "[1, 2]",
        "[1, 2, NaN]",
        "[1, 2, -3]",
        "[1, 2, 3, 4]",
        '[1, 2, 3, "", -1]',
        '["a", 1, 1]',
        "{}",
        "5",
    ],
)
def test_a_mark_that_cannot_be_read_is_none(text: str | None) -> None:
    assert Mark.parse(text) is None


def test_a_mark_is_what_was_kept() -> None:
    mark = Mark(NOW, NOW + 1, 2.5, "first start", NOW - 3)
    assert Mark.parse(mark.to_text()) == mark
    assert Mark.parse(f"[{NOW}, {NOW + 1}, 2.5]") == Mark(NOW, NOW + 1, 2.5, "", NOW), "one of an earlier version"


# --- other clocks ---------------------------------------------------------------------------------


def test_one_liar_confirms_nothing_and_strangers_do_not_count() -> None:
    witnesses = Witnesses()
    witnesses.hear(ALICE, NOW + 30 * DAY, 0.0, counts=True)
    for number in range(2 * MAX_WITNESSES):
        stranger = Identity(number.to_bytes(32, "big")).peer_id
        witnesses.hear(stranger, NOW + 30 * DAY, 0.0, counts=False)
    witnesses.hear(ALICE, NOW + 30 * DAY, 0.0, counts=True)
    assert witnesses.verdict(NOW + 30 * DAY, 0.0) is None
    assert len(witnesses.differences(NOW, 0.0)) == MAX_WITNESSES


def test_two_that_agree_confirm_a_clock_until_it_jumps() -> None:
    witnesses = Witnesses()
    assert witnesses.hear(ALICE, NOW + 5, 0.0, counts=True)
    assert witnesses.hear(BOB, NOW - 5, 0.0, counts=True)
    assert not witnesses.hear(BOB, NOW + 95, 100.0, counts=True), "no news"
    assert witnesses.verdict(NOW + 1000, 1000.0) is True
    assert witnesses.verdict(NOW + 1000 + DAY, 1000.0) is False
    witnesses.hear(CAROL, NOW + 1000 + DAY, 1000.0, counts=True)
    assert witnesses.verdict(NOW + 1000 + DAY, 1000.0) is False, "the most decide"
    assert witnesses.difference(CAROL, NOW, 0.0) == DAY


def test_any_number_of_strangers_does_not_push_out_a_witness_that_counts() -> None:
    witnesses = Witnesses()
    witnesses.hear(ALICE, NOW + DAY, 0.0, counts=True)
    witnesses.hear(BOB, NOW + DAY, 0.0, counts=True)
    for number in range(MAX_WITNESSES + 10):
        witnesses.hear(Identity(number.to_bytes(32)).peer_id, NOW + 9 * DAY, 0.0, counts=False)
    assert len(witnesses.differences(NOW, 0.0)) == MAX_WITNESSES
    assert witnesses.verdict(NOW + DAY, 0.0) is True
    assert witnesses.difference(ALICE, NOW, 0.0) == DAY
