"""The official SDK 0.3 as a client of the agent at a URL: prints what it saw, as JSON."""

import asyncio
import base64
import json
import sys

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import (
    DataPart,
    FilePart,
    FileWithBytes,
    FileWithUri,
    Message,
    Part,
    Role,
    TaskIdParams,
    TaskQueryParams,
    TextPart,
    TransportProtocol,
)


def message(text, parts=(), **more):
    content = [Part(root=TextPart(text=text)), *(Part(root=part) for part in parts)]
    return Message(message_id="m-1", role=Role.user, parts=content, **more)


def plain(noun):
    return noun.model_dump(mode="json", by_alias=True, exclude_none=True)


async def all_of(stream):
    seen = []
    async for event in stream:
        if isinstance(event, tuple):
            seen.append({"task": plain(event[0]), "update": plain(event[1]) if event[1] else None})
        else:
            seen.append({"message": plain(event)})
    return seen


async def reason(awaitable):
    try:
        await awaitable
    except Exception as error:
        return str(error)
    return None


async def observe(card, transport):
    http = httpx.AsyncClient(timeout=30)

    def client_of(**more):
        config = ClientConfig(supported_transports=[transport], use_client_preference=True, httpx_client=http, **more)
        return ClientFactory(config).create(card)

    client, streamer, poller = (
        client_of(streaming=False),
        client_of(streaming=True),
        client_of(streaming=False, polling=True),
    )
    seen = {"send": (await all_of(client.send_message(message("hello"))))[-1]}
    task_id = seen["send"]["task"]["id"]
    seen["get"] = plain(await client.get_task(TaskQueryParams(id=task_id)))
    seen["stream"] = await all_of(streamer.send_message(message("stream")))
    seen["direct"] = (await all_of(client.send_message(message("direct"))))[-1]
    asked = (await all_of(client.send_message(message("ask"))))[-1]["task"]
    seen["asked"] = asked
    answer = message("blue", task_id=asked["id"], context_id=asked["contextId"])
    seen["answered"] = (await all_of(client.send_message(answer)))[-1]
    waiting = (await all_of(poller.send_message(message("wait"))))[-1]["task"]
    subscription = streamer.resubscribe(TaskIdParams(id=waiting["id"]))
    await anext(subscription)
    seen["canceled"] = plain(await client.cancel_task(TaskIdParams(id=waiting["id"])))
    seen["subscribed"] = await all_of(subscription)
    file = FilePart(file=FileWithBytes(bytes=base64.b64encode(b"\x00\x01binary").decode(), name="b.bin"))
    link = FilePart(file=FileWithUri(uri="https://example.com/f.txt", name="f.txt", mime_type="text/plain"))
    data = DataPart(data={"integer": 12345678901234567, "one": 1})
    seen["files"] = (await all_of(client.send_message(message("mirror", [file, link, data]))))[-1]
    seen["errors"] = {
        "unknown": await reason(client.get_task(TaskQueryParams(id="nothing"))),
        "canceled": await reason(client.cancel_task(TaskIdParams(id=task_id))),
    }
    await http.aclose()
    return seen


async def main():
    async with httpx.AsyncClient() as http:
        card = await A2ACardResolver(http, sys.argv[1]).get_agent_card()
    transports = {"JSONRPC": TransportProtocol.jsonrpc, "HTTP+JSON": TransportProtocol.http_json}
    print(json.dumps({name: await observe(card, transport) for name, transport in transports.items()}))


asyncio.run(main())
