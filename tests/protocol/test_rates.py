"""Token buckets: what comes through in the long run, and at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.protocol.rates import Bucket, Buckets, Rate

RATE = Rate(per_second=1.0, burst=10)


def test_a_burst_is_taken_at_once_and_the_next_has_to_wait_exactly_as_long_as_it_says() -> None:
    bucket = Bucket(RATE, now=0.0)
    assert [bucket.take(1, 0.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(1, 0.0) == 1.0
    assert bucket.take(1, 0.5) == 0.5
    assert bucket.take(1, 1.0) == 0.0


def test_waiting_costs_nothing_and_asking_takes_nothing() -> None:
    bucket = Bucket(RATE, now=0.0)
    assert bucket.wait_for(10, 0.0) == 0.0
    assert bucket.take(10, 0.0) == 0.0


def test_what_is_larger_than_a_bucket_passes_when_the_bucket_is_full_and_is_paid_for_afterwards() -> None:
    bucket = Bucket(RATE, now=0.0)
    assert bucket.take(25, 0.0) == 0.0
    assert bucket.take(1, 0.0) == 16.0


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 12)), max_size=50))
def test_never_more_than_a_burst_and_the_rate_comes_through(steps: list[tuple[float, float]]) -> None:
    bucket, now, taken = Bucket(RATE, now=0.0), 0.0, 0.0
    for pause, cost in steps:
        now += pause
        if bucket.take(cost, now) == 0.0:
            taken += min(cost, RATE.burst)
        assert taken <= RATE.burst + now * RATE.per_second + 1e-6


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 12), st.floats(0, 12)), max_size=50))
def test_of_several_buckets_all_are_charged_or_none(steps: list[tuple[float, float, float]]) -> None:
    rates = Rate(1.0, 10.0), Rate(2.0, 5.0)
    together, alone = ([Bucket(rate, 0.0) for rate in rates] for _ in range(2))
    now = 0.0
    for pause, *costs in steps:
        now += pause
        wait = max(bucket.wait_for(cost, now) for bucket, cost in zip(alone, costs, strict=True))
        if not wait:
            for bucket, cost in zip(alone, costs, strict=True):
                bucket.spend(cost)
        assert Bucket.take_all(list(zip(together, costs, strict=True)), now) == wait


def test_a_bucket_that_is_full_again_is_forgotten_and_no_more_are_kept_than_there_may_be() -> None:
    buckets: Buckets[int] = Buckets(RATE, limit=3)
    for key in range(5):
        buckets.of(key, 0.0).take(1, 0.0)
    assert len(buckets) == 3
    buckets.forget_full(0.5)
    assert len(buckets) == 3
    buckets.forget_full(1.0)
    assert len(buckets) == 0
