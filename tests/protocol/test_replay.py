from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors import StaleError
from mcp_a2a.protocol.replay import (
    MAX_CLOCK_SKEW_SECONDS,
    MAX_LIFETIME_SECONDS,
    HighWaterClock,
    check_freshness,
    keep_until,
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
        (NOW + MAX_CLOCK_SKEW_SECONDS + 1, NOW + DAY, "601 s in the future"),
        (NOW - DAY, NOW, "expired 0 s ago"),
        (NOW - DAY, NOW - 5, "expired 5 s ago"),
        (NOW, NOW + MAX_LIFETIME_SECONDS + 1, "604801 s"),
        (NOW + 500, NOW + 400, "-100 s"),
        (math.nan, NOW + DAY, "future"),
        (NOW, math.nan, "expired"),
        (-math.inf, NOW + DAY, "life of inf"),
        (NOW, math.inf, "life of inf"),
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


def test_the_clock_never_goes_back() -> None:
    clock = HighWaterClock()

    said = [clock.now(wall) for wall in (NOW, NOW + 5, NOW - 30 * DAY, NOW + 6)]

    assert said == [NOW, NOW + 5, NOW + 5, NOW + 6]


def test_a_clock_set_back_over_a_restart_opens_no_window() -> None:
    before = HighWaterClock()
    before.now(NOW)

    after = HighWaterClock(before.mark)

    with pytest.raises(StaleError):
        check_freshness(NOW - 31 * DAY, NOW - 30 * DAY, after.now(NOW - 30.5 * DAY))
