"""Asks the person, in either protocol era. The model can cause a question; it can never answer one.

Since 2026-07-28 a question travels inside the result, and the client calls again with the answer (`Elicit`). Before, it
is a request of ours in the middle of the call. There the SDK waits without end and passes on any error of the client,
so the waiting is done here: no answer in time, and no answer that makes sense, is no answer.

The tools that send try first: only when the node says that a person must allow it is there anything to ask.
"""

from __future__ import annotations

import json
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, TypeVar

import anyio
from mcp.server.mcpserver import AcceptedElicitation, DeclinedElicitation, Elicit, ElicitationResult
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from mcp_a2a.api.agents import ConsentRequest, ConsentView
from mcp_a2a.api.tasks import TaskView
from mcp_a2a.errors.agents import ConsentDeclinedError, ConsentNeededError
from mcp_a2a.protocol.paths import ROUTE_WORDS
from mcp_a2a.protocol.text import preview
from mcp_a2a.server.context import Call, deadline, node_of, proves_user
from mcp_a2a.server.fence import whole_label
from mcp_a2a.server.files import size

logger = logging.getLogger(__name__)

MAX_TOLD = 64
"""Questions of which it is known how they were worded."""

RESUMABLE_SINCE = "2026-07-28"
"""From this protocol version on a question travels inside the result, so no channel back to the client is needed."""

ASK_SECONDS = 300.0
"""Seconds that a person has for an answer while the call waits."""

HASTY_SECONDS = 1.0
"""A no that comes sooner is a client's own, which shows its user no question (as Codex does without a terminal)."""

TEXT_SHOWN = 300
"""Characters of what is to be sent that the person is shown."""

Answer = Literal["yes", "no", "none"]
"""The person's answer to a question; "none" is a dialog that was closed, or one that was never shown."""


class Reply(BaseModel):
    """An answer that was waited for here."""

    answer: Answer


Schema = TypeVar("Schema", bound=BaseModel)


def _bare(schema: JsonDict) -> None:
    for name in ("title", "description"):
        schema.pop(name, None)


class Form(BaseModel):
    """What a person fills in. Its schema has what the protocol names and nothing else, or Codex declines it unseen.

    Source: MCP 2025-11-25, ElicitRequestFormParams.
    """

    model_config = ConfigDict(json_schema_extra=_bare)


class Permission(Form):
    """What the person is asked to decide."""

    allow: bool = Field(
        title="Allow sending to this agent?",
        description="It is asked once: later messages to the same agent go without a question.",
    )


Send: TypeAlias = Callable[[str | None], Awaitable[TaskView]]


@dataclass(frozen=True)
class Question:
    """A decision that a person must make before anything leaves."""

    about: ConsentView
    text: str
    send: Send
    """Tries it again; to this agent, where it names one."""
    data: str = ""
    files: tuple[tuple[str, int], ...] = ()


Sent: TypeAlias = TaskView | Question
"""The outcome of an attempt to send."""

Permitted: TypeAlias = ElicitationResult[Permission]


def can_ask(ctx: Call) -> bool:
    """True if this client is the user's own, as what carried the call proves, and can put a form to the user."""
    if not proves_user(ctx):
        return False
    capabilities = ctx.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return (ctx.protocol_version or "") >= RESUMABLE_SINCE or ctx.session.can_send_request


async def ask(
    ctx: Call, question: str, schema: type[Schema], agrees: Callable[[Schema], bool]
) -> Elicit[Schema] | Reply:
    """Put a question to the person: what a resolver returns, the answer itself in the older era."""
    if (ctx.protocol_version or "") >= RESUMABLE_SINCE:
        return Elicit(question, schema)
    began = anyio.current_time()
    with _waiting_for_a_person():
        try:
            with anyio.move_on_after(ASK_SECONDS):
                answer = read(await ctx.elicit(question, schema), agrees)
                hasty = anyio.current_time() - began < HASTY_SECONDS
                return Reply(answer="none" if answer == "no" and hasty else answer)
        except (MCPError, ValueError) as error:  # it said that it can ask, and cannot; or its answer is none
            logger.warning("the client did not answer a question to its user: %s", preview(str(error), 200))
    return Reply(answer="none")


@contextmanager
def _waiting_for_a_person() -> Iterator[None]:
    """The time that a person takes does not count against the call."""
    scope, began = deadline.get(), anyio.current_time()
    if scope is not None:
        scope.deadline += ASK_SECONDS
    try:
        yield
    finally:
        if scope is not None:
            scope.deadline -= ASK_SECONDS - (anyio.current_time() - began)


def read(decision: ElicitationResult[Schema], agrees: Callable[[Schema], bool]) -> Answer:
    """The person's answer. A yes is a form that was sent off with its yes in it, and nothing else."""
    match decision:
        case AcceptedElicitation(data=Reply(answer=answer)):
            return answer
        case AcceptedElicitation(data=data):
            return "yes" if agrees(data) else "no"
        case DeclinedElicitation():
            return "no"
        case _:
            return "none"


# --- sending ---------------------------------------------------------------------------------------


async def tried(ctx: Call, send: Send, text: str, data: dict[str, object] | None = None) -> Sent:
    """The task that was sent, or the question that comes first.

    Raises:
        ConsentNeededError: no person can be asked here; the message has the command for the person.
        McpA2AError: the error that the node raised.
    """
    try:
        return await send(None)
    except ConsentNeededError as needed:
        if not can_ask(ctx):
            raise
        about = await node_of(ctx).call(ConsentRequest(agent=str(needed.details.get("agent", ""))))
        shown = json.dumps(data, ensure_ascii=False, default=str) if data is not None else ""
        return Question(about, text, send, shown, _files(needed.details.get("files")))


def _files(details: object) -> tuple[tuple[str, int], ...]:
    listed = details if isinstance(details, Sequence) and not isinstance(details, str) else ()
    return tuple((str(name), int(count)) for name, count in listed)


async def ask_to_send(sent: Sent, ctx: Call) -> Elicit[Permission] | Reply | None:
    """The question, unless it was sent already."""
    if isinstance(sent, TaskView):
        return None
    put = partial(ask, ctx, _wording(sent), Permission, _allows)
    if (ctx.protocol_version or "") >= RESUMABLE_SINCE or ctx.request_context.request is not None:
        return await put()

    async def put_and_keep() -> Elicit[Permission] | Reply:
        reply = await put()
        if isinstance(reply, Reply) and reply.answer != "none":
            await _keep(ctx, sent, reply.answer)  # before another call can come to the same question
        return reply

    # A pipe has a node to ask of its own, so that tells the client. Over HTTP nothing does.
    return await _once((id(node_of(ctx)), sent.about.key, bool(sent.files)), put_and_keep)


class _Open:
    """A question that a person has not answered yet."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.answer: Answer = "none"


_open: dict[tuple[int, str, bool], _Open] = {}
"""By client, agent, and whether files are to be sent."""


async def _once(
    name: tuple[int, str, bool], put: Callable[[], Awaitable[Elicit[Permission] | Reply]]
) -> Elicit[Permission] | Reply:
    """Put a question, unless another call of the same client has put it: what the person answers counts for both."""
    while (question := _open.get(name)) is not None:
        with _waiting_for_a_person():
            await question.over.wait()
        if question.answer != "none":
            return Reply(answer=question.answer)
    question = _open[name] = _Open()
    try:
        reply = await put()
        if isinstance(reply, Reply):
            question.answer = reply.answer
        return reply
    finally:
        del _open[name]
        question.over.set()


async def permitted(ctx: Call, question: Sent, decision: Permitted) -> TaskView:
    """The sent task; else keep the person's answer, and send to the agent of the question if they allow it.

    The name of that agent may be another one's by now.

    Raises:
        ConsentNeededError: they gave no answer.
        ConsentDeclinedError: they did not allow it.
    """
    if isinstance(question, TaskView):
        return question
    about = question.about
    answer = read(decision, _allows)
    if answer == "none":
        raise ConsentNeededError(about.agent.did, about.key, stranger=not about.text, files=question.files)
    await _keep(ctx, question, answer)
    if answer == "no":
        raise ConsentDeclinedError(about.agent.did, about.key)
    return await question.send(about.agent.did)


async def _keep(ctx: Call, question: Question, answer: Literal["yes", "no"]) -> None:
    verdict: Literal["allowed", "declined"] = "allowed" if answer == "yes" else "declined"
    request = ConsentRequest(agent=question.about.agent.did, answer=verdict, files=bool(question.files))
    await node_of(ctx).call(request)


def _allows(permission: Permission) -> bool:
    return permission.allow


class _Told:
    """By which route an agent was reached when a question was first put.

    In the newer era an answer counts for the very same question only, and each round makes the question anew: a link
    that comes or goes while a person reads must not have them asked again, without end where an agent wants that.
    """

    def __init__(self) -> None:
        self._routes: OrderedDict[object, tuple[float, str]] = OrderedDict()

    def route_of(self, question: Question) -> str:
        """The progress line for this question, for as long as a person may take to answer it."""
        agent, now = question.about.agent, anyio.current_time()
        said = preview(question.text, TEXT_SHOWN), preview(question.data, TEXT_SHOWN)
        name = (question.about.key, agent.name, agent.trust, said, question.files)
        at, route = self._routes.get(name, (-math.inf, ""))
        if now - at > ASK_SECONDS:
            at, route = now, agent.route or ""
            self._routes[name] = at, route
        while len(self._routes) > MAX_TOLD:
            self._routes.popitem(last=False)
        return route


_told = _Told()


def _wording(question: Question) -> str:
    """Facts that were checked here, and the agent's own name in quotes."""
    agent, files = question.about.agent, question.files
    known = _STANDINGS.get(agent.trust, "a stranger")
    what = "files" if files and question.about.text else "a task with files" if files else "a task"
    lines = [
        f"Your assistant wants to send {what} to {whole_label(agent.name, question.about.key)}, {known}.",
        f"Its fingerprint words: {agent.words}"
        if agent.words
        else "It has shown no key: only its URL tells who it is.",
        f"Route: {ROUTE_WORDS.get(_told.route_of(question), _UNREACHABLE)[1]}",
        f"Text: {preview(question.text, TEXT_SHOWN)}",
    ]
    if question.data:
        lines.append(f"Data: {preview(question.data, TEXT_SHOWN)}")
    if files:
        lines.append("Files: " + ", ".join(f"{preview(name, 64)} ({size(count)})" for name, count in files))
    lines.append("Any agent can claim any name. If you allow it, you are not asked about this agent again.")
    return "\n".join(lines)


_UNREACHABLE = ("offline", "not reachable now")

_STANDINGS = {
    "trusted": "an agent that you trust", "member": "a member of a network of yours",
    "blocked": "an agent that YOU HAVE BLOCKED",
}  # fmt: skip
