"""What A2A clients get of a node: their own tasks, in the nouns of A2A, and all that happens to them in order."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from mcp_a2a.agent.function import FunctionSkill, SkillNotes
from mcp_a2a.api.a2a import (
    A2AAnswer,
    A2ACancelRequest,
    A2AFollowRequest,
    A2AFollowView,
    A2AGetRequest,
    A2AListRequest,
    A2ASendRequest,
)
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest
from mcp_a2a.errors.delivery import QueueFullError
from mcp_a2a.errors.tasks import (
    ContextMismatchError,
    ConversationFullError,
    KeyReusedError,
    NotAwaitingReplyError,
    TaskNotFoundError,
    TransitionError,
)
from mcp_a2a.node.tasks import receive
from mcp_a2a.node.tasks.document import document
from mcp_a2a.node.worker.job import Chunk, Outcome, Reject
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.node.worker.worker import Worker
from mcp_a2a.protocol.model import (
    Artifact,
    ArtifactChunk,
    Message,
    Part,
    Role,
    StreamResponse,
    TaskDocument,
    TaskState,
    TaskStatus,
)
from mcp_a2a.protocol.state import INTERRUPTED, is_terminal
from mcp_a2a.protocol.task import effects
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store import task_events
from mcp_a2a.store.records import find_task, save
from tests.node.world import Person, World, acquainted

Handler = Callable[[TaskContext], Awaitable[Outcome]]


COUNT = 100
"""So many chunks are a long stream."""


async def behave(task: TaskContext) -> object:
    """Does what the text says."""
    match task.text:
        case "ask":
            return f"you said {await task.ask('which?')}"
        case "authorize":
            return f"you said {await task.ask_authorization('may I?')}"
        case "direct":
            return Message(message_id="reply", role=Role.AGENT, parts=(Part(text="no task here"),))
        case "reject":
            raise Reject("not this")
        case "wait":
            await anyio.sleep_forever()
        case "count":
            for number in range(COUNT):
                await task.stream(str(number))
                await anyio.sleep(0.002)
            return None
        case "stream":
            await task.progress("beginning")
            await task.stream("one ")
            await task.stream("two ")
            await task.send_chunk(Chunk("three", last=True))
            return None
        case "long":
            await task.stream("x" * 4_000)
    return task.text.upper()


@asynccontextmanager
async def working(person: Person, function: Callable[[TaskContext], Awaitable[object]] = behave) -> AsyncIterator[None]:
    """The person's inbox is worked on."""
    stopping = anyio.Event()
    skill = FunctionSkill(function, SkillNotes())
    worker = Worker(person.api, skill, holder="1-test", concurrency=4)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, stopping)
        yield
        stopping.set()


@asynccontextmanager
async def both(tmp_path: Path) -> AsyncIterator[tuple[Person, Person]]:
    """Alice, who fronts Bob; both work."""
    world = World(tmp_path)
    world.make_own("alice", "bob")
    async with world.person("alice", "any") as alice, world.person("bob", "any") as bob:
        await acquainted(alice, bob)
        async with working(alice), working(bob):
            yield alice, bob


@pytest.fixture(params=["self", "bob"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Person, str]]:
    """Alice's node, and which agent of it is meant: her own, or Bob behind her. Both must look the same."""
    async with both(tmp_path) as (alice, bob):
        yield alice, bob.did if request.param == "bob" else "self"


def say(text: str, **more: str) -> Message:
    return Message.model_validate(
        {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}], **more}, by_alias=True, by_name=True
    )


async def send(desk: tuple[Person, str], text: str, *, caller: str = "", wait: float = 10, **more: str) -> A2AAnswer:
    person, agent = desk
    return await person.api.call(
        A2ASendRequest(agent=agent, caller=caller, message=say(text, **more), wait_seconds=wait)
    )


async def listen(desk: tuple[Person, str], task_id: str, cursor: str | None) -> list[A2AFollowView]:
    """All that is told of a task, until it rests."""
    person, agent = desk
    views = []
    with anyio.fail_after(30):
        while True:
            view = await person.api.call(A2AFollowRequest(agent=agent, task_id=task_id, cursor=cursor, wait_seconds=30))
            views.append(view)
            cursor = view.cursor
            if view.over:
                return views


def events_of(views: list[A2AFollowView]) -> list[StreamResponse]:
    return [event for view in views for event in view.events]


async def test_a_message_is_answered_by_its_task_with_the_result(desk: tuple[Person, str]) -> None:
    task = (await send(desk, "hello")).task
    assert task.status.state == TaskState.COMPLETED
    assert task.artifacts[0].parts == (Part(text="HELLO"),)
    assert task.history[0].message_id == "m-1"
    assert {task.history[0].task_id, task.history[0].context_id} == {task.id, task.context_id}


async def test_two_messages_with_one_id_are_two_tasks_and_one_key_is_one(desk: tuple[Person, str]) -> None:
    first, second = await send(desk, "a"), await send(desk, "a")
    assert first.task.id != second.task.id
    person, agent = desk
    keyed = A2ASendRequest(agent=agent, message=say("b"), wait_seconds=30, idempotency_key="k")
    assert (await person.api.call(keyed)).task == (await person.api.call(keyed)).task
    other = keyed.model_copy(update={"message": say("c")})
    with pytest.raises(KeyReusedError):
        await person.api.call(other)
    await person.api.call(other.model_copy(update={"caller": "somebody"}))  # whose keys are their own


async def test_of_two_messages_under_one_key_at_once_one_is_refused(desk: tuple[Person, str]) -> None:
    person, agent = desk
    answers: list[str] = []

    async def ask(text: str) -> None:
        request = A2ASendRequest(agent=agent, message=say(text), wait_seconds=30, idempotency_key="once")
        try:
            answers.append(f"{text} {(await person.api.call(request)).task.artifacts[0].parts[0].text}")
        except KeyReusedError:
            answers.append("refused")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "a")
        tasks.start_soon(ask, "b")
    assert sorted(answers) in (["a A", "refused"], ["b B", "refused"])


async def test_a_client_gets_a_message_where_the_agent_means_no_task(desk: tuple[Person, str]) -> None:
    answer = await send(desk, "direct")
    assert answer.reply is not None
    assert answer.reply.text == "no task here"
    person, agent = desk
    assert (await person.api.call(A2AListRequest(agent=agent))).tasks == ()


@pytest.mark.parametrize(("text", "state"), [("ask", "INPUT_REQUIRED"), ("authorize", "AUTH_REQUIRED")])
async def test_a_task_goes_on_when_its_question_is_answered(desk: tuple[Person, str], text: str, state: str) -> None:
    asked = (await send(desk, text)).task
    assert asked.status.state == TaskState[state]
    done = (await send(desk, "blue", taskId=asked.id)).task
    assert (done.id, done.status.state) == (asked.id, TaskState.COMPLETED)
    assert done.artifacts[0].parts == (Part(text="you said blue"),)
    assert [message.role for message in done.history] == [Role.USER, Role.AGENT, Role.USER]


async def test_what_is_streamed_is_told_in_order_and_kept_as_one_text(desk: tuple[Person, str]) -> None:
    person, agent = desk
    sent = await person.api.call(A2ASendRequest(agent=agent, message=say("stream"), follow=True))
    views = await listen(desk, sent.task.id, sent.cursor)
    updates = [event.artifact_update for event in events_of(views) if event.artifact_update]
    assert [(update.artifact.parts[0].text, update.append, update.last_chunk) for update in updates] == [
        ("one ", False, False),
        ("two ", True, False),
        ("three", True, True),
    ]
    states = [event.status_update.status.state for event in events_of(views) if event.status_update]
    assert states == [TaskState.WORKING, TaskState.COMPLETED]  # that it works is told once, not with every chunk
    done = (await person.api.call(A2AGetRequest(agent=agent, task_id=sent.task.id))).task
    assert done.artifacts[0].parts == (Part(text="one two three"),)


async def test_everybody_who_follows_reads_the_same(desk: tuple[Person, str]) -> None:
    person, agent = desk
    sent = await person.api.call(A2ASendRequest(agent=agent, message=say("stream"), follow=True))
    heard: list[list[StreamResponse]] = []

    async def reader() -> None:
        heard.append(events_of(await listen(desk, sent.task.id, sent.cursor)))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(reader)
    assert heard[0]
    assert heard[0] == heard[1] == heard[2]


async def test_who_begins_to_follow_gets_the_task_first(desk: tuple[Person, str]) -> None:
    waiting = (await send(desk, "wait", wait=0)).task
    person, agent = desk
    view = await person.api.call(A2AFollowRequest(agent=agent, task_id=waiting.id))
    assert view.task is not None
    assert view.task.id == waiting.id
    assert not view.over
    lost = await person.api.call(A2AFollowRequest(agent=agent, task_id=waiting.id, cursor="elsewhere.7"))
    assert lost.task is not None


async def test_what_somebody_waits_for_is_told_however_long_it_was_silent(
    desk: tuple[Person, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_events, "REST_SECONDS", 0.0)
    person, agent = desk
    waiting = await send(desk, "wait", wait=0)
    begun = await person.api.call(A2AFollowRequest(agent=agent, task_id=waiting.task.id))
    views: list[A2AFollowView] = []
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:

            async def follow() -> None:
                views.extend(await listen(desk, waiting.task.id, begun.cursor))

            tasks.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            other = await send(desk, "hello")
            await person.api.call(A2AFollowRequest(agent=agent, task_id=other.task.id))
            await tidy(person)
            await person.api.call(A2ACancelRequest(agent=agent, task_id=waiting.task.id))
    assert [view.task for view in views] == [None] * len(views)  # nobody had to begin anew


async def test_who_asks_again_with_the_same_key_is_told_how_the_task_ended(desk: tuple[Person, str]) -> None:
    person, agent = desk
    asked = A2ASendRequest(agent=agent, message=say("hello"), idempotency_key="k", wait_seconds=30)
    task = (await person.api.call(asked)).task
    again = await person.api.call(asked.model_copy(update={"follow": True, "wait_seconds": 0}))
    assert again.task == task
    assert [view.over for view in await listen(desk, task.id, again.cursor)] == [True]
    view = await person.api.call(A2AFollowRequest(agent=agent, task_id=task.id))
    assert (view.task, view.over) == (task, True)


async def test_who_says_something_while_it_is_streamed_misses_nothing_and_gets_nothing_twice(
    desk: tuple[Person, str],
) -> None:
    person, agent = desk
    task = (await send(desk, "count", wait=0)).task
    heard: list[str] = []

    async def say_more(number: int) -> None:
        more = A2ASendRequest(agent=agent, message=say(f"more {number}", taskId=task.id), follow=True)
        await anyio.sleep(number * 0.01)
        answer = await person.api.call(more)
        views = await listen(desk, task.id, answer.cursor)
        heard.append(rebuilt(answer.task, events_of(views)))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(say_more, number)
    assert heard == ["".join(map(str, range(COUNT)))] * 20


def rebuilt(task: TaskDocument, events: list[StreamResponse]) -> str:
    """The text that a client puts together from what it was told."""
    text = "".join(part.text or "" for artifact in task.artifacts for part in artifact.parts)
    for update in (event.artifact_update for event in events if event.artifact_update):
        chunk = "".join(part.text or "" for part in update.artifact.parts)
        text = text + chunk if update.append else chunk
    return text


async def record(person: Person, task_id: str, *events: Event) -> Task:
    """These events happen to a task, with nobody told of them yet."""
    now = person.node.context.clock()

    def change(connection: sqlite3.Connection) -> Task:
        task = find_task(connection, task_id)
        assert task is not None
        change = Change.of(task, *events, now=now)
        save(connection, change)
        return change.task

    return await person.node.context.database.write(change)


async def test_news_that_comes_late_or_twice_is_told_once(desk: tuple[Person, str]) -> None:
    person, _ = desk
    node = person.node
    task_id = (await send(desk, "wait", wait=0)).task.id
    chunks = [ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(Part(text=text),)), append=True) for text in "ab"]
    first = await record(person, task_id, e.ArtifactsGrown(tuple(chunks[:1]), 1))
    begun = node.events.begin(first)
    node.context.task_changes.notify(first.id, first)  # what the reader began with was on its way to it
    assert (await node.events.read(task_id, begun.cursor, 0)).events == ()
    second = await record(person, task_id, e.ArtifactsGrown(tuple(chunks[1:]), 2))
    for _ in range(2):
        node.context.task_changes.notify(second.id, second)
    reading = await node.events.read(task_id, begun.cursor, 0)
    assert len(reading.events) == 1
    assert (await node.events.read(task_id, reading.cursor, 0)).events == ()


async def test_news_that_overtook_other_news_is_told_behind_it(desk: tuple[Person, str]) -> None:
    person, _ = desk
    node = person.node
    before = node.sending.latest((await send(desk, "wait", wait=0)).task.id)
    chunks = [ArtifactChunk(artifact=Artifact(artifact_id="a", parts=(Part(text=text),)), append=True) for text in "ab"]
    begun = node.events.begin(before)
    earlier = await record(person, before.id, e.ArtifactsGrown(tuple(chunks[:1]), 1))
    later = await record(person, before.id, e.ArtifactsGrown(tuple(chunks[1:]), 2))
    node.context.task_changes.notify(later.id, later)
    node.context.task_changes.notify(later.id, earlier)
    events = (await node.events.read(later.id, begun.cursor, 0)).events
    assert rebuilt(document(before), list(events)) == "ab"
    assert len(events) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"parts": (Part(text="x" * 4_000),)},
        {"parts": (Part(text="x", metadata={"x": "y" * 4_000}),)},
        {"parts": (Part(text="x"),), "metadata": {"x": "y" * 4_000}},
    ],
)
async def test_what_is_said_on_the_way_counts_towards_what_is_kept_of_a_task(
    desk: tuple[Person, str], monkeypatch: pytest.MonkeyPatch, more: dict[str, object]
) -> None:
    monkeypatch.setattr(task_events, "MAX_BODIES_OF_TASK", 10_000)
    monkeypatch.setattr(task_events, "LOOK_EVERY", 1)
    node = desk[0].node
    task = node.sending.latest((await send(desk, "wait", wait=0)).task.id)
    begun = node.events.begin(task)
    for number in range(5):
        said = Message.model_validate({"message_id": f"s-{number}", "role": Role.AGENT, **more}, by_name=True)
        status = TaskStatus(state=TaskState.WORKING, message=said)
        task = await record(desk[0], task.id, e.Progressed(status))
    reading = await node.events.read(task.id, begun.cursor, 0)
    assert reading.whole == task  # who is so far behind gets the task as it is
    assert reading.events == ()


async def tidy(person: Person) -> None:
    """What a node does by the minute."""
    now = person.node.context.clock()
    await person.node.context.database.write(lambda connection: task_events.trim(connection, now))


async def test_events_that_nobody_reads_go_when_there_is_too_much_of_them(
    desk: tuple[Person, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_events, "MAX_BODIES", 6_000)
    person, agent = desk
    cursors = {}
    for _ in range(5):
        sent = A2ASendRequest(agent=agent, message=say("long"), follow=True)
        answer = await person.api.call(sent)
        await listen(desk, answer.task.id, answer.cursor)
        cursors[answer.task.id] = answer.cursor
    await tidy(person)
    kept = []
    for task_id, cursor in reversed(cursors.items()):
        view = await person.api.call(A2AFollowRequest(agent=agent, task_id=task_id, cursor=cursor))
        assert view.over
        kept.append(view.task is None)
    assert kept == [True, False, False, False, False]  # who reads what was dropped gets the task


async def test_a_task_too_many_is_refused_before_anything_is_done_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "MAX_OPEN_PER_PEER", 2)
    done: list[str] = []

    async def note(task: TaskContext) -> object:
        done.append(task.text)
        return await behave(task)

    async with World(tmp_path).person("alice", "any") as alice, working(alice, note):
        for _ in range(2):
            await send((alice, "self"), "ask")
        with pytest.raises(QueueFullError):
            await send((alice, "self"), "pay")
    assert done == ["ask", "ask"]


async def test_no_more_is_said_in_a_task_than_is_kept_of_a_conversation(
    desk: tuple[Person, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "MAX_CONVERSATION", 10_000)
    task = (await send(desk, "wait", wait=0)).task
    for text in ("1", "2"):
        await send(desk, text * 4_000, wait=0, taskId=task.id, messageId=text)
    with pytest.raises(ConversationFullError):
        await send(desk, "3" * 4_000, wait=0, taskId=task.id)
    await send(desk, "1" * 4_000, wait=0, taskId=task.id, messageId="1")  # said before, and not said again
    assert len(desk[0].node.sending.latest(task.id).messages) == 3


async def test_a_canceled_task_is_canceled_once(desk: tuple[Person, str]) -> None:
    waiting = (await send(desk, "wait", wait=0)).task
    person, agent = desk
    request = A2ACancelRequest(agent=agent, task_id=waiting.id, wait_seconds=30)
    assert (await person.api.call(request)).task.status.state == TaskState.CANCELED
    with pytest.raises(TransitionError):
        await person.api.call(request)


async def test_a_rejected_task_says_why(desk: tuple[Person, str]) -> None:
    task = (await send(desk, "reject")).task
    assert task.status.state == TaskState.REJECTED
    assert task.status.message is not None
    assert "not this" in task.status.message.text


async def test_a_caller_reaches_only_its_own_tasks(desk: tuple[Person, str]) -> None:
    person, agent = desk
    theirs = (await send(desk, "ask", caller="ann")).task
    for caller in ("", "bea"):
        reach = {"agent": agent, "caller": caller, "task_id": theirs.id}
        with pytest.raises(TaskNotFoundError):
            await person.api.call(A2AGetRequest.model_validate(reach))
        with pytest.raises(TaskNotFoundError):
            await person.api.call(A2ACancelRequest.model_validate(reach))
        with pytest.raises(TaskNotFoundError):
            await person.api.call(A2AFollowRequest.model_validate(reach))
        with pytest.raises(TaskNotFoundError):
            await send(desk, "me too", caller=caller, taskId=theirs.id)
        assert (await person.api.call(A2AListRequest(agent=agent, caller=caller))).total_size == 0
    assert (await person.api.call(A2AListRequest(agent=agent, caller="ann"))).tasks[0].id == theirs.id


async def test_a_task_of_another_agent_is_not_found_here(desk: tuple[Person, str]) -> None:
    person, agent = desk
    task = (await send(desk, "hello")).task
    other = "self" if agent != "self" else person.did
    with pytest.raises(TaskNotFoundError):
        await person.api.call(A2AGetRequest(agent=other, task_id=task.id))


async def test_a_task_that_has_ended_takes_no_message_and_a_context_must_match(desk: tuple[Person, str]) -> None:
    done, asked = (await send(desk, "hello")).task, (await send(desk, "ask")).task
    with pytest.raises(NotAwaitingReplyError):
        await send(desk, "more", taskId=done.id)
    with pytest.raises(ContextMismatchError):
        await send(desk, "more", taskId=asked.id, contextId="another")
    with pytest.raises(TaskNotFoundError):
        await send(desk, "more", taskId="never-heard-of")


async def test_a_list_is_read_page_by_page_and_by_state_and_context(desk: tuple[Person, str]) -> None:
    person, agent = desk
    sent = [(await send(desk, f"t{number}", contextId="c" if number % 2 else "d")).task for number in range(5)]
    seen, token = [], ""
    while True:
        page = await person.api.call(A2AListRequest(agent=agent, page_size=2, page_token=token))
        assert page.total_size == 5
        seen += [task.id for task in page.tasks]
        if not (token := page.next_page_token):
            break
    assert seen == [task.id for task in reversed(sent)]
    in_context = await person.api.call(A2AListRequest(agent=agent, context_id="c"))
    assert {task.id for task in in_context.tasks} == {sent[1].id, sent[3].id}
    assert (await person.api.call(A2AListRequest(agent=agent, status=TaskState.WORKING))).total_size == 0


async def test_a_list_goes_by_the_status_and_not_by_what_is_streamed(tmp_path: Path) -> None:
    going_on = anyio.Event()

    async def function(task: TaskContext) -> object:
        if task.text == "quick":
            return "done"
        await task.progress("beginning")
        await going_on.wait()
        await task.stream("more")
        return await anyio.sleep_forever()

    world = World(tmp_path)
    async with world.person("alice", "any") as alice, working(alice, function):
        sent = await alice.api.call(A2ASendRequest(agent="self", message=say("slow"), follow=True))
        follow = A2AFollowRequest(agent="self", task_id=sent.task.id, cursor=sent.cursor, wait_seconds=30)
        begun = await alice.api.call(follow)
        assert [event.status_update is not None for event in begun.events] == [True]
        world.clock.advance(1)
        quick = (await send((alice, "self"), "quick")).task
        world.clock.advance(1)
        going_on.set()
        streamed = await alice.api.call(follow.model_copy(update={"cursor": begun.cursor}))
        assert [event.artifact_update is not None for event in streamed.events] == [True]
        listed = (await alice.api.call(A2AListRequest(agent="self"))).tasks
        assert [task.id for task in listed] == [quick.id, sent.task.id]


async def test_what_a2a_sent_and_what_mcp_sent_are_one_list(tmp_path: Path) -> None:
    async with both(tmp_path) as (alice, bob):
        task = (await send((alice, bob.did), "hello")).task
        assert (await alice.api.call(GetTaskRequest(task_id=task.id))).text == "HELLO"
        listed = (await alice.api.call(ListTasksRequest())).tasks
        assert [view.task_id for view in listed] == [task.id]


async def test_who_waits_looks_again_when_two_changes_came_at_once(tmp_path: Path) -> None:
    async with both(tmp_path) as (alice, bob):
        sent = await alice.api.call(A2ASendRequest(agent=bob.did, message=say("hello")))
        begun = alice.node.sending.latest(sent.task.id)
        await alice.api.call(A2AGetRequest(agent=bob.did, task_id=begun.id, wait_seconds=30))
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(alice.node.sending.waiting.wait, begun, "rest", 30))
                await anyio.wait_all_tasks_blocked()
                alice.node.context.task_changes.notify(begun.id, begun)


async def test_a_message_survives_a_restart_of_the_node_with_all_it_holds(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.person("alice", "any") as alice:
        answer = await send((alice, "self"), "later", wait=0)
    async with world.person("alice", "any") as alice, working(alice):
        request = A2AGetRequest(task_id=answer.task.id, wait_seconds=30)
        assert (await alice.api.call(request)).task.artifacts[0].parts[0].text == "LATER"


def test_a_stream_ends_where_a_task_rests() -> None:
    assert {state for state in TaskState if is_terminal(state)} & INTERRUPTED == set()
