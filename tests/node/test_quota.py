"""How many new tasks a node takes from one sender."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_a2a.api.agents import SetTrustRequest
from mcp_a2a.api.inbox import CheckInboxRequest
from mcp_a2a.node.tasks.quota import KNOWN, TaskQuota
from mcp_a2a.protocol.control import Delivered, Refused
from tests.node.outsider import outsider, task_letter
from tests.node.world import World
from tests.protocol.people import ALICE, BOB

A, B = ALICE.peer_id, BOB.peer_id


def test_a_stranger_sends_thirty_tasks_a_minute_and_another_its_own() -> None:
    quota = TaskQuota(30)
    assert [quota.take(A, "stranger", 0.0) for _ in range(30)] == [0.0] * 30
    assert quota.take(A, "stranger", 0.0) == pytest.approx(2.0)
    assert quota.take(B, "stranger", 0.0) == 0.0
    assert quota.take(A, "stranger", 2.0) == 0.0
    assert quota.take(A, "stranger", 2.0) > 0
    assert [quota.take(A, "stranger", 100.0) for _ in range(30)] == [0.0] * 30


def test_a_stranger_sends_five_hundred_tasks_at_once_in_a_day_and_the_owner_may_say_more() -> None:
    for rate, most in ((30, 500), (300, 5_000)):
        quota, taken, now = TaskQuota(rate), 0, 0.0
        while not (wait := quota.take(A, "stranger", now)) or wait <= 60 / rate:
            taken, now = taken + (not wait), now + (wait and wait + 0.001)
        assert most <= taken <= most * 1.02  # and what comes back meanwhile
        assert wait < 86_400 / most


def test_members_and_trusted_peers_meet_only_the_limit_of_a_flood_and_own_agents_none() -> None:
    quota = TaskQuota(30)
    for trust, peer in (("member", A), ("trusted", B)):
        assert not any(quota.take(peer, trust, 0.0) for _ in range(int(KNOWN.burst)))  # type: ignore[arg-type]
        assert quota.take(peer, trust, 0.0) > 0  # type: ignore[arg-type]
    assert not any(quota.take(A, "own", 0.0) for _ in range(10_000))


def test_what_was_no_new_task_is_given_back() -> None:
    quota = TaskQuota(1)
    for _ in range(5):
        assert quota.take(A, "stranger", 0.0) == 0.0
        quota.give_back(A, "stranger", 0.0)
    assert quota.take(A, "stranger", 0.0) == 0.0
    assert quota.take(A, "stranger", 0.0) > 0


async def test_a_stranger_that_floods_is_told_when_to_come_again_and_a_member_is_served(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.person("bob", accept="anyone") as bob, outsider(world.network, "stranger") as stranger:
        link, me = await stranger.dial(bob), bob.node.context.me
        letters = [task_letter(stranger.peer_id, me, str(number)) for number in range(31)]
        answers = [await stranger.send(link, letter) for letter in letters]
        assert [type(answer) for answer in answers] == [Delivered] * 30 + [Refused]
        refused = answers[-1]
        assert isinstance(refused, Refused)
        assert (refused.code, bool(refused.retry_after)) == ("busy", True)
        assert isinstance(await stranger.send(link, letters[0]), Refused | Delivered)  # once more: no new task
        async with outsider(world.network, "friend") as friend:
            await bob.api.call(SetTrustRequest(agent=friend.did, level="trusted"))
            other = await friend.dial(bob)
            for number in range(40):
                assert isinstance(await friend.send(other, task_letter(friend.peer_id, me, str(number))), Delivered)
        inbox = await bob.api.call(CheckInboxRequest(limit=20))
        assert inbox.waiting + len(inbox.items) == 70
