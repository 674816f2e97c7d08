"""Rates of deposits at a relay: of one key, and of all that share its account (a network, or a host)."""

from __future__ import annotations

from mcp_a2a.protocol.rates import Bucket, Buckets, Rate
from mcp_a2a.protocol.relay_limits import HOST, NETWORK, RelayLimits
from mcp_a2a.protocol.relay_session import RelaySession


class DepositRates:
    """Messages and bytes. `key_bytes` is shared with what keys publish."""

    def __init__(self, limits: RelayLimits, key_bytes: Buckets[bytes]) -> None:
        self._messages: Buckets[bytes] = Buckets(limits.deposits)
        self._bytes = key_bytes
        self._accounts: dict[bytes, tuple[Buckets[bytes], Buckets[bytes]]] = {
            kind: (Buckets(_times(limits.deposits, senders)), Buckets(_times(limits.deposit_bytes, senders)))
            for kind, senders in ((HOST, limits.host_senders), (NETWORK, limits.network_senders))
        }

    def take(self, session: RelaySession, size: int, now: float) -> float:
        """Take one message of this size; 0.0, or the seconds to wait, and then nothing is taken."""
        key, account = session.key, session.account
        costs: list[tuple[Bucket, float]] = [(self._messages.of(key, now), 1), (self._bytes.of(key, now), size)]
        shared = self._accounts.get(account[:1])
        if shared is not None:
            costs += (shared[0].of(account, now), 1), (shared[1].of(account, now), size)
        return Bucket.take_all(costs, now)

    def forget_full(self, now: float) -> None:
        """Forget those that have not deposited for long."""
        self._messages.forget_full(now)
        for messages, all_bytes in self._accounts.values():
            messages.forget_full(now)
            all_bytes.forget_full(now)


def _times(rate: Rate, factor: float) -> Rate:
    return Rate(rate.per_second * factor, rate.burst * factor)
