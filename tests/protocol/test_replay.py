from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import StaleError
from mcp_a2a.protocol.fields import MAX_WORD
from mcp_a2a.protocol.replay import (
    MAX_CLOCK_SKEW_SECONDS,
    MAX_LIFETIME_SECONDS,
    Forgotten,
    check_freshness,
    keep_until,
    stale_code,
    stale_difference,
)

NOW = 1_790_000_000.0
DAY = 86_400


@pytest.mark.parametrize(
    ("created", "expires"),
    [
        (NOW, NOW + 60),
        (NOW + MAX_CLOCK_SKEW_SECONDS, NOW + DAY),
        (NOW - MAX_LIFETIME_SECONDS + 1, NOW + 1),
        (NOW, NOW + MAX_LIFETIME_SECONDS),
    ],
)
def test_a_message_within_its_life_is_fresh(created: float, expires: float) -> None:
    check_freshness(created, expires, NOW)


@pytest.mark.parametrize(
    ("created", "expires", "why"),
    [
        (NOW + MAX_CLOCK_SKEW_SECONDS + 1, NOW + DAY, "54001 s in the future"),
        (NOW - DAY, NOW, "expired 0 s ago"),
        (NOW - DAY, NOW - 5, "expired 5 s ago"),
        (NOW, NOW + MAX_LIFETIME_SECONDS + 1, "604801 s"),
        (NOW + 500, NOW + 400, "-100 s"),
        (math.nan, NOW + DAY, "future"),
        (NOW, math.nan, "expired"),
        (-math.inf, NOW + DAY, "lifetime of inf"),
        (NOW, math.inf, "lifetime of inf"),
    ],
)
def test_a_message_outside_of_it_is_stale_and_says_why(created: float, expires: float, why: str) -> None:
    with pytest.raises(StaleError, match=why):
        check_freshness(created, expires, NOW)


@given(st.floats(NOW - 10 * DAY, NOW + 10 * DAY), st.floats(1, 8 * DAY), st.floats(0, 20 * DAY))
def test_an_id_that_was_forgotten_belongs_to_a_message_that_is_refused(
    created: float, lifetime: float, later: float
) -> None:
    expires = created + lifetime
    after_forgetting = keep_until(expires) + later

    with pytest.raises(StaleError):
        check_freshness(created, expires, after_forgetting)


dates = st.lists(st.floats(NOW - 900 * DAY, NOW + 900 * DAY), max_size=60)


@given(dates, dates)
def test_what_was_forgotten_is_never_fresh_again_whatever_the_clock_says(some: list[float], more: list[float]) -> None:
    forgotten = Forgotten()
    forgotten.add(some)
    forgotten = Forgotten.load(forgotten.dump())
    forgotten.add(more)

    assert all(forgotten.covers(date) for date in (*some, *more))
    assert all(forgotten.covers(date + apart) for date in some for apart in (-6 * DAY, 6 * DAY))


def test_what_was_forgotten_long_ago_or_under_a_wrong_clock_keeps_nothing_of_today_out() -> None:
    forgotten = Forgotten()
    forgotten.add([NOW - 30 * DAY, NOW + 366 * DAY])

    assert not forgotten.covers(NOW)
    assert not forgotten.covers(NOW - 7 * DAY)


@pytest.mark.parametrize("text", [None, "", "[", "5", "[5]", '[["a", 1]]', "{}"])
def test_dates_that_cannot_be_read_count_as_none(text: str | None) -> None:
    assert not Forgotten.load(text).covers(NOW)


@pytest.mark.parametrize("difference", [None, 7200.0, -86_400.0])
def test_a_refusal_because_of_time_names_the_difference(difference: float | None) -> None:
    assert stale_difference(stale_code(difference)) == (True, difference)


@pytest.mark.parametrize(
    "code", ["blocked", "stale_", "stale_ahead_", "stale_ahead_x", "stale_ahead_1e9", "stale_up_1"]
)
def test_other_codes_are_no_refusal_because_of_time(code: str) -> None:
    assert stale_difference(code) == (False, None)


def test_the_code_of_any_difference_fits_into_a_frame() -> None:
    assert len(stale_code(1e300)) <= MAX_WORD
