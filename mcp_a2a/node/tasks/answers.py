"""The events of a task in an answer of its holder."""

from __future__ import annotations

from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.protocol.model import Artifact, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.artifacts import grow
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.table import check_transition
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.task.updates import Made, fact_of, in_order
from mcp_a2a.protocol.times import iso

RESULT = "result"
"""The artifact that an answer is."""

STATES = {
    "working": TaskState.WORKING,
    "completed": TaskState.COMPLETED,
    "failed": TaskState.FAILED,
    "input_required": TaskState.INPUT_REQUIRED,
    "auth_required": TaskState.AUTH_REQUIRED,
    "rejected": TaskState.REJECTED,
}
"""The state that follows an answer. An attempt that crashed did not answer."""


def is_said_again(task: Task, answer: AnswerRequest) -> bool:
    """True if the task has ended with this answer."""
    if not task.done or task.state != STATES[answer.status]:
        return False
    said = _said(task)
    return said == (answer.text or (said if task.streamed else ""))  # all of it may have been streamed before


def _said(task: Task) -> str:
    if task.state == TaskState.COMPLETED and not task.direct:
        return "\n".join(part.text for artifact in task.artifacts for part in artifact.parts if part.text is not None)
    return task.status.message.text if task.status.message else ""


def facts_of_answer(
    task: Task, answer: AnswerRequest, now: float, lease_until: float, message_id: str
) -> tuple[Event, ...]:
    """The events of an answer, in the order in which readers are told of them.

    Args:
        task: as it is, leased to the holder that answers.
        answer: anything but a crash.
        now: seconds since the epoch.
        lease_until: when the lease of a holder that goes on ends, in seconds since the epoch.
        message_id: a fresh id, for what the holder says.

    Raises:
        TransitionError: nothing can follow in this state.
    """
    state = STATES[answer.status]
    check_transition(task.state, state)
    made = _made(task, answer)
    parts = _words(answer)
    words = Message(message_id=message_id, role=Role.AGENT, parts=parts) if parts else None
    status = TaskStatus(state=state, message=words, timestamp=iso(now))
    if state != TaskState.WORKING:
        return in_order(task, made, fact_of(status, _error_of(answer), direct=answer.direct), status.timestamp)
    # A chunk alone is no news of the status.
    known = task.status.message.parts if task.status.message is not None else ()
    is_known = (task.status.state, known) == (state, parts)
    progress = None if is_known else e.Progressed(status)
    return (*in_order(task, made, progress, status.timestamp), e.LeaseRenewed(lease_until))


def _content(answer: AnswerRequest) -> tuple[Part, ...]:
    return (*((Part(text=answer.text),) if answer.text is not None else ()), *answer.parts)


def _words(answer: AnswerRequest) -> tuple[Part, ...]:
    """The parts of the message in the status: the text, or all of an answer that is a message."""
    if STATES[answer.status] == TaskState.COMPLETED:
        return _content(answer) if answer.direct else ()
    return _content(answer)[:1] if answer.text else ()


def _made(task: Task, answer: AnswerRequest) -> Made:
    known = 0 if answer.streamed is None else max(0, task.streamed - answer.streamed)
    added, content = answer.chunks[known:], _content(answer)
    made: Made = (e.ArtifactsGrown(added, task.streamed + len(added)),) if added else ()
    if answer.status != "completed" or answer.direct or not content:
        return made
    before = _before(grow(task.artifacts, added), content)
    return (*made, e.ArtifactsReplaced((Artifact(artifact_id=RESULT, name=RESULT, parts=(*before, *content)),)))


def _before(artifacts: tuple[Artifact, ...], content: tuple[Part, ...]) -> tuple[Part, ...]:
    """The streamed parts of the result that stay: a text at the end replaces all of them, files follow them."""
    if any(part.text is not None for part in content):
        return ()
    return next((artifact.parts for artifact in artifacts if artifact.artifact_id == RESULT), ())


def _error_of(answer: AnswerRequest) -> ErrorDetail | None:
    if answer.status not in ("failed", "rejected"):
        return None
    return ErrorDetail(code=f"task_{answer.status}", message=answer.text or "no reason given")
