"""A thousand clients of one relay come back one by one, and nobody knocks all day at a door that stays shut."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a_transports.relay.backoff import LATER, RelayBackoff

CLIENTS = 1_000


def attempts_of(chance: random.Random, lost_at: float, back_at: float) -> list[float]:
    """When one client tries, from the loss of its session until it has one again."""
    backoff, now, lasted = RelayBackoff(chance.random), lost_at, 3_600.0
    attempts = []
    while not attempts or attempts[-1] < back_at:
        now += backoff.pause(lasted)
        attempts.append(now)
        lasted = 0.0
    return attempts


def busiest_second(moments: list[float]) -> int:
    return max(sum(at <= other < at + 1 for other in moments) for at in moments)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("outage", [60.0, 600.0])
def test_a_thousand_clients_that_come_back_after_an_outage_are_spread_out(seed: int, outage: float) -> None:
    chance = random.Random(seed)
    back = sorted(attempts_of(chance, 0.0, outage)[-1] for _ in range(CLIENTS))
    assert busiest_second(back) <= 150
    assert back[int(CLIENTS * 0.99)] <= outage + LATER.cap


@pytest.mark.parametrize("outage", [0.0, 2.0, 10.0])
def test_after_a_blink_they_are_back_soon_and_still_not_all_in_one_second(outage: float) -> None:
    chance = random.Random(7)
    back = sorted(attempts_of(chance, 0.0, outage)[-1] for _ in range(CLIENTS))
    assert busiest_second(back) < CLIENTS * 0.6
    assert back[int(CLIENTS * 0.99)] <= outage + LATER.cap


def test_the_first_attempt_after_a_loss_is_anywhere_within_three_seconds() -> None:
    chance = random.Random(1)
    seconds = Counter(int(RelayBackoff(chance.random).pause(3_600.0)) for _ in range(3_000))
    assert set(seconds) == {0, 1, 2}
    assert min(seconds.values()) > 800


def test_pauses_grow_to_half_a_minute_and_no_further() -> None:
    backoff = RelayBackoff(lambda: 1.0)
    assert [backoff.pause(0.0) for _ in range(7)] == [3.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_no_number_of_failures_is_too_large() -> None:
    assert [Backoff().pause(failures, 1.0) for failures in (0, 1, 5, 10**9)] == [1.0, 2.0, 30.0, 30.0]
    assert Backoff().pause(10**9, 0.0) == 0.0


def test_a_session_that_lasted_makes_everything_good_and_a_short_one_does_not() -> None:
    backoff = RelayBackoff(lambda: 1.0)
    for _ in range(5):
        backoff.pause(0.0)
    assert backoff.pause(59.0) == 30.0
    assert backoff.pause(60.0) == 3.0


def test_who_is_not_wanted_asks_as_rarely_as_possible() -> None:
    assert RelayBackoff(lambda: 0.0).pause(0.0, hopeless=True) == LATER.cap / 2
    assert RelayBackoff(lambda: 1.0).pause(0.0, hopeless=True) == LATER.cap
