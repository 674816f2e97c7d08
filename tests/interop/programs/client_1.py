"""The official SDK 1.x as a client of the agent at a URL: prints what it saw, as JSON."""

import asyncio
import json
import sys

import grpc
import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
)
from google.protobuf.json_format import MessageToDict


def request(text, parts=(), **more):
    configuration = more.pop("configuration", None)
    message = Message(message_id="m-1", role=Role.ROLE_USER, parts=[Part(text=text), *parts], **more)
    return SendMessageRequest(message=message, configuration=configuration)


async def events_of(stream):
    return [MessageToDict(event) async for event in stream]


async def first(client, asked):
    (event,) = await events_of(client.send_message(asked))
    return event


async def reason(awaitable):
    try:
        await awaitable
    except Exception as error:
        return type(error).__name__
    return None


async def observe(url, binding):
    http = httpx.AsyncClient(timeout=30)
    factory = {
        streaming: ClientFactory(
            ClientConfig(
                streaming=streaming,
                supported_protocol_bindings=[binding],
                use_client_preference=True,
                httpx_client=http,
                grpc_channel_factory=grpc.aio.insecure_channel,
            )
        )
        for streaming in (False, True)
    }
    client, streamer = [await factory[streaming].create_from_url(url) for streaming in (False, True)]
    seen = {"send": await first(client, request("hello"))}
    task_id = seen["send"]["task"]["id"]
    seen["get"] = MessageToDict(await client.get_task(GetTaskRequest(id=task_id)))
    seen["stream"] = await events_of(streamer.send_message(request("stream")))
    seen["direct"] = await first(client, request("direct"))
    asked = (await first(client, request("ask")))["task"]
    seen["asked"] = asked
    seen["answered"] = await first(client, request("blue", task_id=asked["id"], context_id=asked["contextId"]))
    at_once = SendMessageConfiguration(return_immediately=True)
    waiting = (await first(client, request("wait", configuration=at_once)))["task"]
    subscription = streamer.subscribe(SubscribeToTaskRequest(id=waiting["id"]))
    seen["subscribed"] = [MessageToDict(await anext(subscription))]
    seen["canceled"] = MessageToDict(await client.cancel_task(CancelTaskRequest(id=waiting["id"])))
    seen["subscribed"] += await events_of(subscription)
    seen["listed"] = MessageToDict(await client.list_tasks(ListTasksRequest(page_size=2)))
    raw = Part(raw=b"\x00\x01binary", filename="b.bin", media_type="application/octet-stream")
    link = Part(url="https://example.com/f.txt", filename="f.txt", media_type="text/plain")
    seen["files"] = await first(client, request("mirror", [raw, link]))
    seen["errors"] = {
        "unknown": await reason(client.get_task(GetTaskRequest(id="nothing"))),
        "canceled": await reason(client.cancel_task(CancelTaskRequest(id=task_id))),
        "ended": await reason(first(client, request("more", task_id=task_id))),
        "media_type": await reason(first(client, request("x", [Part(raw=b"x", media_type="video/mp4")]))),
    }
    await http.aclose()
    return seen


async def main():
    print(json.dumps({binding: await observe(sys.argv[1], binding) for binding in sys.argv[2:]}))


asyncio.run(main())
