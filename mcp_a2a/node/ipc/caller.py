"""The caller of a request: a process of this person, or a client that speaks through one.

The node may belong to another process, which was told otherwise and stands in another folder. So each request carries
what its own process was told.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from mcp_a2a.api.a2a import OWN_KEY, A2ASendRequest
from mcp_a2a.api.agents import GetAgentRequest
from mcp_a2a.api.files import Attachments, SaveFilesRequest
from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.api.request import A, Request
from mcp_a2a.api.tasks import MAX_HOP, ReplyRequest, SendTaskBySkillRequest, SendTaskRequest
from mcp_a2a.api.view import View
from mcp_a2a.front.frames import call_name

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

Answerable = TypeVar(
    "Answerable",
    SendTaskRequest,
    SendTaskBySkillRequest,
    ReplyRequest,
    AnswerRequest,
    GetAgentRequest,
    A2ASendRequest,
)
"""Requests by which a text or file may leave."""

PassedOn = TypeVar("PassedOn", SendTaskRequest, SendTaskBySkillRequest, ReplyRequest)
_WithFiles = TypeVar("_WithFiles", bound=Attachments)
_Sending = TypeVar("_Sending", SendTaskRequest, SendTaskBySkillRequest, ReplyRequest, A2ASendRequest)

_PROCESS, _NUMBERS = uuid.uuid4().hex, itertools.count()
"""Together they name a call of this process that was given no name."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A process, and what it was told."""

    allow_strangers: bool = False
    """Send to strangers without asking a person."""
    hop: int = 0
    """The number of agents that passed on the work that this process is a part of."""
    file_roots: tuple[str, ...] = ()
    """Folders that an assistant may attach files from; what a person has set outweighs what a client names."""
    downloads: str | None = None
    """The folder for files of others, if it was named."""
    folder: str | None = None
    """Its working folder, where that is not the one of this process."""

    def prepared(self, request: Request[A]) -> Request[A]:
        """The request with all that counts for it because of its caller."""
        prepare = PREPARED.get(type(request))
        return request if prepare is None else prepare(self, request)  # type: ignore[return-value]  # one of its kind

    def leaving(self, request: PassedOn) -> PassedOn:
        """The request for work of another agent: with consent, hop, files and a key of its own."""
        return once(self.with_files(self.passed_on(self.answered_for(request))))

    def answering(self, request: AnswerRequest) -> AnswerRequest:
        """The answer to a task, with consent and files."""
        return self.with_files(self.answered_for(request))

    def sending(self, request: A2ASendRequest) -> A2ASendRequest:
        """The message of an A2A client, with consent and a key of its own."""
        return once(self.answered_for(request))

    def answered_for(self, request: Answerable) -> Answerable:
        """The request with the consent that the caller was told to give."""
        if not self.allow_strangers or request.consent != "ask":
            return request
        return request.model_copy(update={"consent": "waived"})

    def passed_on(self, request: PassedOn) -> PassedOn:
        """The request with the hop of the task that the caller works on."""
        hop = min(self.hop, MAX_HOP)
        return request if hop <= request.hop else request.model_copy(update={"hop": hop})

    def with_files(self, request: _WithFiles) -> _WithFiles:
        """The request with its files as the caller names them, from the folders that it was told of."""
        if not request.files:
            return request
        files = tuple(file.model_copy(update={"path": self._whole(file.path)}) for file in request.files)
        return request.model_copy(update={"files": files, "roots": self._roots(request.roots)})

    def saving(self, request: SaveFilesRequest) -> SaveFilesRequest:
        """The request with the folder for downloads that the caller was told of."""
        if request.folder is not None or self.downloads is None:
            return request
        return request.model_copy(update={"folder": self.downloads})

    def _roots(self, named: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Folders that a model may attach files from; None where a person names the files."""
        if named is None:
            return None
        return (*(self.file_roots or named), *([self.downloads] if self.downloads else ()))

    def _whole(self, path: str) -> str:
        try:
            return os.path.join(self.folder or os.getcwd(), path)  # noqa: PTH109, PTH118  the text as it is written
        except FileNotFoundError:
            return path  # there is no folder that it could be relative to


NO_CALLER = Caller()
"""A process that was told nothing."""


def once(request: _Sending) -> _Sending:
    """The same call made twice must be the same task."""
    if request.idempotency_key is not None:
        return request
    name = call_name.get() or f"{_PROCESS}-{next(_NUMBERS)}"
    return request.model_copy(update={"idempotency_key": f"{OWN_KEY}{name}"})


_Question = TypeVar("_Question", bound=View)
_Prepare: TypeAlias = Callable[[Caller, View], View]


def _by(kind: type[_Question], prepare: Callable[[Caller, _Question], _Question]) -> tuple[type[View], _Prepare]:
    return kind, cast("_Prepare", prepare)


PREPARED: Mapping[type[View], _Prepare] = dict(
    (
        _by(SendTaskRequest, Caller.leaving),
        _by(SendTaskBySkillRequest, Caller.leaving),
        _by(ReplyRequest, Caller.leaving),
        _by(AnswerRequest, Caller.answering),
        _by(GetAgentRequest, Caller.answered_for),
        _by(SaveFilesRequest, Caller.saving),
        _by(A2ASendRequest, Caller.sending),
    )
)
"""The preparation of each request for its caller; a request without one goes as it is."""


class LentNode:
    """`NodeApi` for one caller: the node of this process, for a client that speaks through another one."""

    def __init__(self, api: NodeApi, caller: Caller) -> None:
        self._api = api
        self._caller = caller

    async def call(self, request: Request[A], /) -> A:
        """See `NodeApi`."""
        return await self._api.call(self._caller.prepared(request))
