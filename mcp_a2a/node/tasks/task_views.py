"""Records turned into views: cleaned of what a peer could smuggle in, and ending with what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcp_a2a.api.files import FileGrant, FileView, TransferView
from mcp_a2a.api.inbox import InboxItem
from mcp_a2a.api.tasks import ArtifactView, TaskView
from mcp_a2a.api.view import AgentRef, Trust
from mcp_a2a.node.tasks.result import is_said
from mcp_a2a.node.tasks.summary import answer_of, reply_of, request_of
from mcp_a2a.protocol.blob import without_key
from mcp_a2a.protocol.model import Artifact, TaskState, text_of_result, words_of
from mcp_a2a.protocol.moment import ASKING, ENDED, Moment, moment_of
from mcp_a2a.protocol.state import INTERRUPTED
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.text import clean, preview
from mcp_a2a.protocol.times import iso


@dataclass(frozen=True)
class Way:
    """The route of a task to its agent, or the reason why there is none yet."""

    route: str | None = None
    tried: tuple[str, ...] = ()
    put_off: str | None = None


@dataclass(frozen=True)
class Cargo:
    """The files of a task: what the other side sent, and how far those are that are on their way."""

    files: tuple[FileView, ...] = ()
    transfer: TransferView | None = None


def task_view(  # noqa: PLR0913  a record, and what the node knows beside it
    record: Task,
    *,
    name: str,
    way: Way,
    cargo: Cargo,
    now: float,
    text_offset: int = 0,
    text_limit: int | None = None,
) -> TaskView:
    """The view of a task for its owner. `text` is what the other side wrote, a page of it where it is long."""
    sent, text, moment = record.sent, _text(record), moment_of(record.state, record.delivery, leased=record.leased(now))
    page, following = _page(text, text_offset, text_limit)
    return TaskView(
        task_id=record.id,
        direction="sent" if sent else "received",
        state=moment,
        done=record.done,
        delivery=record.delivery,
        route=way.route,
        agent=AgentRef(name=name, did=record.peer),
        skill=record.skill,
        context_id=record.context_id,
        request=request_of(record),
        answer=answer_of(record),
        reply=reply_of(record),
        asked_here=sent and not record.caller and not record.hop,
        text=page,
        text_total=len(text) if text is not None else None,
        text_next=following,
        artifacts=_artifacts((*record.artifacts, *_answer_beside(record))) if sent else (),
        files=cargo.files,
        transfer=cargo.transfer,
        question=_said(record, TaskState.INPUT_REQUIRED) or _said(record, TaskState.AUTH_REQUIRED),
        progress=_said(record, TaskState.WORKING),
        error=record.error,
        attempts=record.attempts,
        tried=(*record.tried, *way.tried),
        put_off=way.put_off,
        chosen=record.chosen,
        created=iso(record.created),
        updated=iso(record.updated),
        next=_next(record, moment, following),
    )


def standing(record: Task, now: float) -> TaskView:
    """The state of a received task, without its texts."""
    return TaskView(
        task_id=record.id,
        direction="received",
        state=moment_of(record.state, record.delivery, leased=record.leased(now)),
        done=record.done,
        delivery=record.delivery,
        agent=AgentRef(name=record.peer_name, did=record.peer),
        created=iso(record.created),
        updated=iso(record.updated),
        next="",
    )


def inbox_item(record: Task, name: str, trust: Trust, files: tuple[FileGrant, ...]) -> InboxItem:
    """The view of a leased task for its worker."""
    return InboxItem(
        task_id=record.id,
        agent=AgentRef(name=name, did=record.peer),
        trust=trust,
        skill=preview(record.skill, 128) if record.skill else None,
        context_id=record.context_id,
        text=_text(record) or "",
        messages=record.said,
        files=files,
        attempt=record.attempts,
        hop=record.hop,
        lease_until=iso(record.lease_until or record.updated),
        received=iso(record.created),
    )


def _text(record: Task) -> str | None:
    if not record.sent:
        return clean("\n".join(message.text for message in record.said))
    said = record.status.message if record.state == TaskState.COMPLETED else None
    written = [text_of_result(record.artifacts)] if record.artifacts else []
    if said is not None and is_said(record):
        written.append(said.text)
    return clean("\n".join(written)) if written else None


def _page(text: str | None, offset: int, limit: int | None) -> tuple[str | None, int | None]:
    if text is None or (offset == 0 and (limit is None or len(text) <= limit)):
        return text, None
    end = len(text) if limit is None else offset + limit
    return text[offset:end], end if end < len(text) else None


def _answer_beside(record: Task) -> Iterator[Artifact]:
    """The data and files of an answer or a question that is a message: A2A has them in either."""
    said = record.status.message
    if said is None:
        return
    # A question without a text is shown by its data.
    asks = record.state in INTERRUPTED and said.text
    if asks or (record.state == TaskState.COMPLETED and is_said(record)):
        yield Artifact(artifact_id=said.message_id, parts=said.parts)


def _artifacts(artifacts: tuple[Artifact, ...]) -> tuple[ArtifactView, ...]:
    """Results that are more than the text already shown."""
    return tuple(
        ArtifactView(
            artifact_id=preview(artifact.artifact_id, 64),
            name=preview(artifact.name, 128) if artifact.name else None,
            parts=tuple(without_key(part) for part in artifact.parts if part.text is None),
        )
        for artifact in artifacts
        if any(part.text is None for part in artifact.parts)
    )


def _said(record: Task, state: TaskState) -> str | None:
    if record.state != state or record.status.message is None:
        return None
    return clean(words_of(record.status.message))[:4096]


def _next(record: Task, moment: Moment, following: int | None) -> str:
    if not record.sent:
        return _next_received(moment)
    if following is not None:
        return f"The text goes on: call get_task_status with text_offset={following}."
    if record.error is not None and record.error.hint:
        return record.error.hint
    return _NEXT[moment]


_DELIVERED = "The agent has it. Call get_task_status with wait_seconds=30 for the answer."
_NEXT = {
    Moment.QUEUED: "Not delivered yet; it is kept and sent when the agent is reachable. Call get_task_status later.",
    Moment.STORED: (
        "It waits, sealed, at a relay, and is delivered when the agent comes back, also if this machine is off by "
        "then. Call get_task_status later."
    ),
    Moment.HELD: (
        "The agent's owner must accept you first; the task waits there. Tell your user, "
        "and call get_task_status with wait_seconds later."
    ),
    Moment.SUBMITTED: _DELIVERED,
    Moment.WORKING: _DELIVERED,
    Moment.INPUT_REQUIRED: "The agent asks something: answer with reply_to_task.",
    Moment.AUTH_REQUIRED: "The agent asks for authorization: tell your user, then answer with reply_to_task.",
    Moment.COMPLETED: "Done. To go on in the same conversation, call reply_to_task.",
    Moment.FAILED: "Ask another agent, or change the request.",
    Moment.REJECTED: "Ask another agent, or change the request.",
    Moment.CANCELED: "Canceled; nothing more will come.",
}


def _next_received(moment: Moment) -> str:
    if moment in ENDED:
        return "Answered; nothing is left to do."
    if moment in ASKING:
        return "Waiting for the sender's reply; check_inbox offers it again when it comes."
    return "Answer it with answer_task."
