"""The node's views for a model: nothing twice, nothing that says nothing, and no more than it can act on.

Each word costs it room, in every turn that follows. The names are those of `api`, which `--json` prints whole.
Record: docs/decisions/0036-what-a-model-pays.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from mcp_a2a.api.agents import AgentDetail, AgentView, DiscoverView, SkillView
from mcp_a2a.api.files import FileView, TransferView
from mcp_a2a.api.tasks import ArtifactView, TaskPage, TaskView
from mcp_a2a.api.view import AgentRef, Trust, View
from mcp_a2a.plurals import many
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.paths import by_source, route_word
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.untrusted import WHOLE, Asked, Fact, Name, PeerText, Who
from mcp_a2a.server.result_size import PAGE_CHARS, fitting

FILES_LISTED = 32
"""Files of a task that are listed; save_files writes the others as well."""

LISTED_CHARS = 280
LISTED_WEIGHT = 420
"""The weight of a text in a list; `get_task_status` has the rest."""

SKILLS_LISTED = 12
OFFERED_AGAIN = 2

_LEAST_CHARS, _MOST_CHARS = 120, 4_000
"""Of one agent in a list; get_agent has the rest."""

# --- tasks ---------------------------------------------------------------------------------------


class ReasonView(View):
    """Why a task did not succeed, and what can be done."""

    message: PeerText
    hint: Fact = ""
    retryable: bool = False


class TaskAnswer(View):
    """Where a task stands, for a model. What is not said is as usual: sent, the first attempt, no file, no error."""

    task_id: Fact
    state: Moment
    done: bool
    direction: Literal["sent", "received"] = "sent"
    agent: AgentRef
    route: Fact | None = None
    skill: PeerText | None = None
    request: Asked = ""
    reply: Asked | None = None
    asked_here: bool = False
    text: PeerText | None = None
    """The result; of a task that was received, the request."""
    answer: PeerText | None = None
    """This node's answer to a received task, in one line."""
    text_total: int | None = None
    text_next: int | None = None
    artifacts: Annotated[tuple[ArtifactView, ...], WHOLE] = ()
    files: tuple[FileView, ...] = ()
    transfer: TransferView | None = None
    question: PeerText | None = None
    progress: PeerText | None = None
    error: ReasonView | None = None
    attempts: int = 1
    tried: Annotated[tuple[str, ...], WHOLE] = ()
    put_off: PeerText | None = None
    chosen: PeerText | None = None
    next: Fact | None = None
    """The next step, if there is one."""


class TaskLine(View):
    """A task in a list: what was asked, and the beginning of what came of it."""

    task_id: Fact
    state: Moment
    direction: Literal["sent", "received"] = "sent"
    agent: AgentRef
    request: Asked = ""
    asked_here: bool = False
    answer: PeerText | None = None
    updated: Fact


class TaskLines(View):
    """A page of tasks."""

    tasks: tuple[TaskLine, ...]
    next_cursor: Fact | None = None
    damage: tuple[Fact, ...] = ()


def brief_task(view: TaskView, offset: int = 0, *, told: bool = False) -> TaskAnswer:
    """The task with at most a page of its text, which begins at `offset`, and how to read on. Files are listed.

    `told`: the reader has just written the request itself.
    """
    text, end = view.text or "", fitting(view.text or "")
    is_cut = len(text) > end
    going_on = f"The text goes on: call get_task_status with text_offset={offset + end}." if is_cut else ""
    # A page of the node says already, and otherwise, where it goes on.
    following = "" if is_cut and view.text_next is not None else _next(view)
    text_next = offset + end if is_cut else view.text_next
    received = view.direction == "received"
    return TaskAnswer(
        task_id=view.task_id,
        state=view.state,
        done=view.done,
        direction=view.direction,
        agent=view.agent,
        route=None if view.done and not told else way(view.route),
        skill=view.skill if received else None,
        # The whole text of what was asked is the text of a task that was received.
        request="" if told or received else view.request,
        reply=None if told or received else view.reply,
        asked_here=view.asked_here,
        text=text[:end] or None,
        answer=view.answer if received and not told else None,
        text_total=(view.text_total or len(text)) if text_next is not None or offset else None,
        text_next=text_next,
        artifacts=_without_content(view.artifacts),
        files=view.files[:FILES_LISTED],
        transfer=view.transfer,
        question=view.question,
        progress=view.progress,
        error=_reason(view.error),
        attempts=max(1, view.attempts),
        tried=() if view.state == Moment.COMPLETED else view.tried,
        put_off=view.put_off,
        chosen=view.chosen,
        next=" ".join(filter(None, (unlisted(view.files, FILES_LISTED), going_on, following))) or None,
    )


def unlisted(files: Sequence[FileView], listed: int) -> str:
    """The note of a result that lists only some of the files: a model would take them for all."""
    if len(files) <= listed:
        return ""
    said = f"It has {len(files)} files, of which {listed} {'is' if listed == 1 else 'are'} listed"
    savable = sum(file.can_be_saved for file in files)
    if not savable:
        return f"{said}."
    return f"{said}: save_files writes {'all' if savable == len(files) else f'{savable} of them'}."


def _next(view: TaskView) -> str:
    """The next step, if it is not plain from the state, nor in the hint of the error."""
    if view.done and (view.error is not None or view.state in (Moment.COMPLETED, Moment.CANCELED)):
        return ""
    return view.next


def _reason(error: ErrorDetail | None) -> ReasonView | None:
    if error is None:
        return None
    return ReasonView(message=error.message or error.code, hint=error.hint, retryable=error.retryable)


def _without_content(artifacts: tuple[ArtifactView, ...]) -> tuple[ArtifactView, ...]:
    kept = (
        artifact.model_copy(update={"parts": tuple(part for part in artifact.parts if part.raw is None)})
        for artifact in artifacts
    )
    return tuple(artifact for artifact in kept if artifact.parts)


def brief_page(page: TaskPage) -> TaskLines:
    """The tasks, each in a line."""
    return TaskLines(tasks=tuple(map(_line, page.tasks)), next_cursor=page.next_cursor, damage=page.damage)


def _line(view: TaskView) -> TaskLine:
    return TaskLine(
        task_id=view.task_id,
        state=view.state,
        direction=view.direction,
        agent=view.agent,
        request=beginning(view.request) or "",
        asked_here=view.asked_here,
        answer=beginning(_said(view)),
        updated=in_seconds(view.updated),
    )


def _said(view: TaskView) -> str | None:
    """The last message of its agent."""
    if view.direction == "received":
        return view.answer
    return view.question or view.progress or view.text or (view.error.message if view.error else None)


def beginning(text: str | None) -> str | None:
    """One line of a text, as much as a list shows."""
    if not text:
        return None
    short = preview(text, LISTED_CHARS)
    return short[: fitting(short, LISTED_CHARS, LISTED_WEIGHT)]


def in_seconds(iso: str) -> str:
    """A moment without its milliseconds."""
    moment, point, _ = iso.partition(".")
    return f"{moment}Z" if point else iso


# --- agents --------------------------------------------------------------------------------------


class AgentLine(View):
    """An agent in a list. It is a stranger, online, and has a name of its own where nothing else is said.

    Which networks it shares and by which way it is reached is in the text alone, and in `get_agent`, which also has
    when it was last seen: a model decides nothing by them here.
    """

    name: Name
    did: Who
    trust: Trust = "stranger"
    networks: Annotated[tuple[Name, ...], Field(exclude=True)] = ()
    online: bool = True
    route: Annotated[Fact | None, Field(exclude=True)] = None
    waiting: int = 0
    look_alike: bool = False
    words: Fact | None = None
    """Said where they are needed to tell it from another."""
    about: PeerText = ""
    """Its description | its skills, each by its id."""


class AgentLines(View):
    """The agents found; when there is none, `reason` says why and what to do."""

    agents: tuple[AgentLine, ...]
    total: int | None = None
    """The number of all, if there are more."""
    reason: Fact | None = None
    on_offer: Annotated[tuple[str, ...], WHOLE] | None = None


def brief_agents(found: DiscoverView) -> AgentLines:
    """A list in which every agent has its share of the words."""
    share = min(_MOST_CHARS, max(_LEAST_CHARS, PAGE_CHARS // max(1, len(found.agents))))
    more = found.total > len(found.agents)
    return AgentLines(
        agents=tuple(_agent(agent, share) for agent in found.agents),
        total=found.total if more else None,
        reason=found.reason,
        on_offer=found.on_offer,
    )


def _agent(agent: AgentView, share: int) -> AgentLine:
    return AgentLine(
        name=agent.name,
        did=agent.did,
        trust=agent.trust,
        networks=agent.networks if agent.trust == "member" else (),
        online=agent.online,
        route=way(agent.route) if agent.online else None,
        waiting=agent.waiting,
        look_alike=agent.look_alike,
        words=agent.words if agent.look_alike else None,
        about=_about(agent, share),
    )


def way(route: str | None) -> str | None:
    """The route to an agent, in the words that a person reads as well; None without one."""
    return None if route is None else route_word(route)


def rounded(milliseconds: float | None) -> int | None:
    """A time as a model has a use for it."""
    return None if milliseconds is None else max(1, round(milliseconds))


def brief_detail(detail: AgentDetail) -> AgentDetail:
    """One agent, in full. All that a list says of it is in its card."""
    agent, node = detail.agent, detail.node
    if node is not None:  # itself: who that is has been said
        node = node.model_copy(update={"name": "", "did": "", "words": ""})
    shown = {
        "description": "",
        "skills": (),
        "route": way(agent.route),
        "rtt_ms": rounded(agent.rtt_ms),
        "last_seen": in_seconds(agent.last_seen) if agent.last_seen else None,
    }
    return detail.model_copy(
        update={"agent": agent.model_copy(update=shown), "addresses": by_source(detail.addresses), "node": node}
    )


def _about(agent: AgentView, share: int) -> str:
    """Its words in one line: what it says of itself, and each skill by its id with what it says of that."""
    description = preview(agent.description, max(_LEAST_CHARS // 2, share // 4))
    skills, left = [], share - len(description)
    for skill in agent.skills[:SKILLS_LISTED]:
        skills.append(_skill(skill, description))
        left -= len(skills[-1])
        if left < 0:
            skills.pop()
            break
    rest = len(agent.skills) - len(skills)
    listed = "; ".join((*skills, *((f"{many(rest, 'more skill')}",) if rest else ())))
    return " | ".join(filter(None, (description, listed)))


def _skill(skill: SkillView, known: str) -> str:
    """A skill; what its agent says of itself in the same words is not said again."""
    said = preview(skill.description or skill.name, 160)
    shown = preview(skill.id, 128)
    return shown if not said or said in (known, shown) else f"{shown}: {said}"
