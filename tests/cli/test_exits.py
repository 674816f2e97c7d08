"""One table says what a command ends with."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_a2a.api.tasks import TaskView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.cli.exits import BY_DELIVERY, BY_STATE, Exit, exit_of, exit_of_error
from mcp_a2a.errors.agents import PeerNotFoundError, SkillNotFoundError
from mcp_a2a.errors.delivery import NoRouteError, RefusedError
from mcp_a2a.errors.machine import ConfigurationError, HomeUnusableError, PortInUseError
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.protocol.model import Delivery, TaskState
from mcp_a2a.protocol.moment import Moment, moment_of
from tests.cli.inside import call
from tests.test_errors import ours


def task(state: TaskState, delivery: Delivery = Delivery.DELIVERED, **more: object) -> TaskView:
    fields = {
        "task_id": "task-1",
        "direction": "sent",
        "state": moment_of(state, delivery),
        "done": state in (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED),
        "delivery": delivery,
        "agent": AgentRef(name="bob", did="did:key:zBob"),
        "created": "",
        "updated": "",
        "next": "",
    }
    return TaskView.model_validate({**fields, **more})


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (task(TaskState.COMPLETED), 0),
        (task(TaskState.FAILED), 7),
        (task(TaskState.REJECTED), 7),
        (task(TaskState.CANCELED), 7),
        (task(TaskState.INPUT_REQUIRED), 8),
        (task(TaskState.WORKING), 6),
        (task(TaskState.SUBMITTED), 6),
        (task(TaskState.SUBMITTED, Delivery.HELD), 6),
        (task(TaskState.SUBMITTED, Delivery.QUEUED), 6),
        (task(TaskState.SUBMITTED, Delivery.QUEUED, tried=("10.0.0.2:1 refused",)), 4),
        (task(TaskState.REJECTED, Delivery.REFUSED), 5),
        (task(TaskState.FAILED, Delivery.EXPIRED), 4),
        (task(TaskState.INPUT_REQUIRED, direction="received"), 0),
    ],
)
def test_a_tasks_end_is_its_exit_code(view: TaskView, code: int) -> None:
    assert exit_of(view) == code


def test_every_state_has_an_exit_code() -> None:
    assert set(BY_STATE) == set(Moment)
    assert set(BY_DELIVERY) <= set(Delivery)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PeerNotFoundError("bob"), Exit.NOT_FOUND),
        (SkillNotFoundError("fly"), Exit.NOT_FOUND),
        (TaskNotFoundError("task-1"), Exit.NOT_FOUND),
        (NoRouteError("bob", []), Exit.UNREACHABLE),
        (RefusedError("bob", "no"), Exit.REFUSED),
        (ConfigurationError("bad"), Exit.USAGE),
        (HomeUnusableError("/x", "it is full of eels"), Exit.UNUSABLE),
        (PortInUseError("127.0.0.1:3000"), Exit.UNUSABLE),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (ZeroDivisionError(), Exit.UNEXPECTED),
    ],
)
def test_an_error_is_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_of_error(error) == code


def test_every_error_of_ours_has_an_exit_code_of_the_table() -> None:
    assert {kind.exit_code for kind in ours()} <= set(Exit)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("discover", "--limit", "many"), "--limit cannot be 'many': it should be a whole number."),
        (("discover", "--limit", "999"), "--limit cannot be '999': it should be at most 200."),
        (("ping", "x", "--timeout", "soon"), "--timeout cannot be 'soon': it should be a number."),
    ],
)
def test_a_wrong_value_is_told_without_types_of_python(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    finished = call(tmp_path / "home", *words)
    assert finished.returncode == Exit.USAGE
    assert finished.stderr.splitlines()[0] == says
