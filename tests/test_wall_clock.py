"""A clock that no message can express."""

from __future__ import annotations

import time

import pytest

from mcp_a2a.protocol.payload import MAX_TIME
from mcp_a2a.wall_clock import DAY, stamp_of_now, wall_clock


@pytest.mark.parametrize("year", [2105, 2106, 2262])
def test_a_clock_beyond_what_messages_express_reads_as_one_that_they_do_and_runs(
    monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    monkeypatch.setattr(time, "time", lambda: (year - 1970) * 365.25 * DAY)
    running = iter((1_000.0, 1_060.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(running))
    first, second = wall_clock(), wall_clock()
    assert second - first == 60
    assert second < MAX_TIME - 400 * DAY


def test_any_other_clock_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for now in (0.0, 600.0, 1_790_000_000.5, 2**31 + 0.5):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert wall_clock() == now


def test_two_moments_have_two_names() -> None:
    assert stamp_of_now() != stamp_of_now()
