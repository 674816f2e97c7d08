"""What the MCP conformance kit wants to find for 2026-07-28: tools and a prompt that ask the client in rounds.

A question is the result of a call, and the client calls again with the answers (MCP 2026-07-28, Multi Round-Trip
Requests). What is remembered in between travels with it, sealed by our server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ClientCapabilities,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    MissingRequiredClientCapabilityErrorData,
    SamplingCapability,
    SamplingMessage,
    TextContent,
)

from mcp_a2a.server.surface import Surface

Round: TypeAlias = list[ContentBlock] | InputRequiredResult


def _said(words: str) -> list[ContentBlock]:
    return [TextContent(type="text", text=words)]


def _form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sampling(prompt: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=100))


def _ask(ctx: Context, questions: Mapping[str, InputRequest], state: str | None = None) -> InputRequiredResult | None:
    """These questions, while one of them has no answer that fits it."""
    answers = ctx.input_responses or {}
    if all(key in answers and _fits(question, answers[key]) for key, question in questions.items()):
        return None
    return InputRequiredResult(input_requests=dict(questions), request_state=state)


def _fits(question: InputRequest, answer: object) -> bool:
    return not isinstance(question, ElicitRequest) or isinstance(answer, ElicitResult)


def _answered(ctx: Context, key: str) -> str:
    answer = (ctx.input_responses or {})[key]
    return json.dumps(answer.model_dump(mode="json", by_alias=True, exclude_none=True))


# --- one question --------------------------------------------------------------------------------


async def test_input_required_result_elicitation(ctx: Context) -> Round:
    """Ask for a name."""
    return _ask(ctx, {"user_name": _form("What is your name?", "name")}) or _said(_answered(ctx, "user_name"))


async def test_input_required_result_sampling(ctx: Context) -> Round:
    """Ask the client's model."""
    questions = {"capital_question": _sampling("What is the capital of France?")}
    return _ask(ctx, questions) or _said(_answered(ctx, "capital_question"))


async def test_input_required_result_list_roots(ctx: Context) -> Round:
    """Ask for the client's folders."""
    return _ask(ctx, {"client_roots": ListRootsRequest()}) or _said(_answered(ctx, "client_roots"))


async def test_input_required_result_capabilities(ctx: Context) -> Round:
    """Ask in the ways that the client can answer."""
    capabilities = ctx.client_capabilities or ClientCapabilities()
    questions: dict[str, InputRequest] = {}
    if capabilities.elicitation is not None:
        questions["user_name"] = _form("What is your name?", "name")
    if capabilities.sampling is not None:
        questions["greeting"] = _sampling("Generate a greeting")
    return _ask(ctx, questions) or _said("Asked in every way that there is.")


# --- what is remembered between the rounds -------------------------------------------------------


async def test_input_required_result_request_state(ctx: Context) -> Round:
    """Ask, and find again what was remembered."""
    asked = _ask(ctx, {"confirm": _form("Please confirm", "ok", "boolean")}, "to confirm")
    return asked or _said("state-ok" if ctx.request_state == "to confirm" else "state lost")


async def test_input_required_result_tampered_state(ctx: Context) -> Round:
    """Ask, and take only what was remembered unchanged."""
    return await test_input_required_result_request_state(ctx)


async def test_input_required_result_multiple_inputs(ctx: Context) -> Round:
    """Ask three things at once."""
    questions: dict[str, InputRequest] = {
        "user_name": _form("What is your name?", "name"),
        "greeting": _sampling("Generate a greeting"),
        "client_roots": ListRootsRequest(),
    }
    return _ask(ctx, questions, "three") or _said(", ".join(_answered(ctx, key) for key in questions))


async def test_input_required_result_multi_round(ctx: Context) -> Round:
    """Ask one thing after the other."""
    first = {"step1": _form("Step 1: What is your name?", "name")}
    second = {"step2": _form("Step 2: What is your favorite color?", "color")}
    if ctx.request_state is None or (ctx.request_state == "round 1" and _ask(ctx, first) is not None):
        return InputRequiredResult(input_requests=dict(first), request_state="round 1")
    return _ask(ctx, second, "round 2") or _said(_answered(ctx, "step2"))


# --- for the scenario of a server without sessions ----------------------------------------------


async def test_missing_capability(ctx: Context) -> Round:
    """Refuse a client that cannot sample."""
    capabilities = ctx.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        needed = MissingRequiredClientCapabilityErrorData(
            required_capabilities=ClientCapabilities(sampling=SamplingCapability())
        )
        data = needed.model_dump(by_alias=True, mode="json", exclude_none=True)
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "This needs a client that samples.", data)
    return _said("It can sample.")


async def test_streaming_elicitation(ctx: Context) -> Round:
    """Report progress, then ask."""
    await ctx.report_progress(1, 2)
    return _ask(ctx, {"user_name": _form("What is your name?", "name")}) or _said(_answered(ctx, "user_name"))


async def test_logging_tool(ctx: Context) -> Round:
    """Log once."""
    await ctx.info("A line of a log")
    return _said("logged")


async def test_trigger_tool_change(ctx: Context) -> Round:
    """Say that the list of tools changed."""
    await ctx.notify_tools_changed()
    return _said("told")


async def test_trigger_prompt_change(ctx: Context) -> Round:
    """Say that the list of prompts changed."""
    await ctx.notify_prompts_changed()
    return _said("told")


TOOLS: tuple[Callable[..., object], ...] = (
    test_input_required_result_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_capabilities,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
    test_missing_capability,
    test_streaming_elicitation,
    test_logging_tool,
    test_trigger_tool_change,
    test_trigger_prompt_change,
)


def add_prompt(server: Surface) -> None:
    """The prompt that asks before it is written."""

    @server.prompt(description="A prompt that asks for its context")
    async def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
        questions = {"user_context": _form("What context should the prompt use?", "context")}
        return _ask(ctx, questions) or f"Use this context: {_answered(ctx, 'user_context')}"
