"""How four clients speak to their models: what a request says, and how an answer is streamed back.

Each dialect is as its API documents it: Anthropic Messages (Claude Code), OpenAI Responses (Codex), OpenAI chat
completions (OpenCode), Gemini generateContent (Gemini CLI).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model wants called."""

    tool: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Result:
    """What the client told the model about a call that it made."""

    tool: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model was given in one request: tools by the names it must use, and the results of its calls so far."""

    tools: tuple[str, ...]
    results: tuple[Result, ...]
    whole: Json
    """The request, as the client wrote it."""

    def tool(self, name: str) -> str | None:
        """The name under which the client offers a tool of ours."""
        return next((offered for offered in self.tools if offered.endswith(name)), None)


class Dialect(ABC):
    """The API of one maker of models."""

    path: str
    """How the path of a request ends."""

    @abstractmethod
    def read(self, body: Json) -> Turn:
        """What a request gives to the model."""

    @abstractmethod
    def stream(self, say: Call | str, number: int) -> Iterator[tuple[str, Json]]:
        """The answer as server-sent events: name ("" for none) and data. `number` makes ids unique."""


class Messages(Dialect):
    """https://docs.anthropic.com/en/api/messages"""

    path = "/messages"

    def read(self, body: Json) -> Turn:
        blocks = [block for message in body.get("messages", ()) for block in _blocks(message.get("content"))]
        names = {block["id"]: block["name"] for block in blocks if block.get("type") == "tool_use"}
        results = (
            Result(names[block["tool_use_id"]], _text(block.get("content")))
            for block in blocks
            if block.get("type") == "tool_result"
        )
        return Turn(tuple(tool["name"] for tool in body.get("tools", ())), tuple(results), body)

    def stream(self, say: Call | str, number: int) -> Iterator[tuple[str, Json]]:
        if isinstance(say, Call):
            block: Json = {"type": "tool_use", "id": f"toolu_{number}", "name": say.tool, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(say.arguments)}
            reason = "tool_use"
        else:
            block, delta, reason = {"type": "text", "text": ""}, {"type": "text_delta", "text": say}, "end_turn"
        message = {
            "id": f"msg_{number}", "type": "message", "role": "assistant", "model": "scripted", "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
        }  # fmt: skip
        for name, data in (
            ("message_start", {"message": message}),
            ("content_block_start", {"index": 0, "content_block": block}),
            ("content_block_delta", {"index": 0, "delta": delta}),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 1}}),
            ("message_stop", {}),
        ):
            yield name, {"type": name, **data}


class Responses(Dialect):
    """https://platform.openai.com/docs/api-reference/responses-streaming

    Tools of an MCP server stand in a namespace; both names together are what calls one. Those that a client keeps back
    are found by `tool_search`, whose output is an item of the conversation from then on.
    """

    path = "/responses"
    _joint = "/"

    def read(self, body: Json) -> Turn:
        items = body.get("input", ())
        found = [tool for item in items if item.get("type") == "tool_search_output" for tool in item["tools"]]
        tools: list[str] = []
        for tool in (*body.get("tools", ()), *found):
            if tool["type"] == "namespace":
                tools += (f"{tool['name']}{self._joint}{inner['name']}" for inner in tool["tools"])
            else:
                tools.append(tool.get("name", tool["type"]))
        names = {item["call_id"]: item["name"] for item in items if item.get("type") == "function_call"}
        results = (
            Result(names[item["call_id"]], _text(item["output"]))
            for item in items
            if item.get("type") == "function_call_output"
        )
        return Turn(tuple(tools), tuple(results), body)

    def stream(self, say: Call | str, number: int) -> Iterator[tuple[str, Json]]:
        item: Json
        if isinstance(say, Call) and say.tool == "tool_search":
            item = {"type": "tool_search_call", "call_id": f"call_{number}", "status": "completed"}
            item |= {"execution": "client", "arguments": say.arguments}
        elif isinstance(say, Call):
            namespace, _, name = say.tool.rpartition(self._joint)
            item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": name}
            item |= {"arguments": json.dumps(say.arguments), "status": "completed"}
            item |= {"namespace": namespace} if namespace else {}
        else:
            content = [{"type": "output_text", "text": say, "annotations": []}]
            item = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
            item |= {"content": content}
        response = {"id": f"resp_{number}", "object": "response", "created_at": 0, "model": "scripted"}
        usage = {
            "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2,
        }  # fmt: skip
        done = {**response, "status": "completed", "output": [item], "usage": usage}
        for name, data in (
            ("response.created", {"response": {**response, "status": "in_progress", "output": []}}),
            ("response.output_item.added", {"output_index": 0, "item": item}),
            ("response.output_item.done", {"output_index": 0, "item": item}),
            ("response.completed", {"response": done}),
        ):
            yield name, {"type": name, **data}


class ChatCompletions(Dialect):
    """https://platform.openai.com/docs/api-reference/chat-streaming"""

    path = "/chat/completions"

    def read(self, body: Json) -> Turn:
        messages = body.get("messages", ())
        names = {
            call["id"]: call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()
        }
        results = (
            Result(names[message["tool_call_id"]], _text(message["content"]))
            for message in messages
            if message["role"] == "tool"
        )
        return Turn(tuple(tool["function"]["name"] for tool in body.get("tools", ())), tuple(results), body)

    def stream(self, say: Call | str, number: int) -> Iterator[tuple[str, Json]]:
        delta: Json = {"role": "assistant"}
        if isinstance(say, Call):
            function = {"name": say.tool, "arguments": json.dumps(say.arguments)}
            delta["tool_calls"] = [{"index": 0, "id": f"call_{number}", "type": "function", "function": function}]
        else:
            delta["content"] = say
        chunk = {"id": f"chat_{number}", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
        reason = "tool_calls" if isinstance(say, Call) else "stop"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        yield "", {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield "", {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}


class GenerateContent(Dialect):
    """https://ai.google.dev/api/generate-content"""

    path = ":streamGenerateContent"

    def read(self, body: Json) -> Turn:
        tools = (inner["name"] for tool in body.get("tools", ()) for inner in tool.get("functionDeclarations", ()))
        answers = (
            part["functionResponse"]
            for content in body.get("contents", ())
            for part in content.get("parts", ())
            if "functionResponse" in part
        )
        # A response is a JSON object, in which a client puts the text of a tool under "output" or "error".
        results = (Result(answer["name"], "\n".join(map(_text, answer["response"].values()))) for answer in answers)
        return Turn(tuple(tools), tuple(results), body)

    def stream(self, say: Call | str, number: int) -> Iterator[tuple[str, Json]]:
        del number
        part = {"functionCall": {"name": say.tool, "args": say.arguments}} if isinstance(say, Call) else {"text": say}
        candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        yield "", {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}


DIALECTS: tuple[Dialect, ...] = (Messages(), Responses(), ChatCompletions(), GenerateContent())


def _blocks(content: object) -> list[Json]:
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _text(content: object) -> str:
    """The text of a result, whichever of its forms a client chose: a string, or a list of blocks."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_text(block.get("text", json.dumps(block))) for block in content)
    return json.dumps(content, ensure_ascii=False)
