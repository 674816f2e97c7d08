"""A worker over two real nodes: what it takes, answers, renews, asks, gives up, and leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from mcp_a2a.api.agents import GetAgentRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest, InboxView
from mcp_a2a.api.request import Request
from mcp_a2a.api.tasks import CancelRequest, GetTaskRequest, ReplyRequest, SendTaskRequest, TaskView
from mcp_a2a.api.view import View
from mcp_a2a.errors.machine import StorageFullError
from mcp_a2a.node.runtime.context import delivery_of
from mcp_a2a.node.worker import worker as worker_module
from mcp_a2a.node.worker.job import Chunk, Crashed, Outcome, Reject
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.node.worker.worker import TaskEvent, Worker
from mcp_a2a.protocol.model import Part, TaskState
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.records import count_open, find_task
from tests.files.scenes import until
from tests.node.world import Person, World, acquainted

Handler = Callable[[TaskContext], Awaitable[Outcome]]


@dataclass
class Scene:
    """Alice sends, Bob has a worker."""

    world: World
    alice: Person
    bob: Person
    stopping: anyio.Event = field(default_factory=anyio.Event)
    events: list[TaskEvent] = field(default_factory=list)
    happened: anyio.Event = field(default_factory=anyio.Event)

    def log(self, event: TaskEvent) -> None:
        self.events.append(event)
        happened, self.happened = self.happened, anyio.Event()
        happened.set()

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    async def until(self, *kinds: str) -> None:
        """Wait until exactly this has happened."""
        with anyio.fail_after(30):
            while self.kinds != list(kinds):
                await self.happened.wait()

    async def until_waiting(self, tasks: int) -> None:
        """Wait until Bob has that many open tasks."""
        counting = partial(count_open, peer=self.alice.did)
        await until(lambda: self.bob.node.context.database.read(counting)[0] == tasks)

    async def until_recorded(self, person: Person, task: TaskView, condition: Callable[[Task], bool]) -> None:
        """Wait until the task's record at this person is so."""
        with anyio.fail_after(30):
            while True:
                changed = person.node.context.task_changes.event(delivery_of(task.task_id))
                record = person.node.context.database.read(lambda connection: find_task(connection, task.task_id))
                if record is not None and condition(record):
                    return
                await changed.wait()

    def worker(self, handler: Handler, concurrency: int = 4, **more: float) -> Worker:
        return Worker(self.bob.api, handler, holder="1-test", concurrency=concurrency, log=self.log, **more)

    async def send(self, text: str, wait: float = 10) -> TaskView:
        return await self.alice.api.call(SendTaskRequest(agent="bob", message=text, wait_seconds=wait))

    async def look(self, task: TaskView, wait: float = 10) -> TaskView:
        return await self.alice.api.call(GetTaskRequest(task_id=task.task_id, wait_seconds=wait))


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob", "echo") as bob:
        await acquainted(alice, bob)
        yield Scene(world, alice, bob)


@asynccontextmanager
async def working(scene: Scene, worker: Worker) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, scene.stopping)
        yield
        scene.stopping.set()


async def echo(task: TaskContext) -> Outcome:
    return Outcome("completed", task.text[::-1])


async def test_a_task_is_worked_on_and_answered(scene: Scene) -> None:
    async with working(scene, scene.worker(echo)):
        view = await scene.send("hello")
    assert (view.state, view.text) == (Moment.COMPLETED, "olleh")
    assert scene.kinds == ["completed"]


async def test_a_burst_flows_with_never_more_at_a_time_than_there_are_slots(scene: Scene) -> None:
    running, most = 0, 0
    all_wait = anyio.Event()

    async def count(task: TaskContext) -> Outcome:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await all_wait.wait()  # with every task at hand, a fourth slot would show
        await anyio.lowlevel.checkpoint()
        running -= 1
        return Outcome("completed", task.text)

    answers: list[str | None] = []

    async def send(number: int) -> None:
        answers.append((await scene.send(f"task {number}")).text)

    async with working(scene, scene.worker(count, concurrency=3)), anyio.create_task_group() as senders:
        for number in range(64):
            senders.start_soon(send, number)
        await scene.until_waiting(64)
        all_wait.set()
        # the group ends when all are answered
    assert sorted(map(str, answers)) == sorted(f"task {number}" for number in range(64))
    assert most == 3


async def test_what_a_handler_raises_fails_the_task_with_that_message(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(task: TaskContext) -> Outcome:
        raise ValueError(f"no such word: {task.text}")

    async with working(scene, scene.worker(fail)):
        view = await scene.send("xyzzy")
    assert view.state == Moment.FAILED
    assert view.error is not None
    assert view.error.message == "no such word: xyzzy"
    assert "Traceback" in caplog.text  # for the skill's author


async def test_a_handler_that_ends_its_process_only_fails_its_task(scene: Scene) -> None:
    async def leave(task: TaskContext) -> Outcome:
        raise SystemExit(3)

    async with working(scene, scene.worker(leave)):
        assert (await scene.send("a")).state == Moment.FAILED
        assert (await scene.send("b")).state == Moment.FAILED


async def test_progress_reaches_the_sender_and_only_the_newest_of_a_flood_travels(scene: Scene) -> None:
    gate = anyio.Event()

    async def flood(task: TaskContext) -> Outcome:
        for number in range(1_000):
            await task.progress(f"step {number}")
        await gate.wait()
        return Outcome("completed", "done")

    async with working(scene, scene.worker(flood)):
        sent = await scene.send("go", wait=0)
        await scene.until_recorded(scene.alice, sent, lambda record: "step 999" in record.status.to_json())
        gate.set()
        view = await scene.look(sent)
    assert view.state == Moment.COMPLETED
    record = scene.bob.node.sending.latest(sent.task_id)
    assert record.seq_out < 20, "a thousand steps must not be a thousand messages"


async def test_a_question_waits_for_its_reply_without_a_slot(scene: Scene) -> None:
    async def ask(task: TaskContext) -> Outcome:
        if task.text == "ask":
            return Outcome("completed", f"so {await task.ask('which one?')}")
        return Outcome("completed", "quick")

    async with working(scene, scene.worker(ask, concurrency=1)):
        asked = await scene.send("ask")
        assert (asked.state, asked.question) == (Moment.INPUT_REQUIRED, "which one?")
        assert (await scene.send("other")).text == "quick"
        replied = await scene.alice.api.call(
            ReplyRequest(task_id=asked.task_id, message="the red one", wait_seconds=30)
        )
    assert replied.text == "so the red one"


async def test_a_skill_that_waits_no_longer_for_a_reply_works_on_in_a_slot_and_is_heard(scene: Scene) -> None:
    patience, go_on = anyio.CancelScope(), anyio.Event()

    async def impatient(task: TaskContext) -> Outcome:
        with patience:
            await task.ask("which one?")
        await task.progress("any will do")
        await go_on.wait()
        return Outcome("completed", "this one")

    worker = scene.worker(impatient, concurrency=1)
    async with working(scene, worker):
        asked = await scene.send("x")
        assert (asked.state, worker._busy) == (Moment.INPUT_REQUIRED, 0)
        patience.cancel()
        await scene.until_recorded(scene.alice, asked, lambda record: record.state == TaskState.WORKING)
        assert worker._busy == 1
        go_on.set()
        assert (await scene.look(asked)).text == "this one"
    assert worker._busy == 0


async def test_questions_that_a_skill_asks_at_the_same_time_are_put_one_after_the_other(scene: Scene) -> None:
    async def ask(task: TaskContext) -> Outcome:
        told: dict[str, str] = {}

        async def one(question: str) -> None:
            told[question] = await task.ask(question)

        async with anyio.create_task_group() as questions:
            questions.start_soon(one, "red?")
            questions.start_soon(one, "blue?")
        return Outcome("completed", f"red: {told['red?']}, blue: {told['blue?']}")

    async with working(scene, scene.worker(ask, concurrency=1)):
        asked = await scene.send("ask")
        assert asked.question == "red?"
        for reply, following in (("yes", "blue?"), ("no", None)):
            asked = await scene.alice.api.call(ReplyRequest(task_id=asked.task_id, message=reply, wait_seconds=10))
            assert asked.question == following
    assert asked.text == "red: yes, blue: no"


async def test_a_skill_that_goes_on_without_the_answer_to_its_question_ends_no_worker(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.01)
    begun: list[str] = []
    looked, full, go_on = anyio.Event(), anyio.Event(), anyio.Event()
    ask = scene.bob.api.call

    async def checked(request: CheckInboxRequest) -> InboxView:
        if begun and request.limit:
            looked.set()
        if len(begun) == 2 and not request.limit:
            full.set()
        return await ask(request)

    async def answered(request: AnswerRequest) -> TaskView:
        if request.status == "input_required":
            await looked.wait()  # for another task: one that asks has no slot
            raise StorageFullError("the database")
        return await ask(request)

    async def go_on_anyhow(task: TaskContext) -> Outcome:
        begun.append(task.text)
        if task.text == "first":
            with suppress(StorageFullError):
                await task.ask("which one?")
        await go_on.wait()
        return Outcome("completed", task.text)

    async def call(request: Request[View]) -> View:
        if isinstance(request, CheckInboxRequest):
            return await checked(request)
        return await answered(request) if isinstance(request, AnswerRequest) else await ask(request)

    monkeypatch.setattr(scene.bob.api, "call", call)
    async with working(scene, scene.worker(go_on_anyhow, concurrency=1)):
        first, second = await scene.send("first", wait=0), await scene.send("second", wait=0)
        with anyio.fail_after(30):
            await full.wait()
        go_on.set()
        assert (await scene.look(second)).text == "second"
        assert (await scene.look(first)).text == "first"


async def test_replies_that_came_before_a_restart_are_given_again(scene: Scene) -> None:
    questions: list[str] = []

    async def interview(task: TaskContext) -> Outcome:
        questions.append("name")
        name = await task.ask("name?")
        questions.append("age")
        return Outcome("completed", f"{name}, {await task.ask('age?')}")

    async with working(scene, scene.worker(interview)):
        asked = await scene.send("start")
        second = await scene.alice.api.call(ReplyRequest(task_id=asked.task_id, message="Ada", wait_seconds=30))
        assert second.question == "age?"
    scene.stopping = anyio.Event()
    async with working(scene, scene.worker(interview)):
        done = await scene.alice.api.call(ReplyRequest(task_id=asked.task_id, message="36", wait_seconds=30))
    assert done.text == "Ada, 36"
    assert questions == ["name", "age", "name", "age"]


async def test_withdrawing_a_task_cancels_its_handler(scene: Scene) -> None:
    begun, cancelled = anyio.Event(), anyio.Event()

    async def hang(task: TaskContext) -> Outcome:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    async with working(scene, scene.worker(hang, concurrency=1)):
        sent = await scene.send("wait", wait=0)
        await begun.wait()
        await scene.alice.api.call(CancelRequest(task_id=sent.task_id))
        with anyio.fail_after(30):
            await cancelled.wait()
        await scene.until("canceled")
        view = await scene.look(sent)
    assert view.state == Moment.CANCELED


async def test_a_full_worker_hears_of_a_withdrawal_without_spinning_over_tasks_it_cannot_take(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.01)
    begun, gate, looks = anyio.Event(), anyio.Event(), 0

    async def hang(task: TaskContext) -> Outcome:
        begun.set()
        await gate.wait()
        return Outcome("completed", task.text)

    counted = scene.bob.node.inbox._waiting

    def count() -> int:
        nonlocal looks
        looks += 1
        return counted()

    async with working(scene, scene.worker(hang, concurrency=1)):
        first = await scene.send("first", wait=0)
        await begun.wait()
        second = await scene.send("second", wait=0)
        await scene.until_recorded(scene.alice, second, lambda record: record.delivery == "DELIVERED")
        monkeypatch.setattr(scene.bob.node.inbox, "_waiting", count)
        with anyio.move_on_after(0.2):
            await scene.look(first)
        assert looks < 20
        await scene.alice.api.call(CancelRequest(task_id=first.task_id))
        await scene.until("canceled")
        gate.set()
        assert (await scene.look(second)).text == "second"


async def test_withdrawing_a_task_whose_handler_waits_for_a_reply_ends_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "ASKING_TICK_SECONDS", 0.05)

    async def ask(task: TaskContext) -> Outcome:
        return Outcome("completed", await task.ask("still there?"))

    async with working(scene, scene.worker(ask)):
        asked = await scene.send("hm")
        await scene.alice.api.call(CancelRequest(task_id=asked.task_id))
        await scene.until("input_required", "canceled")


async def test_a_long_task_keeps_its_lease(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "TICK_SECONDS", 0.05)
    gate = anyio.Event()

    async def slow(task: TaskContext) -> Outcome:
        await task.progress("thinking")
        await gate.wait()
        return Outcome("completed", "at last")

    async with working(scene, scene.worker(slow, renew_seconds=0.1)):
        sent = await scene.send("x", wait=0)
        await scene.until_recorded(scene.bob, sent, lambda record: record.seq_out >= 4)
        await scene.until_recorded(scene.alice, sent, lambda record: record.seq_in >= 4)
        assert (await scene.look(sent, wait=0)).progress == "thinking", "a renewal repeats what was told"
        gate.set()
        assert (await scene.look(sent)).text == "at last"


async def test_a_worker_that_stops_leaves_its_tasks_to_the_next(scene: Scene) -> None:
    begun = anyio.Event()

    async def hang(task: TaskContext) -> Outcome:
        begun.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.worker(hang).run, scene.stopping)
        sent = await scene.send("x", wait=0)
        await begun.wait()
        scene.stopping.set()
    assert not (await scene.look(sent, wait=0)).done
    await scene.bob.node.inbox.release(lambda _: False)  # as the owner does for a process that is gone
    scene.stopping = anyio.Event()
    async with working(scene, scene.worker(echo)):
        view = await scene.look(sent)
    assert (view.text, view.attempts) == ("x", 2)


async def test_a_handler_may_finish_while_its_worker_stops(scene: Scene) -> None:
    begun = anyio.Event()

    async def brief(task: TaskContext) -> Outcome:
        begun.set()
        await anyio.sleep(0.05)
        return Outcome("completed", "just in time")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.worker(brief).run, scene.stopping)
        sent = await scene.send("x", wait=0)
        await begun.wait()
        scene.stopping.set()
    assert (await scene.look(sent)).text == "just in time"


async def test_a_result_that_does_not_fit_fails_the_task_and_says_so(scene: Scene) -> None:
    async def verbose(task: TaskContext) -> Outcome:
        return Outcome("completed", "x" * 2_000_000)

    async with working(scene, scene.worker(verbose)):
        view = await scene.send("x")
    assert view.state == Moment.FAILED
    assert view.error is not None
    assert "cannot be sent" in view.error.message


async def test_an_attempt_that_crashed_is_offered_again_and_the_third_fails_the_task_with_the_reason(
    scene: Scene,
) -> None:
    attempts: list[int] = []

    async def crash(task: TaskContext) -> Outcome:
        attempts.append(task.attempt)
        if task.text == "once" and task.attempt == 2:
            return Outcome("completed", "at last")
        raise Crashed("rev was ended by SIGKILL.")

    async with working(scene, scene.worker(crash)):
        once, always = await scene.send("once"), await scene.send("always")
    assert (once.text, once.attempts) == ("at last", 2)
    assert attempts == [1, 2, 1, 2, 3]
    assert always.state == Moment.FAILED
    assert always.error is not None
    assert always.error.message == "It was offered 3 times and never answered; the last time, rev was ended by SIGKILL."


async def test_a_finished_answer_waits_for_room_on_the_disk_and_the_work_is_done_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full is full for every statement: SQLite refuses each page beyond the file's present size."""
    runs, database = 0, scene.bob.node.context.database
    result = "x" * 200_000  # more than the free pages of the file hold

    async def fill(task: TaskContext) -> Outcome:
        nonlocal runs
        runs += 1
        pages = database.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").fetchone())
        return Outcome("completed", result)

    monkeypatch.setattr(worker_module, "RETRIES", 1)  # how often it was tried before is no limit any more
    async with working(scene, scene.worker(fill)):
        sent = await scene.send("x", wait=0)
        await until(lambda: scene.bob.node.inbox.kept == 1)
        scene.world.clock.advance(1_000)  # its lease is over, and nobody else may have it
        assert (await scene.bob.api.call(CheckInboxRequest(holder="2-other", worker=True))).items == ()
        assert (await scene.bob.api.call(GetAgentRequest(agent="self"))).node.kept == 1
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count=1073741823").fetchone())
        view = await scene.look(sent)
    assert (view.text, view.attempts, runs) == (result, 1, 1)
    assert scene.bob.node.inbox.kept == 0


async def test_an_answer_after_the_task_was_withdrawn_is_dropped(scene: Scene) -> None:
    begun, gate = anyio.Event(), anyio.Event()

    async def stubborn(task: TaskContext) -> Outcome:
        begun.set()
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return Outcome("completed", "too late")

    async with working(scene, scene.worker(stubborn)):
        sent = await scene.send("x", wait=0)
        await begun.wait()
        await scene.alice.api.call(CancelRequest(task_id=sent.task_id))
        await scene.until_recorded(scene.bob, sent, lambda record: record.state == TaskState.CANCELED)
        gate.set()
        await scene.until("lost")
    assert (await scene.look(sent)).state == Moment.CANCELED


async def test_data_parts_reach_the_handler_and_the_sender(scene: Scene) -> None:
    async def double(task: TaskContext) -> Outcome:
        numbers = [part.data for part in task.parts if "data" in part.model_fields_set]
        return Outcome("completed", "see data", (Part(data={"got": numbers}),))

    async with working(scene, scene.worker(double)):
        view = await scene.alice.api.call(
            SendTaskRequest(agent="bob", message="numbers", parts=(Part(data=[1, 2]),), wait_seconds=30)
        )
    assert view.text == "see data"
    assert view.artifacts[0].parts[0].data == {"got": [[1, 2]]}


class _SpeechlessError(Exception):
    def __str__(self) -> str:
        raise self.args[0]


async def _await_a_cancelled_task() -> None:
    job = asyncio.create_task(anyio.sleep(9))
    await asyncio.sleep(0)
    job.cancel()
    await job


async def _cancel_oneself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def _await_a_task_that(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def skill() -> None:
        await asyncio.wait_for(asyncio.create_task(_raise(error)()), None)

    return skill


async def _cancel_a_group() -> None:
    with anyio.move_on_after(0):
        await anyio.sleep_forever()
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(anyio.sleep_forever)
        tasks.cancel_scope.cancel()
    raise ValueError("all were cancelled")


async def _forget_a_task_that_exits() -> None:
    job = asyncio.create_task(_raise(SystemExit(4))())
    await asyncio.wait([job])
    raise ValueError(type(job.exception()).__name__)


def _raise(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def skill() -> None:
        raise error

    return skill


@pytest.mark.parametrize(
    ("skill", "reason"),
    [
        (_await_a_cancelled_task, "CancelledError"),
        (_cancel_oneself, "CancelledError"),
        (_raise(GeneratorExit()), "GeneratorExit"),
        (_raise(KeyboardInterrupt()), "KeyboardInterrupt"),
        (_raise(SystemExit(3)), "The skill ended its process with 3."),
        (_raise(SystemExit(None)), "The skill ended its process with 0."),
        (_raise(SystemExit("it's over")), "The skill ended its process: it's over"),
        (_raise(_SpeechlessError(RuntimeError("no words"))), "_SpeechlessError"),
        (_raise(_SpeechlessError(SystemExit())), "_SpeechlessError"),
        (_await_a_task_that(SystemExit(5)), "The skill ended its process with 5."),
        (_await_a_task_that(KeyboardInterrupt("here")), "here"),
        (_forget_a_task_that_exits, "BaseExceptionGroup"),
        (_cancel_a_group, "all were cancelled"),
        (_raise(ValueError("cut \ud83d")), "cut \ufffd"),
        (_raise(BaseExceptionGroup("several", [KeyboardInterrupt("the first")])), "the first"),
    ],
)
async def test_whatever_a_skill_raises_fails_its_task_alone(
    scene: Scene, skill: Callable[[], Awaitable[None]], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(
        logging.CRITICAL, "mcp_a2a.node.worker.worker"
    )  # a report with half a surrogate pair cannot be passed on

    async def work(task: TaskContext) -> Outcome:
        if task.text == "break":
            await skill()
        return Outcome("completed", "whole")

    async with working(scene, scene.worker(work)):
        broken = await scene.send("break")
        assert broken.error is not None
        assert (broken.state, broken.error.message) == (Moment.FAILED, reason)
        assert (await scene.send("go on")).text == "whole"


async def test_a_reason_that_is_too_long_to_be_sent_is_shortened_and_not_replaced(scene: Scene) -> None:
    async def work(_: TaskContext) -> Outcome:
        raise ValueError("page not found " * 200_000)

    async with working(scene, scene.worker(work)):
        failed = await scene.send("fetch")
        assert failed.error is not None
        assert failed.error.message.startswith("page not found page not found")


class _SpeechlessRefusal(Reject):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("late", [False, True])
async def test_a_cancellation_that_a_skill_leaves_behind_ends_neither_its_answer_nor_its_worker(
    scene: Scene, *, late: bool
) -> None:
    async def work(task: TaskContext) -> Outcome:
        own = asyncio.current_task()
        assert own is not None
        if late:
            asyncio.get_running_loop().call_soon(own.cancel)
        else:
            own.cancel()
        return Outcome("completed", task.text)

    async with working(scene, scene.worker(work)):
        for text in ("one", "two"):
            view = await scene.send(text)
            assert (view.state, view.text) == (Moment.COMPLETED, text)


async def test_a_refusal_without_words_is_a_refusal(scene: Scene) -> None:
    async def work(_task: TaskContext) -> Outcome:
        raise _SpeechlessRefusal

    async with working(scene, scene.worker(work)):
        for _ in range(2):
            assert (await scene.send("x")).state == Moment.REJECTED


@pytest.mark.parametrize("question", [5, None, ValueError("which color?")])
async def test_a_question_that_is_no_text_is_asked_as_text(scene: Scene, question: object) -> None:
    async def work(task: TaskContext) -> Outcome:
        await task.progress(question)  # type: ignore[arg-type]  an author may hand over anything
        return Outcome("completed", await task.ask(question))  # type: ignore[arg-type]  likewise

    async with working(scene, scene.worker(work)):
        view = await scene.send("x")
        assert (view.state, view.question) == (Moment.INPUT_REQUIRED, str(question))


HALF, PAIR = "a\ud83d", "a\ud83d\ude00"


async def test_text_that_is_no_unicode_travels_as_unicode_wherever_a_skill_says_it(scene: Scene) -> None:
    async def work(task: TaskContext) -> Outcome:
        await task.progress(HALF)
        await task.send_chunk(Chunk(HALF, artifact=f"n{HALF}"))
        reply = await task.ask(HALF)
        data = Part(data={HALF: [PAIR, {"k": HALF}]})
        return Outcome("completed", f"{PAIR} {reply}", (Part(text=HALF), data))

    async with working(scene, scene.worker(work)):
        asked = await scene.send("x")
        assert asked.question == "a\ufffd"
        await scene.alice.api.call(ReplyRequest(task_id=asked.task_id, message="yes"))
        view = await scene.look(asked)
    assert view.state is Moment.COMPLETED
    assert "\ud83d" not in repr(view)
    assert view.text == "a\ufffd\na😀 yes\na\ufffd"
    parts = [part for artifact in view.artifacts for part in artifact.parts]
    assert {"a\ufffd": ["a😀", {"k": "a\ufffd"}]} in [part.data for part in parts]


def _nested(depth: int) -> JsonValue:
    value: JsonValue = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "part",
    [Part(data=_nested(150)), Part.model_construct({"data"}, data=object())],
    ids=["deep", "no JSON"],
)
async def test_a_result_that_cannot_be_stored_fails_its_task_and_no_other(scene: Scene, part: Part) -> None:
    async def work(task: TaskContext) -> Outcome:
        if task.text == "stream":
            await task.send_chunk(Chunk(part))
        return Outcome("completed", task.text, (part,) if task.text == "return" else ())

    async with working(scene, scene.worker(work)):
        for text in ("return", "stream"):
            view = await scene.send(text)
            assert view.state is Moment.FAILED
        assert (await scene.send("fine")).text == "fine"
