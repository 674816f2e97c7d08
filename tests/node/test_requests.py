"""A task remembers what was asked, beside what came of it: at both ends, while it runs, and after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.a2a import A2ASendRequest
from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import ForgetRequest, GetTaskRequest, ListTasksRequest, ReplyRequest, SendTaskRequest, TaskView
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.node.tasks.summary import LINE_CHARS
from mcp_a2a.node.worker.job import Outcome
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.protocol.moment import Moment
from tests.files.scenes import some_file, until
from tests.files.scenes import task as task_with
from tests.node.test_worker import Scene, working
from tests.node.world import Person, World, acquainted

Pair = tuple[World, Person, Person]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Alice, who asks, and bob, who works for her."""
    world = World(tmp_path / "world")
    world.folder.mkdir()
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        yield world, alice, bob


async def ask(person: Person, text: str, **more: object) -> TaskView:
    request = SendTaskRequest.model_validate({"agent": "bob", "message": text, "wait_seconds": 0, **more})
    return await person.api.call(request)


async def taken(person: Person) -> str:
    (item,) = (await person.api.call(CheckInboxRequest(wait_seconds=30))).items
    return item.task_id


async def answer(person: Person, task_id: str, status: str, text: str) -> None:
    await person.api.call(AnswerRequest.model_validate({"task_id": task_id, "status": status, "text": text}))


async def seen(person: Person, task_id: str, wait: float = 20) -> TaskView:
    """The task, which a list shows in the same words as a question about it does."""
    view = await person.api.call(GetTaskRequest(task_id=task_id, wait_seconds=wait))
    (listed,) = [task for task in (await person.api.call(ListTasksRequest())).tasks if task.task_id == task_id]
    for name in ("request", "answer", "reply", "state", "asked_here"):
        assert getattr(view, name) == getattr(listed, name)
    return view


async def test_request_and_answer_stand_side_by_side_at_both_ends(pair: Pair) -> None:
    world, alice, bob = pair
    sent = await ask(alice, "\n\nstars are fun\nand more of it")
    assert (sent.request, sent.answer, sent.asked_here) == ("stars are fun", None, True)
    task_id = await taken(bob)
    there = await seen(bob, task_id, 0)
    assert (there.request, there.answer, there.asked_here) == ("stars are fun", None, False)
    await answer(bob, task_id, "completed", "nuf era srats\nand so on")
    for person in (alice, bob):
        view = await seen(person, task_id)
        assert (view.request, view.answer, view.state) == ("stars are fun", "nuf era srats", "completed")
    await until(lambda: bob.node.outbox.waiting(alice.node.context.me) == 0)
    del world


async def test_it_is_remembered_over_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        sent = await ask(alice, "what was it?")
        await taken(bob)
    async with world.person("alice") as alice:
        view = await seen(alice, sent.task_id, 0)
        assert (view.request, view.answer, view.done) == ("what was it?", None, False)


async def test_a_question_and_its_reply_are_shown_beside_the_request(pair: Pair) -> None:
    _, alice, bob = pair
    task_id = (await ask(alice, "paint it")).task_id
    await taken(bob)
    await answer(bob, task_id, "input_required", "Which color?")
    asked = await seen(alice, task_id)
    assert (asked.request, asked.answer, asked.reply) == ("paint it", "Which color?", None)
    await alice.api.call(ReplyRequest(task_id=task_id, message="blue", wait_seconds=0))
    await taken(bob)
    for person in (alice, bob):
        view = await seen(person, task_id, 0)
        assert (view.request, view.reply) == ("paint it", "blue")
    await answer(bob, task_id, "completed", "It is blue now.")
    assert (await seen(alice, task_id)).answer == "It is blue now."


async def test_a_follow_up_has_a_request_of_its_own(pair: Pair) -> None:
    _, alice, bob = pair
    first = (await ask(alice, "one")).task_id
    await answer(bob, await taken(bob), "completed", "1")
    await seen(alice, first)
    more = await alice.api.call(ReplyRequest(task_id=first, message="and two?", wait_seconds=0))
    assert more.task_id != first
    assert (more.request, more.context_id) == ("and two?", (await seen(alice, first)).context_id)


async def test_a_conversation_is_named_by_a_task_of_it(pair: Pair) -> None:
    _, alice, _ = pair
    first = await ask(alice, "one")
    for named in (first.task_id, first.task_id[:16], first.context_id):
        assert (await ask(alice, "two", context_id=named)).context_id == first.context_id
    assert (await ask(alice, "three", context_id="of-my-own")).context_id == "of-my-own"
    with pytest.raises(TaskNotFoundError):
        await ask(alice, "four", context_id="task-of-another-world")


async def test_a_request_of_nothing_but_files_is_their_names(pair: Pair, tmp_path: Path) -> None:
    _, alice, bob = pair
    sent = await alice.api.call(task_with(some_file(tmp_path, 300_000, "report.pdf"), text="", wait=0))
    assert sent.request == "report.pdf"
    await until(
        lambda: bob.node.context.database.read(lambda c: c.execute("SELECT 1 FROM tasks").fetchone() is not None)
    )
    assert (await seen(bob, sent.task_id, 0)).request == "report.pdf"


async def test_a_request_of_nothing_but_data_is_the_data(pair: Pair) -> None:
    _, alice, _ = pair
    sent = await ask(alice, "", parts=(Part(data={"n": 3}),))
    assert sent.request == '{"n": 3}'


async def test_a_long_or_odd_request_is_one_clean_line(pair: Pair) -> None:
    _, alice, _ = pair
    sent = await ask(alice, "\u200b\n\x1b[31mred\x07 " + "x" * 9_000 + "\nsecond")
    assert sent.request.startswith("red x")
    assert len(sent.request) == LINE_CHARS
    assert sent.request.isprintable()


async def test_a_brace_above_json_is_no_request_by_itself(pair: Pair) -> None:
    _, alice, _ = pair
    assert (await ask(alice, '{\n  "n": 3\n}')).request == '{ "n": 3 }'
    assert (await ask(alice, "---\n")).request == "---"


async def test_what_a_client_of_our_a2a_server_asks_is_not_ours(pair: Pair) -> None:
    _, alice, _ = pair
    said = Message(message_id="m-1", role=Role.USER, parts=(Part(text="from a client"),))
    for agent, caller in (("bob", "laptop"), ("self", "laptop"), ("self", "")):
        request = A2ASendRequest(agent=agent, caller=caller, message=said, wait_seconds=0)
        made = await alice.api.call(request)
        view = await alice.api.call(GetTaskRequest(task_id=made.task.id))
        assert (view.request, view.asked_here) == ("from a client", False)


async def test_work_that_is_passed_on_is_not_said_to_be_ours(pair: Pair) -> None:
    _, alice, _ = pair
    assert (await ask(alice, "from another", hop=1)).asked_here is False


async def test_what_is_forgotten_is_not_remembered_here(pair: Pair) -> None:
    _, alice, bob = pair
    task_id = (await ask(alice, "a secret request")).task_id
    await answer(bob, await taken(bob), "completed", "a secret answer")
    await seen(alice, task_id)
    await alice.api.call(ForgetRequest(task_ids=(task_id,)))
    listed = (await alice.api.call(ListTasksRequest())).tasks
    assert "secret" not in "".join(task.model_dump_json() for task in listed)


async def filtered(person: Person) -> dict[str, str]:
    """The word for each task, which is also what finds it."""
    everything = (await person.api.call(ListTasksRequest())).tasks
    for moment in Moment:
        listed = (await person.api.call(ListTasksRequest(state=moment))).tasks
        assert [task.task_id for task in listed] == [task.task_id for task in everything if task.state == moment]
        page = await person.api.call(ListTasksRequest(state=moment, limit=1))
        while page.next_cursor:
            assert [task.state for task in page.tasks] == [moment]
            page = await person.api.call(ListTasksRequest(state=moment, limit=1, cursor=page.next_cursor))
    return {task.task_id: task.state for task in everything}


async def test_a_filter_takes_each_word_that_a_view_prints(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.make_own("alice", "bob")
    async with world.person("alice") as alice:
        async with world.person("bob") as bob:
            await acquainted(alice, bob)
            first = (await ask(alice, "first")).task_id
            await taken(bob)
            second, third = (await ask(alice, "second")).task_id, (await ask(alice, "third")).task_id
            await until(lambda: not len(alice.node.outbox))
            assert await filtered(bob) == {first: "working", second: "submitted", third: "submitted"}
            await answer(bob, second, "working", "on it")
            await alice.api.call(GetTaskRequest(task_id=second, wait_seconds=0.1))
            await until(lambda: not len(bob.node.outbox))
            assert await filtered(bob) == {first: "working", second: "working", third: "submitted"}
            assert await filtered(alice) == {first: "submitted", second: "working", third: "submitted"}
        fourth = (await ask(alice, "fourth")).task_id
        assert (await filtered(alice))[fourth] == "queued"


async def test_what_its_agent_calls_working_is_working_for_its_sender_too(pair: Pair) -> None:
    world, alice, bob = pair
    scene = Scene(world, alice, bob)
    done = anyio.Event()

    async def slow(task: TaskContext) -> Outcome:
        await done.wait()
        return Outcome("completed", "at last")

    async with working(scene, scene.worker(slow)):
        sent = await scene.send("work", wait=0)
        await scene.until("working")
        await scene.until_recorded(alice, sent, lambda record: record.state.name == "WORKING")
        assert (await seen(alice, sent.task_id, 0)).state == (await seen(bob, sent.task_id, 0)).state == "working"
        done.set()
        assert (await scene.look(sent)).text == "at last"
