"""Both ends of one task, whatever happens to them and between them: late, doubled, lost, refused, restored."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.protocol.state import INTERRUPTED
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.task import Task
from tests.protocol.task.ends import Agent, Asker, Letter, finish, heal, outcome_of
from tests.protocol.task.samples import chunk

words = st.sampled_from(["a", "b", None])
pieces = st.lists(st.sampled_from("xyz").map(lambda text: chunk(text, "story")), max_size=2).map(tuple)
open_answers = st.sampled_from(["working", "working", "input_required", "auth_required"])
last_answers = st.sampled_from(["completed", "completed", "failed", "rejected"])


def _is_open(task: Task | None) -> bool:
    return task is not None and not task.done


class TwoEnds(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.asker, self.agent = Asker(), Agent()
        self.kept = {"asker": self.asker.backup(), "agent": self.agent.backup()}
        self.replies, self.ends_after, self.cuts, self.backups = 0, 0, False, False

    @initialize(ends_after=st.integers(0, 10), cuts=st.booleans(), backups=st.booleans())
    def begin(self, ends_after: int, *, cuts: bool, backups: bool) -> None:
        """Not everything happens to each task, or most would end before they have begun."""
        self.ends_after, self.cuts, self.backups = ends_after, cuts, backups
        self.asker.ask_for_it()

    @property
    def is_long_enough(self) -> bool:
        return len(self.agent.made) > self.ends_after

    # --- the asker ---

    @precondition(lambda self: self.asker.task is None)
    @rule()
    def ask_again_under_the_key(self) -> None:
        self.asker.ask_for_it()

    @precondition(lambda self: _is_open(self.asker.task))
    @rule()
    def reply(self) -> None:
        self.replies += 1
        self.asker.reply(f"reply {self.replies}")

    @precondition(lambda self: self.cuts and self.is_long_enough and _is_open(self.asker.task))
    @rule()
    def cancel(self) -> None:
        self.asker.cancel()

    @precondition(lambda self: _is_open(self.asker.task))
    @rule()
    def ask_how_it_stands(self) -> None:
        assert self.asker.task is not None
        self.agent.asked(self.asker.task.seq_in)

    # --- the agent ---

    @precondition(lambda self: self.agent.can(e.Leased) and not self.agent.is_leased)
    @rule()
    def lease(self) -> None:
        self.agent.lease()

    @precondition(lambda self: self.agent.is_leased)
    @rule(crashed=st.booleans())
    def lease_ends(self, *, crashed: bool) -> None:
        self.agent.lease_ends(crashed=crashed)

    @precondition(lambda self: self.agent.is_leased and self.agent.task.attempts == 1)
    @rule()
    def lease_is_returned(self) -> None:
        """Of a later attempt the chunks of the one before are gone with the lease, and come not back with it."""
        self.agent.record(e.LeaseReturned())

    @precondition(lambda self: _is_open(self.agent.task))
    @rule(status=open_answers, text=words, chunks=pieces)
    def work(self, status: str, text: str | None, chunks: tuple[object, ...]) -> None:
        self._answer(status, text, chunks)

    @precondition(lambda self: self.is_long_enough and _is_open(self.agent.task))
    @rule(status=last_answers, text=words, chunks=pieces, direct=st.booleans())
    def end(self, status: str, text: str | None, chunks: tuple[object, ...], *, direct: bool) -> None:
        self._answer(status, text, chunks, direct=direct)

    def _answer(self, status: str, text: str | None, chunks: tuple[object, ...], *, direct: bool = False) -> None:
        values = {"task_id": "task-1", "status": status, "text": text, "chunks": chunks, "direct": direct}
        self.agent.answer(AnswerRequest.model_validate(values))

    # --- the wire ---

    @precondition(lambda self: self.asker.outbox)
    @rule(data=st.data(), receipt=st.booleans())
    def a_letter_arrives(self, data: st.DataObject, *, receipt: bool) -> None:
        letter = data.draw(st.sampled_from(self._sendable()))
        self.agent.took(letter)
        if receipt:
            self.asker.receipted(letter)

    def _sendable(self) -> list[Letter]:
        """A message goes behind those before it; a withdrawal waits for none."""
        letters = [*self.asker.outbox.values()]
        first = next((one for one in letters if one.kind != "cancel"), None)
        return [one for one in letters if one.kind == "cancel" or one is first]

    @precondition(lambda self: self.agent.outbox)
    @rule(data=st.data(), receipt=st.booleans())
    def an_update_arrives(self, data: st.DataObject, *, receipt: bool) -> None:
        letter = data.draw(st.sampled_from([*self.agent.outbox.values()]))
        if self.asker.told(letter) and receipt:
            self.agent.outbox.pop(letter.number, None)

    @precondition(lambda self: self.agent.outbox)
    @rule(data=st.data())
    def an_update_expires(self, data: st.DataObject) -> None:
        letter = data.draw(st.sampled_from([*self.agent.outbox.values()]))
        self.agent.outbox.pop(letter.number, None)

    @precondition(lambda self: self.cuts and self.is_long_enough and self.asker.outbox)
    @rule(data=st.data(), refused=st.booleans())
    def a_letter_is_refused_or_expires(self, data: st.DataObject, *, refused: bool) -> None:
        self.asker.undeliverable(data.draw(st.sampled_from(self._sendable())), refused=refused)

    # --- backups ---

    @rule(which=st.sampled_from(["asker", "agent"]))
    def back_up(self, which: str) -> None:
        self.kept[which] = getattr(self, which).backup()

    @precondition(lambda self: self.backups)
    @rule()
    def restore_the_asker(self) -> None:
        self.asker.restore(self.kept["asker"])

    @precondition(lambda self: self.backups)
    @rule()
    def restore_the_agent(self) -> None:
        """Its node starts again: on the new link the asker asks before anything else is said."""
        self.agent.restore(self.kept["agent"])
        if _is_open(self.asker.task):
            assert self.asker.task is not None
            self.agent.asked(self.asker.task.seq_in)

    # --- what is always so ---

    @invariant()
    def an_end_that_came_from_the_agent_is_one_that_it_recorded(self) -> None:
        task = self.asker.task
        if task is None or not task.done or self.asker.is_cut:
            return
        if self.agent.restored:
            assert outcome_of(task)[:2] in [end[:2] for end in self.agent.ends]
        else:
            assert outcome_of(task) in self.agent.ends

    @invariant()
    def what_the_asker_has_was_made(self) -> None:
        if self.asker.task is not None and not self.agent.restored:
            assert self.asker.task.artifacts in self.agent.made

    def teardown(self) -> None:
        heal(self.asker, self.agent)
        finish(self.agent)
        heal(self.asker, self.agent)
        asker, agent = self.asker.task, self.agent.task
        if asker is None:
            return
        if not asker.done and agent is None:
            self.asker.cancel()  # what a person does about a task that its agent knows nothing of
            heal(self.asker, self.agent)
            assert self.asker.task.done
            return
        if self.asker.is_cut or (asker.done and self.agent.restored):
            return
        assert agent is not None
        if agent.state in INTERRUPTED:
            assert (asker.state, asker.status.message) == (agent.state, agent.status.message)
        elif self.agent.restored:
            assert outcome_of(asker)[:2] == outcome_of(agent)[:2]
        else:
            assert outcome_of(asker) == outcome_of(agent)


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(max_examples=150, stateful_step_count=50)
