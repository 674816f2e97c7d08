"""A function as a skill: how it is called, and what its result becomes."""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import anyio
import pytest
from pydantic import BaseModel

from mcp_a2a.agent.function import FunctionSkill, SkillNotes
from mcp_a2a.agent.result import File, outcome_of
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.node.worker.job import Chunk, Outcome
from mcp_a2a.node.worker.process_tree import HOP
from mcp_a2a.node.worker.task_context import TaskContext
from mcp_a2a.protocol.model import Artifact, Message, Part, Role
from tests.agent.jobs import Recorder, task_of


class Found(BaseModel):
    """A result."""

    words: list[str]


@dataclass
class Pair:
    """Another."""

    left: int
    right: int


def skill_of(function: object, **notes: object) -> FunctionSkill:
    return FunctionSkill(function, SkillNotes(**notes))  # type: ignore[arg-type]


async def run(function: object, text: str = "", **more: object) -> Outcome:
    return await skill_of(function)(task_of(text, **more))  # type: ignore[arg-type]


def test_a_skill_is_described_by_its_function() -> None:
    def count_words(text: str) -> int:
        """Count the words.

        All of them.
        """
        return len(text.split())

    card = skill_of(count_words, tags=("text",)).card
    assert (card.id, card.name, card.tags) == ("count-words", "Count words", ("text",))
    assert card.description == "Count the words.\n\nAll of them."


def test_what_a_skill_reads_is_named_once_each() -> None:
    card = skill_of(lambda text: text, id="echo", input_modes=("application/json", "image/png", "image/png")).card
    assert card.input_modes == ("text/plain", "application/json", "image/png")


def test_notes_outweigh_the_function() -> None:
    def f(text: str) -> str:
        return text

    card = skill_of(f, id="Echo_1", name="Echo", description="Says it again", examples=("hi",)).card
    assert (card.id, card.name, card.description, card.examples) == ("Echo_1", "Echo", "Says it again", ("hi",))


def test_a_function_without_a_usable_name_needs_an_id() -> None:
    with pytest.raises(ConfigurationError, match="no id"):
        skill_of(lambda text: text)
    assert skill_of(lambda text: text, id="it").id == "it"


async def test_an_asynchronous_function_runs_on_the_loop_an_ordinary_one_in_a_thread() -> None:
    async def here(text: str) -> bool:
        return threading.current_thread() is threading.main_thread()

    def there(text: str) -> bool:
        return threading.current_thread() is threading.main_thread()

    assert (await run(here)).text == "true"
    assert (await run(there)).text == "false"


async def test_what_a_function_starts_is_told_the_highest_hop_of_what_runs_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(HOP, raising=False)
    both, seen = anyio.Event(), dict[str, str]()
    told = [sys.executable, "-c", f"import os; print(os.environ.get('{HOP}'))"]

    async def sends(text: str) -> None:
        if text == "second":
            both.set()
        await both.wait()
        seen[text] = (await anyio.run_process(told)).stdout.decode().strip()

    skill = skill_of(sends)
    async with anyio.create_task_group() as group:
        group.start_soon(skill, task_of("first", hop=2))
        group.start_soon(skill, task_of("second", hop=3))
    assert "3" in seen.values()
    assert set(seen.values()) <= {"2", "3"}
    assert HOP not in os.environ

    def fails(text: str) -> None:
        assert os.environ[HOP] == "4"
        raise ValueError(text)

    monkeypatch.setenv(HOP, "1")
    with pytest.raises(ValueError, match="no"):
        await skill_of(fails)(task_of("no", hop=4))
    assert os.environ[HOP] == "1"


async def test_an_ordinary_function_that_returns_an_awaitable_is_awaited() -> None:
    async def inner(text: str) -> str:
        return text.upper()

    def outer(text: str) -> object:
        return inner(text)

    assert (await run(outer, "a")).text == "A"


async def test_wrong_arguments_fail_the_task_without_calling_the_function() -> None:
    def add(a: int, b: int) -> int:
        raise AssertionError

    outcome = await run(add, "three and four")
    assert outcome.status == "failed"
    assert outcome.text is not None
    assert outcome.text.startswith("add takes {a: integer, b: integer}")


async def test_what_a_function_raises_is_left_to_the_worker() -> None:
    def fail(text: str) -> str:
        raise LookupError(text)

    with pytest.raises(LookupError, match="nothing"):
        await run(fail, "nothing")


async def test_text_yielded_on_the_way_is_progress_and_the_last_yield_the_result() -> None:
    async def steps(text: str) -> AsyncIterator[object]:
        yield "looking"
        await anyio.sleep(0.3)
        yield "found one"
        yield {"found": text}

    recorder = Recorder()
    outcome = await skill_of(steps)(task_of("x", recorder=recorder))
    assert outcome.parts[0].data == {"found": "x"}
    assert recorder.told == ["looking", "found one"]


async def test_a_return_outweighs_the_last_yield_of_an_ordinary_generator() -> None:
    def steps(text: str) -> Iterator[str]:
        yield "reading"
        return f"read {text}"  # type: ignore[return-value]

    recorder = Recorder()
    assert (await skill_of(steps)(task_of("x", recorder=recorder))).text == "read x"
    assert recorder.told == ["reading"]


async def test_everything_but_text_on_the_way_is_in_the_result_wherever_it_was_yielded() -> None:
    first, second = File(content=b"1", name="a"), File(content=b"2", name="b")
    done = Part(data={"done": 1}, media_type="application/json")

    async def steps(text: str) -> AsyncIterator[object]:
        yield "drawing"
        yield first
        yield {"done": 1}
        yield second
        yield Part(text="a part")
        yield f"two of {text}"

    def blocking(text: str) -> Iterator[object]:
        yield first
        yield "almost"
        return {"n": text}  # type: ignore[return-value]

    recorder = Recorder()
    outcome = await skill_of(steps)(task_of("x", recorder=recorder))
    assert outcome.text == "two of x"
    assert outcome.parts == (first.part, done, second.part, Part(text="a part"))
    assert recorder.told[0] == "drawing"
    outcome = await skill_of(blocking)(task_of("x"))
    assert outcome.parts == (first.part, Part(data={"n": "x"}, media_type="application/json"))

    async def only(text: str) -> AsyncIterator[object]:
        yield "text on the way"
        yield first

    outcome = await skill_of(only)(task_of("x"))
    assert (outcome.text, outcome.parts) == (None, (first.part,))


async def test_each_of_several_results_is_sent() -> None:
    first, second = File(content=b"1", name="a"), File(content=b"2", name="b")
    raw = Part(raw="Yg==", media_type="application/octet-stream")

    def yielding(*steps: object) -> Callable[[str], Iterator[object]]:
        def skill(text: str) -> Iterator[object]:
            yield from steps

        return skill

    async def outcome(*steps: object) -> tuple[str | None, tuple[Part, ...]]:
        made = await run(yielding(*steps))
        return made.text, made.parts

    both = (first.part, second.part)
    assert await outcome([first], [second]) == (None, both)
    assert await outcome(("words", first), "on the way", (second, "more")) == ("words\nmore", both)
    assert await outcome([[first], [second]]) == (None, both)
    assert await outcome(first, b"b", Artifact(artifact_id="1", parts=(second.part,))) == (
        None,
        (first.part, raw, second.part),
    )
    data = tuple(Part(data=one, media_type="application/json") for one in ({"a": 1}, [2]))
    assert await outcome({"a": 1}, [2]) == ('{\n  "a": 1\n}\n[\n  2\n]', data)
    assert outcome_of((first, [second, "x"])).parts == both
    assert outcome_of([Artifact(artifact_id="1", parts=both)]).parts == both
    assert outcome_of([b"b", b"b"]).parts == (raw, raw)


@pytest.mark.parametrize(
    "value",
    [{"report": File(content=b"x")}, {File(content=b"x")}, [{"a": [File("x")]}], [File("x"), {"a": File("y")}]],
    ids=["dict", "set", "dict in a list", "dict beside a file"],
)
def test_a_file_where_none_can_be_sent_is_an_error_for_the_skills_author(value: object) -> None:
    with pytest.raises(TypeError) as told:
        outcome_of(value)
    assert "return or yield Files alone or in a list" in str(told.value.__cause__)


def test_a_chunk_takes_no_file() -> None:
    file: object = File("x")
    for content in (file, ("text", file), b"bytes"):
        with pytest.raises(TypeError, match="by itself"):
            Chunk(cast("str", content))


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_decorator_around_an_asynchronous_generator_leaves_it_one(is_async: bool) -> None:  # noqa: FBT001
    async def steps(text: str) -> AsyncIterator[str]:
        yield "looking"
        yield f"found {text}"

    @functools.wraps(steps)
    def decorated(text: str) -> AsyncIterator[str]:
        return steps(text)

    @functools.wraps(steps)
    async def decorated_async(text: str) -> AsyncIterator[str]:
        return steps(text)

    recorder = Recorder()
    outcome = await skill_of(decorated_async if is_async else decorated)(task_of("x", recorder=recorder))
    assert outcome == Outcome("completed", "found x")
    assert recorder.told[0] == "looking"


async def test_a_generator_that_yields_nothing_has_an_empty_result() -> None:
    async def none(text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word

    assert await run(none) == Outcome("completed", "")


async def test_an_ordinary_function_reports_and_asks_from_its_thread() -> None:
    def work(text: str, task: TaskContext) -> str:
        task.progress_sync("half")
        return task.task_id

    recorder = Recorder()
    assert (await skill_of(work)(task_of("x", recorder=recorder))).text == "task-1"
    assert recorder.told == ["half"]


async def test_a_cancelled_skill_in_a_thread_is_left_to_itself() -> None:
    gate = threading.Event()

    def stuck(text: str) -> str:
        gate.wait(5)
        return text

    with anyio.fail_after(30), anyio.move_on_after(0.05) as scope:
        await run(stuck, "x")
    assert scope.cancelled_caught
    gate.set()


async def test_a_cancelled_asynchronous_generator_is_closed() -> None:
    closed = False

    async def steps(text: str) -> AsyncIterator[str]:
        nonlocal closed
        try:
            yield "begun"
            await anyio.sleep_forever()
        finally:
            closed = True

    with anyio.move_on_after(0.05):
        await run(steps, "x")
    assert closed


@pytest.mark.parametrize(
    ("value", "text", "data"),
    [
        (3, "3", 3),
        (2.5, "2.5", 2.5),
        (True, "true", True),
        ([1, "a"], '[\n  1,\n  "a"\n]', [1, "a"]),
        ({"ü": None}, '{\n  "ü": null\n}', {"ü": None}),
        (Found(words=["a"]), '{\n  "words": [\n    "a"\n  ]\n}', {"words": ["a"]}),
        (Pair(1, 2), '{\n  "left": 1,\n  "right": 2\n}', {"left": 1, "right": 2}),
        ([], "[]", []),
    ],
)
def test_values_become_data_with_a_readable_text(value: object, text: str, data: object) -> None:
    outcome = outcome_of(value)
    assert (outcome.status, outcome.text, outcome.parts[0].data) == ("completed", text, data)


def test_text_is_text_and_nothing_is_an_empty_text() -> None:
    assert outcome_of("hello") == Outcome("completed", "hello")
    assert outcome_of(None) == Outcome("completed", "")


def test_parts_artifacts_bytes_and_outcomes_travel_as_they_are() -> None:
    part = Part(text="a")
    assert outcome_of(part).parts == (part,)
    assert outcome_of([part, part]).parts == (part, part)
    assert outcome_of(Artifact(artifact_id="1", parts=(part,))).parts == (part,)
    assert outcome_of(b"\x00\xff").parts[0].raw == "AP8="
    assert outcome_of(Outcome("rejected", "no")) == Outcome("rejected", "no")


def circle() -> list[object]:
    made: list[object] = [1]
    made.append(made)
    return made


def nested(depth: int) -> object:
    made: object = 1
    for _ in range(depth):
        made = [made]
    return made


@pytest.mark.parametrize(
    "value",
    [object(), float("nan"), lambda: None, circle(), {"x": circle()}, [File(content=b"x"), circle()], nested(100_000)],
    ids=["object", "nan", "function", "circle", "circle within", "circle beside a file", "depth"],
)
def test_what_cannot_travel_is_an_error_for_the_skills_author(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be sent") as told:
        outcome_of(value)
    assert "cannot travel" in str(told.value.__cause__)
    assert not re.search("pydantic|dict|class|type", str(told.value)), "its sender reads no word of Python"


def test_a_value_that_is_nested_as_deep_as_python_goes_travels_or_is_told() -> None:
    for depth in range(50, 1200, 50):
        with suppress(TypeError):
            outcome_of(nested(depth))


@pytest.mark.parametrize(
    ("path", "why"),
    [(os.fsdecode(b"/tmp/caf\xe9.txt"), r"not Unicode: '/tmp/caf\\udce9.txt'"), ("/x" * 3000, "path is too long")],
)
def test_a_file_that_cannot_be_told_of_is_an_error_for_the_skills_author(path: str, why: str) -> None:
    for value in (File(path), ["words", File(path)]):
        with pytest.raises(TypeError, match=why) as told:
            outcome_of(value)
        assert "pydantic" not in str(told.value)


def test_a_file_of_other_types_than_it_takes_is_an_error_where_it_is_made() -> None:
    of_text: object = "x"
    of_bytes: object = b"x"
    wrong: tuple[Callable[[], File], ...] = (
        lambda: File(content=cast("bytes", of_text)),
        lambda: File(cast("str", of_bytes)),
        lambda: File("x", name=cast("str", of_bytes)),
        lambda: File(content=b"x", media_type=cast("str", of_bytes)),
    )
    for made in wrong:
        with pytest.raises(TypeError, match="of a File"):
            made()
    with pytest.raises(TypeError, match="The content of a File must be bytes, not text"):
        wrong[0]()


def test_half_characters_in_the_name_of_a_file_are_replaced() -> None:
    assert outcome_of(File(content=b"x", name="caf\udce9.txt")).parts[0].filename == "caf\ufffd.txt"
    assert outcome_of(File("x", name="caf\udce9.txt")).files[0].name == "caf\ufffd.txt"


async def test_what_is_streamed_is_the_result_where_nothing_else_is_returned() -> None:
    recorder = Recorder()

    async def write() -> AsyncIterator[object]:
        yield "thinking"
        yield Chunk("one ")
        yield Chunk("two", last=True)

    task = task_of(recorder=recorder)
    assert await skill_of(write)(task) == Outcome("completed")
    await task._job.flush()
    chunks = [chunk for answer in recorder.answers for chunk in answer.chunks]
    told = [(chunk.artifact.parts[0].text, chunk.append, chunk.last_chunk) for chunk in chunks]
    assert told == [("one ", False, False), ("two", True, True)]


async def test_a_message_is_an_answer_without_a_task() -> None:
    async def hello() -> Message:
        return Message(message_id="m", role=Role.AGENT, parts=(Part(text="hi"),))

    assert await run(hello) == Outcome("completed", None, (Part(text="hi"),), direct=True)
