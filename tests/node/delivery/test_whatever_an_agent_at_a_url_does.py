"""Whatever an agent at a URL answers to messages and looks: one thing at a time, in order, and an end in time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mcp_a2a.node.delivery.answers import Answered, Word
from mcp_a2a.node.delivery.events import (
    DialWanted,
    LookGivenUp,
    LookWanted,
    MessageDelivered,
    MessageDropped,
    MessageExpired,
    MessageRefused,
    ProbeWanted,
)
from mcp_a2a.node.delivery.model import Fault, Looked, Route, Way
from mcp_a2a.node.delivery.patience import HTTP
from tests.node.delivery.scene import BOB, Scene

URL = Route(9, "https://agent.example/", Way.HTTP)
FAULTS = [Fault.UNREACHABLE, Fault.UNREADABLE, Fault.AUTH, Fault.GONE, Fault.TASK_GONE, Fault.BROKE]
ANSWERS = st.sampled_from(
    [
        Answered(Word.DELIVERED, signed=True),
        Answered(Word.REFUSED, signed=True, code="400"),
        Answered(Word.SUPERSEDED, signed=True),
        Answered(Word.REFUSED, code="503"),
        Answered(Word.REFUSED, code="503", retry_after=1800.0),
        Answered(Word.LOST, code="lost"),
    ]
)


class Agent(RuleBasedStateMachine):
    """One task at one agent."""

    @initialize(chance=st.floats(0, 1))
    def begin(self, chance: float) -> None:
        self.scene = Scene(HTTP, chance=chance)
        self.waiting: list[str] = []
        self.carried: str | None = None
        self.lost: dict[str, int] = {}
        self.dialing = self.looking = self.attended = self.is_open = False

    @rule(kind=st.sampled_from(["task t", "message t", "cancel t"]))
    def say(self, kind: str) -> None:
        self.waiting += self.scene.put(kind, to=BOB)
        self.pump()

    @rule(wanted=st.booleans(), slow=st.booleans())
    def attend(self, wanted: bool, slow: bool) -> None:  # noqa: FBT001
        self.attended = wanted
        self.scene.queue.attend(BOB, self.scene.at, wanted=wanted, slow=slow)
        self.pump()

    @precondition(lambda self: self.dialing)
    @rule(works=st.booleans(), streams=st.booleans())
    def the_card_is_read(self, works: bool, streams: bool) -> None:  # noqa: FBT001
        self.dialing = False
        if works:
            self.is_open = True
            self.scene.open(Route(9, URL.address, Way.HTTP, streams=streams))
        else:
            self.scene.queue.unreachable(BOB, ("no card",), self.scene.at)
        self.pump()

    @precondition(lambda self: self.is_open)
    @rule()
    def the_card_is_lost(self) -> None:
        self.is_open = self.looking = False
        self.carried = None
        self.scene.close(URL)
        self.pump()

    @precondition(lambda self: self.carried is not None)
    @rule(answer=ANSWERS)
    def the_agent_answers(self, answer: Answered) -> None:
        assert self.carried is not None
        message, self.carried = self.carried, None
        if answer.word is Word.LOST:
            self.lost[message] = self.lost.get(message, 0) + 1
        self.scene.answer(message, answer)
        self.pump()

    @precondition(lambda self: self.waiting)
    @rule()
    def the_newest_message_is_withdrawn(self) -> None:
        message = self.waiting.pop()
        self.scene.queue.withdraw([message], self.scene.at)
        if self.carried == message:  # its courier goes on, and what it reports means nothing
            self.carried = None
            self.pump()
            self.scene.answer(message, Answered(Word.REFUSED, signed=True, code="400"))
        self.pump()

    @precondition(lambda self: self.looking)
    @rule(outcome=st.sampled_from([*Looked, *FAULTS]), later=st.sampled_from([0.0, 0.0, 1800.0]))
    def a_look_ends(self, outcome: Looked | Fault, later: float) -> None:
        self.looking = False
        self.scene.queue.looked(BOB, outcome, self.scene.at, later)
        self.pump()

    @rule(seconds=st.sampled_from([0.3, 5.0, 61.0, 1801.0]))
    def pass_time(self, seconds: float) -> None:
        end = self.scene.at.ticks + seconds
        while (due := self.scene.queue.next_timeout()) <= end:
            self.scene._move(max(0.0, due - self.scene.at.ticks))
            self.scene.queue.handle_timeout(self.scene.at)
            assert self.scene.queue.next_timeout() > self.scene.at.ticks, "it would spin"
            self.pump()
        self.scene._move(end - self.scene.at.ticks)

    def pump(self) -> None:
        while True:
            events = self.scene.events()
            for event in events:
                match event:
                    case MessageDelivered(message) | MessageDropped(message) | MessageExpired(message):
                        self.waiting.remove(message)
                    case MessageRefused(message, code, _, lost):
                        self.waiting.remove(message)
                        assert lost == self.lost.get(message, 0)
                        assert (code == "lost") == (lost == 5)
                    case LookWanted():
                        assert not self.looking
                        assert (self.attended, self.is_open, self.waiting) == (True, True, [])
                        self.looking = True
                    case LookGivenUp():
                        self.attended = False
                    case DialWanted():
                        assert not self.dialing
                        assert not self.is_open
                        self.dialing = True
                    case _:
                        assert not isinstance(event, ProbeWanted), "a request has an end of its own"
            ids = self.scene.go()
            assert len(ids) <= 1
            if ids:
                assert (self.carried, ids[0], self.is_open) == (None, self.waiting[0], True)
                self.carried = ids[0]
            if not ids and not events:
                return

    @invariant()
    def what_waits_is_attended_to(self) -> None:
        if hasattr(self, "scene"):
            assert len(self.scene.queue) == len(self.waiting)
            has_reason = bool(self.waiting) or self.attended
            is_busy = self.dialing or self.looking or self.carried is not None
            assert is_busy or not has_reason or self.scene.queue.next_timeout() < float("inf")

    def teardown(self) -> None:
        if not hasattr(self, "scene"):
            return
        for _ in range(len(self.waiting) + 5):
            if self.dialing:
                self.the_card_is_read(works=True, streams=True)
            if self.carried is not None:
                self.the_agent_answers(Answered(Word.DELIVERED, signed=True))
            if self.looking and not self.waiting:
                break
            self.pass_time(3601.0)
        assert self.waiting == []
        assert self.looking or not self.attended, "what is awaited is looked at"


TestWhateverAnAgentDoes = Agent.TestCase
TestWhateverAnAgentDoes.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
