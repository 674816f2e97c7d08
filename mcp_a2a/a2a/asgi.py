"""The A2A server as an ASGI application: cards, both bindings, for our own agent and for every agent behind this node.

| path | serves |
|---|---|
| `/` | our own agent: JSON-RPC by POST, HTTP+JSON below it |
| `/a/NAME/` | an agent behind this node, by name or did |
| `…/.well-known/agent-card.json` | its card |
| `…/files/TASK/FILE` | a file of a task, that is too large to stand in an answer |
| `/a2a/jsonrpc`, `/a2a/send`, `/a2a/peers`, `/health` | what clients of older systems call |

Plain ASGI without a framework: routing and request objects cost more than the operation itself.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote, urlsplit

import anyio
from pydantic import JsonValue
from starlette.types import Receive, Scope, Send

from mcp_a2a.a2a import jsonrpc, legacy, rest
from mcp_a2a.a2a.card import MAX_AGE_SECONDS, PATHS, Style, Terms, card_json, etag_of
from mcp_a2a.a2a.dispatch import Dispatch, Service
from mcp_a2a.a2a.faults import Fault, Kind, told
from mcp_a2a.a2a.files import open_file
from mcp_a2a.a2a.jsonrpc import Reply, dump
from mcp_a2a.errors import McpA2AError
from mcp_a2a.exchange import OWNER, A2ACardRequest, A2ASendRequest
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.protocol.text import preview
from mcp_a2a.views import DiscoverRequest, GetAgentRequest, PeersRequest

if TYPE_CHECKING:
    from mcp_a2a.exchange import A2AAnswer
    from mcp_a2a.ports import NodeApi
    from mcp_a2a.protocol.model import AgentCard
    from mcp_a2a.views import AgentDetail

T = TypeVar("T")

JSON = b"application/json"
A2A_JSON = b"application/a2a+json"
EVENT_STREAM = b"text/event-stream"

MAX_BODY_BYTES = 4 * 1024 * 1024
KEEP_ALIVE_SECONDS = 15.0
KEEP_ALIVE = b": still here\n\n"

CALLER = "mcp_a2a.caller"
"""Where the guard in front leaves the name of the caller in the scope."""

BEHIND = "/a/"

FILES = "/files/"


@dataclass(frozen=True)
class Offer:
    """How this server presents itself."""

    style: Style = "dual"
    push: bool = False
    token: bool = False
    url: str | None = None
    """How others reach it, where that is not the address that they called."""
    grpc: str | None = None
    """[HOST]:PORT at which our own agent is served by gRPC, if it is; without a host, at that of the card."""


KNOWN_SECONDS = 2.0
"""A card is asked for again so soon: asking costs more than a request."""

MAX_KNOWN = 1_000


@dataclass(frozen=True)
class _Request:
    """What a request is about."""

    agent: str
    base: str
    """The path that its agent is served at, without a slash at its end."""
    path: str
    """What comes behind that, with one before it."""


class A2AApp:
    """The ASGI application."""

    def __init__(self, node: NodeApi, offer: Offer) -> None:
        self._node = node
        self._offer = offer
        self._dispatch = Dispatch(node)
        self._known: dict[str, tuple[float, AgentDetail]] = {}
        self._signed: tuple[bytes, bytes] | None = None
        """Our card as it was last shown, without and with its signatures."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever it is."""
        try:
            await self._answer(scope, receive, send)
        except (Fault, McpA2AError) as error:
            fault = told(error)
            await _send_json(send, fault.kind.value.http, dump(fault.http_error()), JSON)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, request = scope["method"], _request(scope)
        if request.path in PATHS:
            return await self._card(scope, request, send)
        if request.agent == "self" and request.path == "/health":
            return await _send_json(send, 200, b'{"ok":true}', JSON)
        if request.path.startswith(FILES):
            return await self._file(scope, receive, send, request)
        service = await self._service(scope, receive, request)
        if request.agent == "self" and request.path.startswith("/a2a/") and request.path != "/a2a/jsonrpc":
            body = await _body(receive) if method == "POST" else b""
            return await _send_json(send, *(await self._old_route(method, request.path, body, service.caller)), JSON)
        if request.path in ("/", "/a2a/jsonrpc"):
            if method != "POST":
                raise Fault(Kind.METHOD_NOT_ALLOWED, "A2A over JSON-RPC is a POST; the card is at " + PATHS[0] + ".")
            return await self._json_rpc(receive, send, service)
        return await self._rest(scope, receive, send, request, service)

    # --- for other bindings of our own agent -----------------------------------------------------

    async def own_card(self, origin: str) -> bytes:
        """Our card as it is served at this origin."""
        detail = await self._agent("self", OWNER)
        return await self._shown_card((self._offer.url or origin).rstrip("/"), _OWN, detail.card)

    def own_file_url(self, origin: str, task_id: str, file_id: str) -> str:
        """Where a file of a task of our agent is fetched from this origin."""
        return _file_url((self._offer.url or origin).rstrip("/"), _OWN, task_id, file_id)

    # --- bindings --------------------------------------------------------------------------------

    async def _json_rpc(self, receive: Receive, send: Send, service: Service) -> None:
        try:
            body = await _body(receive)
        except Fault as fault:
            return await _send_json(send, fault.kind.value.http, jsonrpc.error(None, fault), JSON)
        reply = await jsonrpc.serve(self._dispatch, body, service)
        return await _send_reply(send, receive, 200, reply, JSON)

    async def _rest(self, scope: Scope, receive: Receive, send: Send, request: _Request, service: Service) -> None:
        body = await _body(receive)
        call = rest.Call({}, rest.query_of(scope["query_string"].decode("latin-1")), body)
        status, reply = await rest.serve(self._dispatch, scope["method"], request.path, call, service)
        await _send_reply(send, receive, status, reply, A2A_JSON)

    # --- files -----------------------------------------------------------------------------------

    async def _file(self, scope: Scope, receive: Receive, send: Send, request: _Request) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Fault(Kind.METHOD_NOT_ALLOWED, "A file can only be read.")
        task_id, _, file_id = request.path.removeprefix(FILES).partition("/")
        caller = str(scope.get(CALLER, ""))
        download = await open_file(self._node, caller, unquote(task_id), unquote(file_id))
        headers = [
            # Somebody else's content, at an address of this machine: no browser shall take it for a page of ours.
            (b"content-type", b"application/octet-stream"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-security-policy", b"sandbox; default-src 'none'"),
            (b"content-disposition", f"attachment; filename*=UTF-8''{quote(download.name, safe='')}".encode()),
            (b"content-length", str(download.size).encode()),
            (b"cache-control", b"private, no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "GET":
            await _unless_gone(_send_chunks(send, download.chunks), receive)
        await send({"type": "http.response.body", "body": b""})

    # --- what a request is about -----------------------------------------------------------------

    async def _agent(self, name: str, caller: str) -> AgentDetail:
        """An agent and its card, as they were a moment ago."""
        await self._check_reach(name, caller)
        now = anyio.current_time()
        until, detail = self._known.get(name, (0.0, None))
        if detail is None or now >= until:
            detail = await self._node.get_agent(GetAgentRequest(agent=name))
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[name] = (now + KNOWN_SECONDS, detail)
        return detail

    async def _check_reach(self, name: str, caller: str) -> None:
        """A new address on the web is for the owner to name: nobody else makes this node call there.

        Raises:
            Fault: AGENT_NOT_FOUND
        """
        if caller == OWNER or "://" not in name:
            return
        known = (await self._node.peers(PeersRequest())).peers
        if all(peer.did != name for peer in known):
            raise Fault(Kind.AGENT_NOT_FOUND, f"There is no agent {preview(name, 128)} behind this node.")

    async def _service(self, scope: Scope, receive: Receive, request: _Request) -> Service:
        caller = str(scope.get(CALLER, OWNER))
        detail = await self._agent(request.agent, caller)
        headers = scope["headers"]
        version = _header(headers, b"a2a-version") or _query(scope, "A2A-Version") or ""
        extensions = ",".join(
            filter(None, (_header(headers, b"a2a-extensions"), _header(headers, b"x-a2a-extensions")))
        )

        async def patiently(answer: Awaitable[A2AAnswer]) -> A2AAnswer:
            outcome = await _unless_gone(answer, receive)
            if outcome is None:
                raise Fault(Kind.INTERNAL, "The caller hung up.")  # so nobody reads it
            return outcome

        return Service(
            agent="self" if request.agent == "self" else detail.agent.did,
            card=detail.card,
            caller=caller,
            version=version.strip(),
            extensions=frozenset(filter(None, (uri.strip() for uri in extensions.split(",")))),
            idempotency_key=_header(headers, b"idempotency-key"),
            push=self._offer.push,
            show_card=partial(self._shown_card, self._origin(scope), request, detail.card),
            has_extended_card=self._offer.token,
            file_url=partial(_file_url, self._origin(scope), request),
            patiently=patiently,
        )

    async def _shown_card(self, origin: str, request: _Request, card: AgentCard) -> bytes:
        """The card as it is served: signed where it is our own, for those behind this node sign for themselves."""
        terms = Terms(
            f"{origin}{request.base}/",
            self._offer.style,
            self._offer.push,
            self._offer.token,
            _grpc_at(self._offer.grpc, origin) if request.agent == "self" else None,
        )
        fields = card_json(card, terms)
        if request.agent != "self":
            return dump(fields)
        unsigned = dump(fields)
        if self._signed is None or self._signed[0] != unsigned:
            view = await self._node.a2a_card(A2ACardRequest(card=fields))
            self._signed = unsigned, dump(view.card)
        return self._signed[1]

    def _origin(self, scope: Scope) -> str:
        if self._offer.url is not None:
            return self._offer.url.rstrip("/")
        host, port = scope["server"]
        return f"{scope['scheme']}://{f'[{host}]' if ':' in host else host}:{port}"

    async def _card(self, scope: Scope, request: _Request, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Fault(Kind.METHOD_NOT_ALLOWED, "A card can only be read.")
        detail = await self._agent(request.agent, str(scope.get(CALLER, OWNER)))
        body = await self._shown_card(self._origin(scope), request, detail.card)
        tag = etag_of(body)
        more = [(b"etag", tag.encode()), (b"cache-control", f"public, max-age={MAX_AGE_SECONDS}".encode())]
        if tag in (_header(scope["headers"], b"if-none-match") or ""):
            await _send_json(send, 304, b"", JSON, more)
        else:
            await _send_json(send, 200, body, JSON, more)

    # --- what clients of older systems call ------------------------------------------------------

    async def _old_route(self, method: str, path: str, body: bytes, caller: str) -> tuple[int, bytes]:
        if path == "/a2a/peers" and method == "GET":
            found = await self._node.discover(DiscoverRequest(limit=200, settle_seconds=1.0))
            peers: list[JsonValue] = [
                {
                    "name": agent.name,
                    "did": agent.did,
                    "online": agent.online,
                    "path": f"{BEHIND}{quote(agent.did, safe=':')}/",
                }
                for agent in found.agents
            ]
            return 200, dump({"peers": peers})
        if path == "/a2a/send" and method == "POST":
            return await self._old_send(body, caller)
        raise Fault(Kind.METHOD_NOT_FOUND, f"There is no {method} {path}.")

    async def _old_send(self, body: bytes, caller: str) -> tuple[int, bytes]:
        fields = jsonrpc.parse(body)
        target, text = (fields.get("target"), fields.get("message")) if isinstance(fields, dict) else (None, None)
        if not isinstance(target, str) or not isinstance(text, str) or not target or not text:
            raise Fault(Kind.INVALID_PARAMS, 'The body must be {"target": AGENT, "message": TEXT}.')
        await self._check_reach(target, caller)
        message = Message(message_id=uuid.uuid4().hex, role=Role.USER, parts=(Part(text=text),))
        try:
            answer = await self._node.a2a_send(A2ASendRequest(agent=target, caller=caller, message=message))
        except McpA2AError as error:
            return told(error).kind.value.http, dump({"ok": False, "error": str(error)})
        return 200, dump({"ok": True, "result": legacy.task(answer.task)})


def _path_of(did: str) -> str:
    """Where an agent behind this node is served."""
    return f"{BEHIND}{quote(did, safe=':')}/"


_OWN = _Request("self", "", "/")


def _file_url(origin: str, request: _Request, task_id: str, file_id: str) -> str:
    return f"{origin}{request.base}{FILES}{quote(task_id, safe='')}/{quote(file_id, safe='')}"


def _grpc_at(address: str | None, origin: str) -> str | None:
    """Where gRPC is for who reads the card there."""
    if address is None or not address.startswith(":"):
        return address
    host = urlsplit(origin).hostname or ""
    return f"[{host}]{address}" if ":" in host else f"{host}{address}"


def _request(scope: Scope) -> _Request:
    path: str = scope["path"]
    if path.startswith(BEHIND):
        # As it was written: the name of an agent at a URL has slashes of its own.
        name, _, rest_of_path = scope["raw_path"].decode("latin-1").removeprefix(BEHIND).partition("/")
        if name:
            return _Request(unquote(name), f"{BEHIND}{name}", unquote(f"/{rest_of_path}"))
    return _Request("self", "", path or "/")


# --- the wire ------------------------------------------------------------------------------------


async def _body(receive: Receive) -> bytes:
    """The whole body; what is too large is refused before it is read.

    Raises:
        Fault
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= MAX_BODY_BYTES:
        return body
    chunks, size = [body], len(body)
    while message.get("more_body", False):
        if size > MAX_BODY_BYTES:
            break
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
    if size > MAX_BODY_BYTES:
        raise Fault(Kind.TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES:,} bytes.")
    return b"".join(chunks)


async def _unless_gone(serving: Awaitable[T], receive: Receive) -> T | None:
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


async def _send_reply(send: Send, receive: Receive, status: int, reply: Reply, media_type: bytes) -> None:
    if reply.events is not None and reply.first is not None:
        await _unless_gone(_send_events(send, reply.first, reply.events), receive)
    elif reply.body is None:
        await _send_json(send, 202, b"", media_type)
    else:
        await _send_json(send, status, reply.body, media_type)


async def _send_events(send: Send, first: bytes, events: AsyncIterator[bytes]) -> bool:
    """Server-Sent Events, and a comment now and then so that nobody in between takes the silence for an end."""
    headers = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
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


async def _send_chunks(send: Send, chunks: AsyncIterator[bytes]) -> bool:
    async for chunk in chunks:
        await _send_piece(send, chunk)
    return True


def _frame(event: bytes) -> bytes:
    return b"data: " + event + b"\n\n"


async def _send_piece(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _send_json(
    send: Send, status: int, body: bytes, media_type: bytes, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    headers = [(b"content-type", media_type), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def _query(scope: Scope, name: str) -> str | None:
    value = rest.query_of(scope["query_string"].decode("latin-1")).get(name)
    return value if isinstance(value, str) else None
