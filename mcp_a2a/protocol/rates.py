"""Rate limits: token buckets, one per key, without a clock."""

# ruff: noqa: SLF001  `take_all` looks into several buckets at once

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Rate:
    """So much per second in the long run, and `burst` at once."""

    per_second: float
    burst: float


class Bucket:
    """The tokens of one key. Full when new."""

    __slots__ = ("_at", "_burst", "_level", "_per_second")

    def __init__(self, rate: Rate, now: float) -> None:
        self._per_second, self._burst = rate.per_second, rate.burst
        self._level = rate.burst
        self._at = now

    def wait_for(self, cost: float, now: float) -> float:
        """Seconds until `cost` is there; 0.0 when it is there now. Nothing is taken.

        What costs more than a full bucket holds is there as soon as the bucket is full.
        """
        level = self._level + (now - self._at) * self._per_second
        if level > self._burst:  # noqa: PLR1730  in a third of the time of min(), twice or four times per message
            level = self._burst
        self._level, self._at = level, now
        if cost <= level:
            return 0.0
        return max(0.0, (min(cost, self._burst) - level) / self._per_second)

    def take(self, cost: float, now: float) -> float:
        """Take `cost` where it is there and return 0.0; otherwise take nothing and return the seconds to wait."""
        wait = self.wait_for(cost, now)
        if not wait:
            self.spend(cost)
        return wait

    def spend(self, cost: float) -> None:
        """Take `cost`, which `wait_for` has just found to be there."""
        self._level -= cost

    @classmethod
    def take_all(cls, costs: Sequence[tuple[Self, float]], now: float) -> float:
        """Take all costs where all are there and return 0.0; otherwise take nothing and return the seconds to wait."""
        wait = 0.0
        for bucket, cost in costs:
            # As in `wait_for`, without a call for each bucket: a relay does this four times for every message.
            level = bucket._level + (now - bucket._at) * bucket._per_second
            if level > bucket._burst:  # noqa: PLR1730  as above
                level = bucket._burst
            bucket._level, bucket._at = level, now
            if cost > level:
                wait = max(wait, bucket.wait_for(cost, now))
        if not wait:
            for bucket, cost in costs:
                bucket._level -= cost
        return wait

    def is_full(self, now: float) -> bool:
        """True if it can be forgotten, because a new one would be the same."""
        return not self.wait_for(self._burst, now)


class Buckets(Generic[Key]):
    """One bucket per key that did something lately. No more than `limit`: the oldest is forgotten first."""

    def __init__(self, rate: Rate, limit: int = 100_000) -> None:
        self._rate = rate
        self._limit = limit
        self._buckets: dict[Key, Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, key: Key, now: float) -> Bucket:
        """The bucket of this key."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._limit:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[key] = Bucket(self._rate, now)
        return bucket

    def forget_full(self, now: float) -> None:
        """Drop those that are as good as new."""
        for key in [key for key, bucket in self._buckets.items() if bucket.is_full(now)]:
            del self._buckets[key]
