"""Documents of A2A 0.3: what one end writes is read by the other as it was meant, in both bindings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.a2a.body import read
from mcp_a2a.a2a.client_read import read_answer, read_event
from mcp_a2a.a2a.legacy import JSON_RPC, REST, Binding
from mcp_a2a.a2a.params import SendParams
from mcp_a2a.api.a2a import A2AAnswer
from mcp_a2a.protocol.model import Message, Part, Role, StreamResponse, TaskDocument, TaskState, TaskStatus

BINDINGS = st.sampled_from([JSON_RPC, REST])
WORDS = st.text(min_size=1, max_size=8)
OBJECTS = st.none() | st.dictionaries(st.sampled_from(["data", "text", "x"]), st.integers() | st.none(), max_size=2)
NAMED = {"metadata": OBJECTS, "filename": st.none() | WORDS, "media_type": st.none() | WORDS}
PARTS = (
    st.builds(Part, text=st.text(max_size=8), metadata=OBJECTS)
    | st.builds(Part, raw=st.sampled_from(["", "aGk="]), **NAMED)
    | st.builds(Part, url=st.just("https://files.example/a"), **NAMED)
    | st.builds(Part, data=OBJECTS.filter(lambda value: value is not None), metadata=OBJECTS)
)
MESSAGES = st.builds(
    Message,
    messageId=WORDS,
    role=st.sampled_from(Role),
    parts=st.lists(PARTS, min_size=1, max_size=3).map(tuple),
    metadata=OBJECTS,
    context_id=st.none() | WORDS,
    task_id=st.none() | WORDS,
    extensions=st.none() | st.just(("urn:x",)),
)


@given(BINDINGS, MESSAGES)
def test_a_message_that_our_client_writes_is_read_by_our_server_as_it_was(binding: Binding, message: Message) -> None:
    params = binding.send_params({"message": binding.message(message)})
    assert read(SendParams, params).message == message


@given(MESSAGES)
def test_only_json_rpc_names_other_tasks(message: Message) -> None:
    naming = message.model_copy(update={"reference_task_ids": ("t-1",)})
    assert read(SendParams, JSON_RPC.send_params({"message": JSON_RPC.message(naming)})).message == naming
    assert REST.message(naming) == REST.message(message)


@given(BINDINGS, MESSAGES, st.sampled_from(TaskState), WORDS)
def test_a_task_that_our_server_writes_is_read_by_our_client_as_it_was(
    binding: Binding, message: Message, state: TaskState, context: str
) -> None:
    said = message.model_copy(update={"role": Role.AGENT, "extensions": None, "parts": (Part(text="x"),)})
    task = TaskDocument(id="t", context_id=context, status=TaskStatus(state=state, message=said))
    assert read_answer(binding.answer(A2AAnswer(task=task))) == task
    assert read_event(binding.event(StreamResponse(task=task))) == StreamResponse(task=task)
    assert read_answer(binding.answer(A2AAnswer(task=task, reply=said))) == said


@pytest.mark.parametrize("binding", [JSON_RPC, REST])
def test_what_is_no_object_is_put_into_one(binding: Binding) -> None:
    message = Message(message_id="m", role=Role.USER, parts=(Part(data=[1]),))
    (part,) = read(SendParams, binding.send_params({"message": binding.message(message)})).message.parts
    assert part.data == {"value": [1]}
