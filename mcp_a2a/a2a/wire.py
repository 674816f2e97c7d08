"""Plain ASGI: a body is read within its limit, an answer is sent, and a client that hangs up is noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from typing import TypeVar

import anyio
from starlette.types import Message, Receive, Scope, Send

from mcp_a2a.a2a.body import Reply
from mcp_a2a.a2a.faults import Fault, Kind, retry_after
from mcp_a2a.a2a.rest import query_of

T = TypeVar("T")

EVENT_STREAM = b"text/event-stream"

MAX_BODY_BYTES = 4 * 1024 * 1024
KEEP_ALIVE_SECONDS = 15.0
KEEP_ALIVE = b": still here\n\n"


async def read_body(receive: Receive, declared: str | None = None) -> bytes:
    """The whole body; what is too large is refused before it is read, if that is `declared`, or while it is.

    Raises:
        Fault
    """
    if declared is not None and declared.isdigit() and int(declared[:20]) > MAX_BODY_BYTES:
        raise _too_large()
    message = await _next(receive)
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= MAX_BODY_BYTES:
        return body
    chunks, size = [body], len(body)
    while message.get("more_body", False):
        if size > MAX_BODY_BYTES:
            break
        message = await _next(receive)
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
    if size > MAX_BODY_BYTES:
        raise _too_large()
    return b"".join(chunks)


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":  # what came is not what was meant, though it may read as such
        raise Fault(Kind.INVALID_REQUEST, "The rest of the body did not come.")
    return message


def _too_large() -> Fault:
    return Fault(Kind.TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES:,} bytes.")


async def unless_gone(serving: Awaitable[T], receive: Receive) -> T | None:
    """The outcome; None when the client hung up before. The task it asked for goes on."""
    async with anyio.create_task_group() as group:
        gone = False

        async def watch() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            outcome: T | Exception = await serving
        except Exception as error:  # noqa: BLE001  raised outside of the group, which would wrap it
            outcome = error
        group.cancel_scope.cancel()
    if gone:
        return None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


Headers = Sequence[tuple[bytes, bytes]]


async def send_reply(send: Send, receive: Receive, status: int, reply: Reply, more: Headers = ()) -> None:
    """A reply of a binding: at once, event by event, or nothing to say; with `more` headers."""
    if reply.events is not None and reply.first is not None:
        await unless_gone(_send_events(send, reply.first, reply.events, more), receive)
    elif reply.body is None:
        await send_json(send, 202, b"", reply.media_type)
    else:
        later = retry_after(reply.fault) if reply.fault else []
        await send_json(send, status, reply.body, reply.media_type, [*later, *more])


async def _send_events(send: Send, first: bytes, events: AsyncIterator[bytes], more: Headers) -> bool:
    """Send Server-Sent Events, and a comment now and then, so that no proxy takes the silence for an end."""
    headers = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"), *more]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await _send_piece(send, _frame(first))
    writing = anyio.Lock()

    async def keep_alive() -> None:
        while True:
            await anyio.sleep(KEEP_ALIVE_SECONDS)
            async with writing:
                await _send_piece(send, KEEP_ALIVE)

    async with anyio.create_task_group() as group:
        group.start_soon(keep_alive)
        async for event in events:
            async with writing:
                await _send_piece(send, _frame(event))
        group.cancel_scope.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


async def send_chunks(send: Send, chunks: AsyncIterator[bytes]) -> bool:
    """A body that is longer than memory should hold; the end is for the caller to send."""
    async for chunk in chunks:
        await _send_piece(send, chunk)
    return True


def _frame(event: bytes) -> bytes:
    return b"data: " + event + b"\n\n"


async def _send_piece(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


async def send_json(
    send: Send, status: int, body: bytes, media_type: bytes, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", media_type), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The first header of that name, which is in lower case."""
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def query(scope: Scope, name: str) -> str | None:
    """A text in the query."""
    value = query_of(scope["query_string"].decode("latin-1")).get(name)
    return value if isinstance(value, str) else None
