"""The tools, resources and prompts that the MCP conformance kit wants to find, on the server our own factory makes.

Run as a program it serves them over HTTP and prints its URL: `python -m tests.conformance.fixture_server`. It keeps
sessions, which the kit's questions in the middle of a call need in the older era.
"""

from __future__ import annotations

import base64
import json
import sys
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.types import (
    AudioContent,
    CallToolResult,
    Completion,
    ContentBlock,
    ElicitResult,
    EmbeddedResource,
    ImageContent,
    SamplingMessage,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field, JsonValue

from mcp_a2a.server.address import Listen
from mcp_a2a.server.http import serve_http
from mcp_a2a.server.sdk import add_method
from mcp_a2a.server.surface import Surface, build_server
from tests.conformance import rounds
from tests.server.standin import StandIn

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="


def text(words: str) -> TextContent:
    return TextContent(type="text", text=words)


def image() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, mime_type: str, words: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=words))


def outcome(result: ElicitResult) -> list[ContentBlock]:
    content = json.dumps(result.content)
    return [text(f"Elicitation completed: action={result.action}, content={content}")]


# --- tools that only answer --------------------------------------------------------------------------


async def test_simple_text() -> list[ContentBlock]:
    """Answer with a text."""
    return [text("This is a simple text response for testing.")]


async def test_image_content() -> list[ContentBlock]:
    """Answer with an image."""
    return [image()]


async def test_audio_content() -> list[ContentBlock]:
    """Answer with a sound."""
    return [AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


async def test_embedded_resource() -> list[ContentBlock]:
    """Answer with a resource."""
    return [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


async def test_multiple_content_types() -> list[ContentBlock]:
    """Answer with several kinds of content."""
    data = json.dumps({"test": "data", "value": 123})
    return [
        text("Multiple content types test:"),
        image(),
        embedded("test://mixed-content-resource", "application/json", data),
    ]


async def test_error_handling() -> CallToolResult:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


# --- tools that talk to the client while they run ------------------------------------------------------


async def test_tool_with_logging(ctx: Context) -> list[ContentBlock]:
    """Log three times."""
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(words)
        await anyio.sleep(0.05)
    return [text("logged")]


async def test_tool_with_progress(ctx: Context) -> list[ContentBlock]:
    """Report progress three times."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
        await anyio.sleep(0.05)
    return [text("done")]


async def test_sampling(prompt: str, ctx: Context) -> list[ContentBlock]:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=text(prompt))
    result = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    words = result.content.text if isinstance(result.content, TextContent) else ""
    return [text(f"LLM response: {words}")]


async def ask(ctx: Context, message: str, properties: dict[str, object], *required: str) -> ElicitResult:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)


async def test_elicitation(message: str, ctx: Context) -> list[ContentBlock]:
    """Ask the user for two texts."""
    properties: dict[str, object] = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    result = await ask(ctx, message, properties, "username", "email")
    return [text(f"User response: action={result.action}, content={json.dumps(result.content)}")]


async def test_elicitation_sep1034_defaults(ctx: Context) -> list[ContentBlock]:
    """Ask the user with defaults."""
    properties: dict[str, object] = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return outcome(await ask(ctx, "Please check the defaults", properties))


async def test_elicitation_sep1330_enums(ctx: Context) -> list[ContentBlock]:
    """Ask the user to choose in five ways."""
    plain = ["option1", "option2", "option3"]
    titled = [
        {"const": "value1", "title": "First Option"},
        {"const": "value2", "title": "Second Option"},
        {"const": "value3", "title": "Third Option"},
    ]
    properties: dict[str, object] = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return outcome(await ask(ctx, "Please choose", properties))


# --- tools that are looked at -----------------------------------------------------------------------------


async def test_param_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Answer with an argument that stands in a header of HTTP too."""
    return region


SCHEMA: Mapping[str, JsonValue] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def add_tool_with_schema(server: Surface) -> None:
    """A tool whose schema has what pydantic does not write."""

    async def json_schema_2020_12_tool() -> str:
        """Be listed."""
        return "listed"

    server.add_tool(json_schema_2020_12_tool, structured_output=False)
    tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert tool is not None
    tool.parameters = dict(SCHEMA)


TOOLS = (
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_error_handling,
    test_tool_with_logging,
    test_tool_with_progress,
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_param_header,
)


def add_resources(server: Surface) -> None:
    @server.resource("test://static-text", mime_type="text/plain", description="A text")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png", description="An image")
    def static_binary() -> bytes:
        return base64.b64decode(PNG)

    @server.resource("test://watched-resource", mime_type="text/plain", description="A text to subscribe to")
    def watched() -> str:
        return "Watched."

    @server.resource("test://template/{id}/data", mime_type="application/json", description="Data by id")
    def template(id: str) -> str:  # noqa: A002  the kit's name
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def add_subscriptions(server: Surface) -> None:
    watched: set[str] = set()

    def subscribe(params: SubscribeRequestParams) -> None:
        watched.add(str(params.uri))

    def unsubscribe(params: UnsubscribeRequestParams) -> None:
        watched.discard(str(params.uri))

    add_method(server, "resources/subscribe", SubscribeRequestParams, subscribe)
    add_method(server, "resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)


def add_prompts(server: Surface) -> None:
    @server.prompt(description="A prompt")
    def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt(description="A prompt with arguments")
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(description="A prompt with a resource")
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[ContentBlock]:  # noqa: N803  the kit's name
        return [
            embedded(resourceUri, "text/plain", "Embedded resource content for testing."),
            text("Please process the embedded resource above."),
        ]

    @server.prompt(description="A prompt with an image")
    def test_prompt_with_image() -> list[ContentBlock]:
        return [image(), text("Please analyze the image above.")]

    @server.completion()
    async def complete(*_: object) -> Completion:
        return Completion(values=["paris", "park", "party"], total=3, has_more=False)


def fixture_server() -> Surface:
    """Our server, with the kit's fixtures beside our tools."""
    server = build_server(StandIn())
    for tool in (*TOOLS, *rounds.TOOLS):
        server.add_tool(tool, structured_output=False)
    add_tool_with_schema(server)
    add_resources(server)
    add_subscriptions(server)
    add_prompts(server)
    rounds.add_prompt(server)
    return server


async def main() -> None:
    async with anyio.create_task_group() as group:
        url = await group.start(partial(serve_http, fixture_server(), Listen("127.0.0.1", 0), stateless=False))
        sys.stdout.write(f"{url}/mcp\n")
        sys.stdout.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # the kit tests what 2026-07-28 deprecates
    anyio.run(main)
