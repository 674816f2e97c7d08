"""What is gone leaves nothing behind for long: deadlines that were moved, and messages in the middle of a heap."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.node.delivery.model import Hurry
from mcp_a2a.node.delivery.timers import SPARE, Timers
from tests.node.delivery.scene import BOB, DIRECT, WEEK, Scene

DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5), st.sampled_from([1.0, 2.0, 3.0, math.inf])),
        st.tuples(st.just("cancel"), st.integers(0, 5), st.just(0.0)),
        st.tuples(st.just("pop"), st.just(0), st.sampled_from([0.0, 1.0, 2.0, math.inf])),
    ),
    max_size=40,
)


@given(deeds=DEEDS)
def test_each_owner_has_its_newest_deadline(deeds: list[tuple[str, int, float]]) -> None:
    timers: Timers[int] = Timers()
    model: dict[int, float] = {}
    for deed, owner, time in deeds:
        match deed:
            case "set":
                timers.set(owner, time)
                model[owner] = time
            case "cancel":
                timers.cancel(owner)
                model.pop(owner, None)
            case _:
                popped = timers.pop_all(time)
                due = {one: at for one, at in model.items() if at <= time and at != math.inf}
                assert set(popped) == set(due)
                assert [due[one] for one in popped] == sorted(due.values())
                model = {one: at for one, at in model.items() if one not in due}
        assert timers.next() == min(model.values(), default=math.inf)
        assert all(timers.due(one) == model.get(one, math.inf) for one in range(6))


def test_a_deadline_that_is_moved_often_takes_the_room_of_one() -> None:
    timers: Timers[str] = Timers()
    timers.set("first", 0.0)
    for number in range(10_000):
        timers.set("moved", float(number + 1))
    assert len(timers._heap) <= 2 * 2 + SPARE + 1


def test_updates_that_are_replaced_while_their_recipient_is_away_leave_nothing_behind() -> None:
    scene = Scene()
    scene.put("update t")
    for _ in range(2_000):
        scene.queue.withdraw(scene.put("update t", "blob t f"), scene.at)
    (peer,) = scene.queue._waiting.peers.values()
    (line,) = peer.lines.values()
    assert len(line.messages) + len(line.pieces) + len(line.due[0]) < 500
    assert sum(map(len, peer.ready)) < 500
    assert len(scene.queue._waiting.expiry._wall._heap) < 500
    scene.open(DIRECT)
    assert scene.go() == ["update1"]


def test_a_destination_that_nothing_needs_is_forgotten() -> None:
    scene = Scene()
    scene.put("task t")
    scene.open(DIRECT)
    scene.go()
    scene.queue.attend(BOB, scene.at, wanted=True)
    scene.sign_for("task1")
    scene.close(DIRECT)
    scene.queue.unreachable(BOB, (), scene.at)
    assert scene.queue._waiting.peers
    scene.queue.attend(BOB, scene.at, wanted=False)
    scene.queue.unreachable(BOB, (), scene.at)
    assert not scene.queue._waiting.peers
    assert not scene.queue._waiting.timers._due.keys() - {None}
    scene.queue.abandon(BOB, scene.at)
    scene.queue.attend(BOB, scene.at, wanted=False)
    scene.queue.hurry(BOB, Hurry.SIGHTED, scene.at)
    scene.close(DIRECT)
    scene.tick(WEEK)
    assert not scene.queue._waiting.peers
