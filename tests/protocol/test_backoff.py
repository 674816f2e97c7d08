"""Pauses between attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.protocol.backoff import Backoff

CHANCES = st.floats(0, 1)


@given(failures=st.integers(0, 10**6), chance=CHANCES)
def test_with_full_jitter_a_pause_is_anywhere_below_a_doubled_ceiling(failures: int, chance: float) -> None:
    assert Backoff().pause(failures, chance) == pytest.approx(chance * min(30.0, 2.0 ** min(failures, 16)))
    assert Backoff(0.5, 60.0).pause(failures + 1, chance) == pytest.approx(chance * min(60.0, 2.0 ** min(failures, 16)))


@given(failures=st.integers(0, 10**6), chance=CHANCES)
def test_a_look_at_an_open_task_varies_by_a_quarter(failures: int, chance: float) -> None:
    looks = Backoff(base=0.375, cap=18.75, factor=1.5, jitter=0.4)
    growing = min(15.0, 0.3 * 1.5 ** min(failures, 16))
    assert looks.pause(failures, chance) == pytest.approx(growing * (0.75 + chance / 2))


@given(
    backoff=st.builds(
        Backoff, st.floats(0.01, 10), st.floats(10, 1000), st.floats(1, 4), st.floats(0, 1), st.floats(0, 5)
    ),
    failures=st.integers(-3, 10**9),
    chance=CHANCES,
)
def test_a_pause_is_within_its_bounds_and_its_ceiling_never_falls(
    backoff: Backoff, failures: int, chance: float
) -> None:
    assert backoff.least <= backoff.pause(failures, chance) <= backoff.ceiling(failures) * (1 + 1e-9)
    assert backoff.ceiling(failures) <= max(backoff.cap, backoff.least)
    assert backoff.ceiling(failures) <= backoff.ceiling(failures + 1)


def test_without_jitter_a_pause_is_its_ceiling() -> None:
    assert [Backoff(15.0, 300.0, jitter=0.0).pause(failures, 0.1) for failures in range(6)] == [
        15,
        30,
        60,
        120,
        240,
        300,
    ]
    assert Backoff(base=0.0, cap=0.0).pause(7, 1.0) == 0.0
