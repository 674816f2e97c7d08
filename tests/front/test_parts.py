"""The parts of a front that do no I/O: what it keeps, and how it says it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from mcp_a2a.front.frames import Decoder, Frame, Greeting, Kind, frame_of
from mcp_a2a.front.journal import MAX_STATE, Journal, Line
from mcp_a2a.front.silence import (
    BUSY_SECONDS,
    LOOK_AGAIN_SECONDS,
    LOOK_SECONDS,
    SILENCE_SECONDS,
    OwnerAction,
    SilenceWatch,
)
from mcp_a2a.front.splitting import EDGE_BYTES, MAX_LINE_BYTES, Overlong, Splitter
from mcp_a2a.server import session_log
from mcp_a2a.server.protocol_eras import Questions
from mcp_a2a.server.session_log import SessionLog

# --- lines ----------------------------------------------------------------------------------------


@given(st.binary(max_size=400), st.lists(st.integers(1, 50)))
def test_lines_are_the_same_however_the_bytes_come(content: bytes, sizes: list[int]) -> None:
    splitter, lines, rest = Splitter(), list[object](), content
    for size in itertools.chain(sizes, itertools.repeat(100)):
        splitter.feed(rest[:size])
        while (line := splitter.next_line()) is not None:
            lines.append(line)
        if not rest:
            break
        rest = rest[size:]
    whole = content.split(b"\n")
    assert lines == (whole[:-1] if whole[-1] == b"" else whole)


def test_of_a_line_that_is_too_long_beginning_and_end_are_kept_and_nothing_more() -> None:
    splitter = Splitter()
    for piece in (b"a" * EDGE_BYTES, b"b" * MAX_LINE_BYTES, b"c" * EDGE_BYTES + b"\nnext\n"):
        splitter.feed(piece)
    assert splitter.next_line() == Overlong(b"a" * EDGE_BYTES, b"c" * EDGE_BYTES)
    assert splitter.next_line() == b"next"


# --- what is kept ---------------------------------------------------------------------------------


def kept(journal: Journal) -> list[int]:
    return [line.number for line in journal]


def add(journal: Journal, method: str, content: bytes = b"x") -> Line:
    return journal.add(content, method, 0.0, is_due=not method.startswith("notifications/"))


def test_a_line_is_kept_until_it_is_settled_and_what_makes_a_session_is_kept_for_good() -> None:
    journal = Journal()
    for method in ("initialize", "notifications/initialized", "tools/call", "notifications/cancelled"):
        add(journal, method)
    assert (journal.due, journal.size) == (2, 4)
    for number in (1, 2, 3, 4):
        journal.settle(number)
    assert kept(journal) == [1, 2]
    assert (journal.due, journal.size) == (0, 2)


def test_an_answer_is_taken_once() -> None:
    journal = Journal()
    number = add(journal, "tools/call").number
    assert journal.takes_answer(number)
    assert not journal.takes_answer(number)
    assert not journal.takes_answer(99)


def test_what_is_changed_again_and_again_is_not_kept_without_end() -> None:
    journal = Journal()
    journal.settle(add(journal, "initialize").number)
    for _ in range(100):
        journal.settle(add(journal, "logging/setLevel").number)
    assert len(journal) <= MAX_STATE + 2
    assert kept(journal)[-1] == 101, "the last one counts"


def test_lists_that_were_answered_again_and_again_are_told_once() -> None:
    journal = Journal()
    for _ in range(100):
        line = add(journal, "tools/list")
        line.answered = True
        journal.thin(line)
    assert kept(journal) == [100]


# --- frames ---------------------------------------------------------------------------------------

FRAMES = st.builds(
    Frame, st.sampled_from(Kind), st.integers(0, 2**64 - 1), st.floats(0, 1e9, width=32), st.binary(max_size=300)
)


@given(st.lists(FRAMES, max_size=5), st.integers(1, 40))
def test_frames_are_the_same_however_the_bytes_come(frames: list[Frame], size: int) -> None:
    content, decoder, found = b"".join(frame.encoded() for frame in frames), Decoder(), list[Frame]()
    for start in range(0, len(content), size):
        decoder.feed(content[start : start + size])
        found += decoder.frames()
    assert found == frames


@given(st.binary(min_size=21, max_size=200))
def test_bytes_that_are_no_frames_are_refused_or_waited_for(content: bytes) -> None:
    decoder = Decoder()
    decoder.feed(content)
    with contextlib.suppress(ValueError):
        list(decoder.frames())


@pytest.mark.parametrize("content", [b"whole", Overlong(b"head", b"tail")])
def test_a_line_passes_whole_with_its_number_and_age(content: bytes | Overlong) -> None:
    decoder = Decoder()
    decoder.feed(frame_of(Line(7, content, None, is_due=True, at=10.0), 12.5).encoded())
    (frame,) = decoder.frames()
    assert (frame.number, frame.age) == (7, 2.5)
    assert (frame.payload if frame.kind is Kind.LINE else frame.overlong) == content


def test_a_greeting_of_another_release_or_other_answers_is_of_another_program() -> None:
    assert Greeting("p", "00", "", 30).is_of_this_program
    assert not Greeting("p", "00", "", 30, release="0").is_of_this_program
    assert not Greeting("p", "00", "", 30, digest=1).is_of_this_program


# --- silence --------------------------------------------------------------------------------------


def verdicts(
    watch: SilenceWatch, seconds: float, *, runs: bool, answers: bool = False, halted_at: float = math.inf
) -> list[tuple[float, OwnerAction]]:
    """What is decided until then, and when; an owner that `answers` does so at once, until it is stopped."""
    found: list[tuple[float, OwnerAction]] = []
    while (at := watch.next_timeout()) is not None and at <= seconds:
        verdict = watch.handle_timeout(at, lambda: runs, lambda now=at: now >= halted_at)  # type: ignore[misc]
        if verdict is not OwnerAction.WAIT:
            found.append((at, verdict))
        if verdict is OwnerAction.GIVE_UP:
            break
        if answers and verdict is OwnerAction.ASK:
            watch.receive(at)
    return found


@pytest.mark.parametrize("halted_at", [0.0, 33.0, 600.0])
def test_an_owner_that_was_stopped_is_given_up_at_the_next_look_however_long_it_was_waited_for(
    halted_at: float,
) -> None:
    watch = SilenceWatch()
    watch.expect(0.0, 1)
    last, verdict = verdicts(watch, 1000.0, runs=True, answers=True, halted_at=halted_at)[-1]
    assert verdict is OwnerAction.GIVE_UP
    assert last - halted_at <= LOOK_SECONDS


def test_an_owner_that_waits_for_a_disk_is_given_up_soon_and_one_that_runs_later() -> None:
    for runs, last in ((False, 2 * SILENCE_SECONDS), (True, SILENCE_SECONDS + BUSY_SECONDS)):
        watch = SilenceWatch()
        watch.expect(0.0, 1)
        found = verdicts(watch, 100.0, runs=runs)
        assert found[0] == (SILENCE_SECONDS, OwnerAction.ASK)
        assert found[-1] == (last, OwnerAction.GIVE_UP)


def test_an_owner_that_answers_is_asked_again_only_after_a_while_and_never_while_nothing_is_due() -> None:
    watch = SilenceWatch()
    assert watch.next_timeout() is None
    watch.expect(0.0, 1)
    watch.expect(1.0, 2)
    asked = [at for at, verdict in verdicts(watch, 40.0, runs=True, answers=True) if verdict is OwnerAction.ASK]
    assert asked == [SILENCE_SECONDS, SILENCE_SECONDS + LOOK_AGAIN_SECONDS, SILENCE_SECONDS + 2 * LOOK_AGAIN_SECONDS]
    watch.expect(41.0, 0)
    assert watch.next_timeout() is None
    watch.expect(1000.0, 1)
    assert verdicts(watch, 1003.0, runs=True) == [(1000.0 + SILENCE_SECONDS, OwnerAction.ASK)]


# --- questions ------------------------------------------------------------------------------------


def asked(questions: Questions, number: int) -> object:
    message = questions.asked(JSONRPCRequest(jsonrpc="2.0", id=number, method="elicitation/create"))
    assert isinstance(message, JSONRPCRequest)
    return message.id


def answered(questions: Questions, number: object) -> object:
    message = questions.answered(JSONRPCResponse(jsonrpc="2.0", id=number, result={}))  # type: ignore[arg-type]
    assert message is None or isinstance(message, JSONRPCResponse)
    return message.id if message is not None else None


def test_the_first_session_asks_under_the_ids_of_the_sdk() -> None:
    questions = Questions(0)
    assert asked(questions, 1) == 1
    assert answered(questions, 1) == 1


def test_a_later_session_hears_no_answer_but_those_to_its_own_questions_each_once() -> None:
    earlier, later = Questions(1), Questions(2)
    old, new = asked(earlier, 1), asked(later, 1)
    assert old != new
    assert [answered(later, number) for number in (1, "1", old, new, new)] == [None, None, None, 1, None]
    canceled = JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params={"requestId": 1})
    told = later.asked(canceled)
    assert isinstance(told, JSONRPCNotification)
    assert told.params == {"requestId": new}


# --- the log --------------------------------------------------------------------------------------


def test_each_session_has_its_own_log_and_level_and_this_process_its_own(caplog: pytest.LogCaptureFixture) -> None:
    logger, one, other = logging.getLogger("mcp_a2a.x"), list[str](), list[str]()
    before = logger.getEffectiveLevel()
    with session_log.session_log(SessionLog(logging.WARNING, one.append)):
        session_log.set_level(logging.DEBUG)
        logger.debug("first")
        with session_log.session_log(SessionLog(logging.ERROR, other.append)):
            logger.warning("not wanted")
            logger.error("second")
        logger.debug("third\nline")
    assert one == ["DEBUG mcp_a2a.x: first\n", "DEBUG mcp_a2a.x: third\n    line\n"]
    assert other == ["ERROR mcp_a2a.x: second\n"]
    assert logger.getEffectiveLevel() == before
    logger.warning("of this process")
    assert "of this process" in caplog.text
    assert "second" not in caplog.text


def test_a_process_has_its_log_as_it_was_once_no_session_is_left(caplog: pytest.LogCaptureFixture) -> None:
    ours = logging.getLogger("mcp_a2a")
    handlers, before = list(logging.getLogger().handlers), ours.level
    with session_log.session_log(SessionLog(logging.WARNING, list[str]().append)):
        pass
    assert logging.getLogger().handlers == handlers
    try:
        session_log.set_level(logging.CRITICAL)  # the client of this process wants no more of its log
        ours.setLevel(logging.DEBUG)  # and another one, later
        ours.warning("heard")
    finally:
        ours.setLevel(before)
    assert "heard" in caplog.text
