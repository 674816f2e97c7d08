"""The table of operations: each question names its answer, both survive the wire, and one method answers each."""

from __future__ import annotations

import ast
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import MappingProxyType, ModuleType, NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

import mcp_a2a
from mcp_a2a import relay_operator
from mcp_a2a.api import a2a, agents, diagnostics, operations, relay, tasks
from mcp_a2a.api.a2a import A2APushGetRequest, A2APushRequest, A2ASendRequest
from mcp_a2a.api.agents import GetAgentRequest
from mcp_a2a.api.diagnostics import PingRequest, PingView
from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.api.networks import NetworksRequest
from mcp_a2a.api.operations import OPERATIONS, operations_of
from mcp_a2a.api.request import Request, answer_of
from mcp_a2a.api.tasks import GetTaskRequest, ReplyRequest, SendTaskBySkillRequest, SendTaskRequest, TaskView
from mcp_a2a.api.view import AgentRef, View
from mcp_a2a.node.agents.discovery import Discovery
from mcp_a2a.node.agents.known_agents import KnownAgents
from mcp_a2a.node.agents.own_agent import OwnAgent
from mcp_a2a.node.agents.questions import Agents
from mcp_a2a.node.agents.reach import Reach
from mcp_a2a.node.ipc.caller import NO_CALLER, PREPARED, Caller, LentNode
from mcp_a2a.node.ipc.stream import set_fields
from mcp_a2a.node.networks.inviting import Inviting
from mcp_a2a.node.networks.joining import Joining
from mcp_a2a.node.networks.membership import Membership
from mcp_a2a.node.networks.renewal import Renewal
from mcp_a2a.node.offline import NothingYet, RestingApi
from mcp_a2a.node.runtime.handlers import MARK, LocalNode, answers, handlers_of
from mcp_a2a.node.tasks.a2a_tasks import A2ATasks
from mcp_a2a.node.tasks.forgetting import Forgetting
from mcp_a2a.node.tasks.leasing import Leasing
from mcp_a2a.node.tasks.news import News
from mcp_a2a.node.tasks.questions import Tasks
from mcp_a2a.node.tasks.trust_decisions import TrustDecisions
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.relay_operator import Operator

NAMES = (
    "discover get_agent rename peers add_peer consent news set_trust send_task send_task_by_skill get_task "
    "reply_to_task cancel_task forget list_tasks check_inbox invite join networks leave rotate ping netcheck "
    "answer_task open_files save_files a2a_send a2a_get a2a_list a2a_cancel a2a_follow a2a_card a2a_push_set "
    "a2a_push_get a2a_push_delete"
)
"""As processes of other versions say them."""


MESSAGE = Message(message_id="m", role=Role.USER, parts=(Part(text="text"),))


EVERY = {**OPERATIONS, **relay_operator.OPERATIONS}
"""With those of a relay, which its operator asks."""

MODELS = {name: model for subject in (*operations.SUBJECTS, relay) for name, model in vars(subject).items()}
"""Every question and answer by its name."""


def marked(kind: type[object]) -> Mapping[type[Request[View]], Callable[..., Awaitable[View]]]:
    """The methods of a class that answer questions, as they stand in it."""
    return {getattr(method, MARK): method for method in vars(kind).values() if hasattr(method, MARK)}


WHOLE_VALUES: Mapping[object, Any] = {
    str: "text", int: 1, float: 1.0, bool: True, Part: Part(text="text"), Message: MESSAGE
}  # fmt: skip


def value_of(kind: Any) -> Any:
    """A value of a type, the smallest that says something."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        value = value_of(arguments[0])
    elif origin is Literal:
        value = arguments[0]
    elif origin in (Union, UnionType):
        value = value_of(next(one for one in arguments if one is not NoneType))
    elif origin is tuple:
        value = (value_of(arguments[0]),)
    elif origin is dict:
        value = {"key": value_of(arguments[1])}
    elif kind in WHOLE_VALUES:
        value = WHOLE_VALUES[kind]
    elif isinstance(kind, type) and issubclass(kind, Enum):
        value = next(iter(kind))
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        value = sample(kind)
    else:
        value = "any JSON"
    return value


def sample(kind: type[BaseModel]) -> BaseModel:
    """An instance with a value in each field that needs one."""
    hints = get_type_hints(kind, include_extras=True)
    needed = [name for name, field in kind.model_fields.items() if field.is_required()]
    return kind.model_validate({name: value_of(hints[name]) for name in needed}, by_name=True)


# --- the table -----------------------------------------------------------------------------------


def test_every_operation_keeps_the_name_that_other_versions_know() -> None:
    assert sorted(OPERATIONS) == sorted(NAMES.split())
    assert all(kind.operation == name for name, kind in OPERATIONS.items())


@pytest.mark.parametrize("name", EVERY)
def test_a_question_and_its_answer_survive_the_wire(name: str) -> None:
    for kind in (EVERY[name], answer_of(EVERY[name])):
        told = sample(kind)
        assert kind.model_validate(json.loads(json.dumps(set_fields(told)))) == told


@pytest.mark.parametrize("name", EVERY)
def test_the_answer_of_a_question_is_a_whole_view_and_no_question(name: str) -> None:
    answer = answer_of(EVERY[name])
    assert answer.model_fields
    assert not issubclass(answer, Request)


def test_a_base_of_questions_is_no_operation() -> None:
    assert issubclass(A2APushGetRequest, A2APushRequest)
    assert A2APushRequest not in OPERATIONS.values()
    assert not issubclass(A2APushRequest, Request)


def test_a_class_that_names_no_answer_is_refused() -> None:
    with pytest.raises(TypeError, match="Request names no answer"):
        answer_of(Request)


def test_one_name_for_two_questions_is_refused() -> None:
    class Other(Request[PingView]):
        operation: ClassVar[str] = "ping"

    double = ModuleType("double")
    double.Other = Other  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="ping is PingRequest and Other"):
        operations_of(diagnostics, double)


def test_a_question_that_a_second_module_imports_is_one_operation() -> None:
    borrowed = ModuleType("borrowed")
    borrowed.PingRequest = PingRequest  # type: ignore[attr-defined]
    assert operations_of(diagnostics, borrowed) == operations_of(diagnostics)


def test_the_table_has_every_subject_that_asks_something() -> None:
    assert isinstance(OPERATIONS, MappingProxyType)
    assert {a2a, agents, diagnostics, tasks} < set(operations.SUBJECTS)
    assert all(operations_of(subject) for subject in operations.SUBJECTS)


# --- who answers ---------------------------------------------------------------------------------


SERVICES = (
    A2ATasks, Agents, Discovery, Joining, Forgetting, Inviting, KnownAgents, Leasing, Membership, News, OwnAgent,
    Reach, Renewal, Tasks, TrustDecisions,
)  # fmt: skip
"""What a node that runs is made of, as far as it answers questions."""


def test_a_node_has_one_method_for_every_operation() -> None:
    found = [kind for service in SERVICES for kind in marked(service)]
    assert len(found) == len(set(found))
    assert set(found) == set(OPERATIONS.values())


def test_a_relay_has_one_method_for_every_question_of_its_operator() -> None:
    assert set(marked(Operator)) == set(relay_operator.OPERATIONS.values())


@pytest.mark.parametrize("service", [*SERVICES, RestingApi, NothingYet, Operator])
def test_a_method_takes_the_question_that_it_is_marked_with_and_returns_its_answer(service: type[object]) -> None:
    for kind, method in marked(service).items():
        hints = get_type_hints(method, MODELS)
        answer = hints.pop("return")
        assert (list(hints.values()), answer) == ([kind], answer_of(kind)), method.__qualname__


def test_an_identity_at_rest_answers_the_same_questions_as_one_that_was_never_used() -> None:
    assert set(marked(RestingApi)) == set(marked(NothingYet))


class Service:
    """A service with a second method, which answers nothing."""

    @answers(PingRequest)
    async def ping(self, request: PingRequest) -> PingView:
        return PingView(agent=AgentRef(name=request.agent, did="did:key:z"))

    async def other(self, request: PingRequest) -> None:
        raise AssertionError(request)


class Changed(Service):
    """The same with another answer."""

    async def ping(self, request: PingRequest) -> PingView:
        return (await super().ping(request)).model_copy(update={"ms": 1.0})


async def test_a_question_goes_to_the_method_that_is_marked_for_its_class() -> None:
    answer = await LocalNode(Service()).call(PingRequest(agent="rev"))
    assert answer.agent.name == "rev"
    assert list(handlers_of(Service())) == [PingRequest]


async def test_a_method_that_is_overridden_answers_instead() -> None:
    assert (await LocalNode(Changed()).call(PingRequest(agent="rev"))).ms == 1.0


async def test_a_question_that_no_service_answers_is_a_lookup_error() -> None:
    with pytest.raises(LookupError):
        await LocalNode(Service()).call(NetworksRequest())


def test_two_services_for_one_question_are_refused() -> None:
    with pytest.raises(TypeError, match="ping of Changed is the second method for PingRequest"):
        handlers_of(Service(), Changed())


# --- who asks ------------------------------------------------------------------------------------


class Asked(LentNode):
    """Keeps what the node of a caller is asked, which answers with the smallest view."""

    def __init__(self, caller: Caller) -> None:
        self.asked: list[Any] = []
        super().__init__(Answering(self.asked), caller)


class Answering:
    """Such a node."""

    def __init__(self, asked: list[Any]) -> None:
        self._asked = asked

    async def call(self, request: Any, /) -> Any:
        self._asked.append(request)
        return sample(answer_of(type(request)))


SENT = (
    SendTaskRequest(agent="rev", message="x"),
    SendTaskBySkillRequest(skill="s", message="x"),
    ReplyRequest(task_id="task-1", message="x"),
    A2ASendRequest(message=MESSAGE),
)


@pytest.mark.parametrize("request_", SENT, ids=lambda one: type(one).__name__)
async def test_what_is_sent_has_a_key_of_its_call_and_keeps_one_that_it_has(request_: Any) -> None:
    node = Asked(NO_CALLER)
    await node.call(request_)
    await node.call(request_)
    await node.call(request_.model_copy(update={"idempotency_key": "mine"}))
    first, second, third = (asked.idempotency_key for asked in node.asked)
    assert first.startswith(a2a.OWN_KEY)
    assert first != second
    assert third == "mine"


@pytest.mark.parametrize(
    "request_", [*SENT, AnswerRequest(task_id="t", status="completed"), GetAgentRequest(agent="rev")],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
async def test_only_a_caller_that_was_told_so_asks_without_a_person(request_: Any) -> None:
    told, plain = Asked(Caller(allow_strangers=True)), Asked(NO_CALLER)
    await told.call(request_)
    await plain.call(request_)
    assert [told.asked[0].consent, plain.asked[0].consent] == ["waived", "ask"]


async def test_a_question_without_a_preparation_goes_as_it_is() -> None:
    node, asked = Asked(Caller(allow_strangers=True, hop=2, downloads="/d")), GetTaskRequest(task_id="task-1")
    assert isinstance(await node.call(asked), TaskView)
    assert node.asked == [asked]
    assert node.asked[0] is asked


def test_every_question_with_consent_files_hop_or_a_folder_is_prepared() -> None:
    marks = {"files", "hop", "folder", "idempotency_key"}
    by_field = {kind for kind in OPERATIONS.values() if marks & set(kind.model_fields)}
    own_answer = {OPERATIONS["consent"]}  # `files` of it is a yes or no, given by a person
    assert set(PREPARED) == (by_field - own_answer) | {GetAgentRequest}


# --- two files for an operation ------------------------------------------------------------------


def listed_in(tree: ast.AST) -> Iterator[set[str]]:
    """What each display of a module lists: the names and the texts in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict | ast.Call | ast.Match):
            inner = ast.walk(node)
            yield {
                one.id if isinstance(one, ast.Name) else str(one.value)
                for one in inner
                if isinstance(one, ast.Name | ast.Constant)
            }


def test_the_operations_are_listed_nowhere_so_that_a_new_one_is_its_question_and_its_method() -> None:
    named = [set(OPERATIONS), {kind.__name__ for kind in OPERATIONS.values()}]
    root = Path(mcp_a2a.__file__).parent
    for file in root.rglob("*.py"):
        for listed in listed_in(ast.parse(file.read_text())):
            assert all(len(listed & names) < len(names) / 2 for names in named), file
