"""A question asked without the models of its answer: the same answer, or none, and then the command asks as usual."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from mcp_a2a.api.agents import SkillView
from mcp_a2a.api.files import FileView
from mcp_a2a.api.status import StatusView
from mcp_a2a.api.tasks import ArtifactView, TaskPage, TaskView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.errors.machine import NodeSilentError
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.node.ipc.glance import NoGlanceError, glance
from mcp_a2a.node.ipc.view_reader import Told, fields_of
from mcp_a2a.node.ipc.view_writer import written_down
from mcp_a2a.protocol.model import Delivery, Part
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.store.short_places import socket_path

HOSTILE = {"get": "x", "items": 1, "": [2, {"fields_of": None}], "_fields": {}}
"""What an agent may call things in its own data."""


def a_task() -> TaskView:
    artifact = ArtifactView(artifact_id="a", parts=(Part(data=HOSTILE), Part(data=[1, 2]), Part(data=None)))
    return TaskView(
        task_id="task-a", direction="sent", state=Moment.FAILED, done=True, delivery=Delivery.DELIVERED,
        agent=AgentRef(name="rev", did="did:key:z"), context_id="ctx", text="ü\n", artifacts=(artifact,),
        files=(FileView(file_id="f", name="n", here=True),), error=ErrorDetail(code="c", message="m"), attempts=1,
        tried=("a", "b"), created="2026-01-01T00:00:00Z", updated="2026-01-01T00:00:00Z", next="n",
    )  # fmt: skip


def check_same(told: object, view: object) -> None:
    """Every attribute that the view has, with the same value."""
    match view:
        case BaseModel():
            for name in type(view).model_fields:
                check_same(getattr(told, name), getattr(view, name))
        case tuple():
            assert isinstance(told, tuple)
            assert len(told) == len(view)
            for one, other in zip(told, view, strict=True):
                check_same(one, other)
        case Enum():
            assert told == view
            assert type(told) is str
        case _:
            assert told == view
            assert type(told) is type(view)


@pytest.mark.parametrize(
    "view",
    [
        TaskPage(tasks=(a_task(), a_task()), next_cursor="c"),
        SkillView(id="i", name="n", description="", input_schema=HOSTILE),
        StatusView(
            version="1", identity="i", name="n", did="d", words="w", home="/h", pid=1, uptime_seconds=0.5,
            listening=("a",), lookups={"items": "on"}, agents_online=1, outbox=0, inbox=0, held=0,
            accept="trusted",
        ),
    ],
)  # fmt: skip
def test_what_was_written_down_has_the_attributes_of_its_view(view: BaseModel) -> None:
    check_same(Told(json.loads(json.dumps(written_down(view)))), view)


def test_a_field_that_this_version_does_not_know_is_none() -> None:
    told = Told({"known": 1})
    assert (told.known, told.unknown, fields_of(told)) == (1, None, {"known": 1})


# --- the socket ----------------------------------------------------------------------------------


@contextmanager
def owner(folder: Path, converse: Callable[[socket.socket], None]) -> Iterator[None]:
    """A process at the control socket that says what it is told to."""
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(folder)))
        listener.listen()

        def serve() -> None:
            stream, _ = listener.accept()
            with stream:
                stream.settimeout(30)
                converse(stream)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(30)


def asked(stream: socket.socket) -> dict[str, Any]:
    """The next question."""
    line = b""
    while not line.endswith(b"\n"):
        line += stream.recv(1)
    return dict(json.loads(line))


def ask(folder: Path, **more: Any) -> Told:
    with glance(folder, "written", **more) as looking:
        return looking.ask("get_task", {"task_id": "x"})


def test_an_answer_in_pieces_and_behind_others_is_read(tmp_path: Path) -> None:
    def converse(stream: socket.socket) -> None:
        assert asked(stream) == {"id": 1, "op": "get_task", "request": {"task_id": "x"}, "form": "written"}
        for piece in (b'{"id":7,"view":{}}\n[]\n{"id":1,', b'"form":"written","view":', b'{"text":"\xc3\xbc"}}\n'):
            stream.sendall(piece)

    with owner(tmp_path / "a", converse):
        assert ask(tmp_path / "a").text == "ü"


def test_an_error_of_the_node_is_raised_as_its_class(tmp_path: Path) -> None:
    def converse(stream: socket.socket) -> None:
        number = asked(stream)["id"]
        error = {"code": TaskNotFoundError.code, "message": "none", "hint": "look", "details": {}}
        stream.sendall(json.dumps({"id": number, "error": error}).encode() + b"\n")

    with owner(tmp_path / "a", converse), pytest.raises(TaskNotFoundError, match="none"):
        ask(tmp_path / "a")


NO_ANSWERS: dict[str, bytes] = {
    "it ends": b"",
    "it ends within a line": b'{"id":1,"form":"wri',
    "it belongs to an older version, which knows no form": b'{"id":1,"view":{"text":"x"}}\n',
    "it does not know the operation": b'{"id":1,"error":{"code":"configuration","message":"m","hint":"h"}}\n',
    "it speaks no JSON": b"garbage\n",
    "it speaks no UTF-8": b"\xff\xfe\n",
    "its error has no words": b'{"id":1,"error":{}}\n',
}


@pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_there_is_no_answer_of_a_node_when(tmp_path: Path, said: bytes) -> None:
    def converse(stream: socket.socket) -> None:
        asked(stream)
        stream.sendall(said)

    with owner(tmp_path / "a", converse), pytest.raises(NoGlanceError):
        ask(tmp_path / "a")


def test_a_node_that_works_on_an_answer_is_waited_for_and_one_that_is_silent_is_not(tmp_path: Path) -> None:
    def work(stream: socket.socket) -> None:
        number = asked(stream)["id"]
        stream.sendall(json.dumps({"id": asked(stream)["id"]}).encode() + b"\n")  # a sign of life
        stream.sendall(json.dumps({"id": number, "form": "written", "view": {"text": "late"}}).encode() + b"\n")

    waited: list[float] = []
    with owner(tmp_path / "a", work):
        assert ask(tmp_path / "a", waiting=waited.append, silence=2).text == "late"
    assert waited == sorted(waited)
    assert waited

    def sleep(stream: socket.socket) -> None:
        while stream.recv(100):
            pass

    with owner(tmp_path / "b", sleep), pytest.raises(NoGlanceError):
        ask(tmp_path / "b", silence=0.01)


LISTENS_AND_STOPS = (
    "import fcntl, os, signal, socket, sys; listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]);"
    "listener.listen(); lock = open(sys.argv[2], 'w'); fcntl.flock(lock, fcntl.LOCK_EX);"
    "os.kill(os.getpid(), signal.SIGSTOP)"
)


@pytest.mark.skipif(sys.platform != "linux", reason="only there the system tells that a process was stopped")
def test_a_node_that_was_stopped_is_named_without_waiting_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.ipc.glance.HALTED_SECONDS", 0.0)
    words = [sys.executable, "-S", "-c", LISTENS_AND_STOPS, str(socket_path(tmp_path)), str(tmp_path / "lock")]
    with subprocess.Popen(words) as process:
        try:
            os.waitpid(process.pid, os.WUNTRACED)
            with pytest.raises(NodeSilentError, match=f"process {process.pid}, stopped") as raised:
                ask(tmp_path, silence=3600.0)
            assert f"kill -CONT {process.pid}" in raised.value.hint
        finally:
            process.kill()


def test_without_a_process_there_is_no_answer_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(NoGlanceError):
        ask(tmp_path / "none")
    (tmp_path / "stale").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_path(tmp_path / "stale")))
    with pytest.raises(NoGlanceError):
        ask(tmp_path / "stale")
    assert [path.name for path in tmp_path.iterdir()] == ["stale"]
