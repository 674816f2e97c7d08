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
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from pydantic import JsonValue
from starlette.types import Receive, Scope, Send

from mcp_a2a.a2a import jsonrpc, legacy, rest
from mcp_a2a.a2a.body import JSON, Reply, dump, parse
from mcp_a2a.a2a.card import MAX_AGE_SECONDS, PATHS, Style, Terms, card_json, etag_of
from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.faults import Fault, Kind, told
from mcp_a2a.a2a.files import open_file
from mcp_a2a.a2a.grants import Agents, Grants, own_agent_only
from mcp_a2a.a2a.service import Service
from mcp_a2a.a2a.wire import header, query, read_body, send_chunks, send_json, send_reply, unless_gone
from mcp_a2a.api.a2a import OWN_AGENT, OWNER, A2ACardRequest, A2AGetRequest, A2ASendRequest
from mcp_a2a.api.agents import DiscoverRequest
from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.model import Message, Part, Role
from mcp_a2a.protocol.web_url import own_host_in_url, without_zone

if TYPE_CHECKING:
    from mcp_a2a.api.a2a import A2AAnswer
    from mcp_a2a.ports import NodeApi
    from mcp_a2a.protocol.model import AgentCard

CALLER = "mcp_a2a.caller"
"""The key of the scope under which the guard leaves the name of the caller."""


FILES = "/files/"


@dataclass(frozen=True)
class Offer:
    """The card and the URLs with which this server presents itself."""

    style: Style = "dual"
    push: bool = False
    token: bool = False
    url: str | None = None
    """The URL at which others reach it, if that is not the address that they called."""
    grpc: str | None = None
    """[HOST]:PORT at which our own agent is served by gRPC, if it is; without a host, at that of the card."""


@dataclass(frozen=True)
class _Request:
    """The agent and the path of a request."""

    agent: str
    base: str
    """The path that its agent is served at, without a slash at its end."""
    path: str
    """The rest of the path, with a slash before it."""


class A2AApp:
    """The ASGI application."""

    def __init__(self, node: NodeApi, offer: Offer, grants: Grants = own_agent_only) -> None:
        self._node = node
        self._offer = offer
        self._agents = Agents(node, grants)
        self._dispatch = Dispatch(node)
        self._signed: dict[bool, tuple[bytes, bytes]] = {}
        """Our card as it was last shown, without and with its signatures: to everyone, and the extended one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever it is."""
        try:
            await self._answer(scope, receive, send)
        except (Fault, McpA2AError) as error:
            fault = told(error)
            body = jsonrpc.error(None, fault) if is_json_rpc(scope) else dump(fault.http_error())
            await send_json(send, fault.kind.value.http, body, JSON, fault.headers())

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, request = scope["method"], _request(scope)
        if request.path in PATHS:
            return await self._card(scope, request, send)
        if request.agent == OWN_AGENT and request.path == "/health":
            return await send_json(send, 200, b'{"ok":true}', JSON)
        if request.path.startswith(FILES):
            return await self._file(scope, receive, send, request)
        if request.agent == OWN_AGENT and request.path.startswith("/a2a/") and request.path != "/a2a/jsonrpc":
            caller = str(scope.get(CALLER, OWNER))
            body = await read_body(receive, _length(scope)) if method == "POST" else b""
            return await send_reply(
                send, receive, *(await serve_old_route(self._node, self._agents, method, request.path, body, caller))
            )
        service = await self._service(scope, receive, request)
        if is_json_rpc(scope):
            if method != "POST":
                raise Fault(Kind.METHOD_NOT_ALLOWED, "A2A over JSON-RPC is a POST; the card is at " + PATHS[0] + ".")
            return await self._json_rpc(scope, receive, send, service)
        return await self._rest(scope, receive, send, request, service)

    # --- for other bindings of our own agent -----------------------------------------------------

    async def own_card(self, origin: str) -> bytes:
        """Our card as it is served at this origin to who has shown who it is."""
        _, detail = await self._agents.find(OWN_AGENT, OWNER)
        return await self._shown_card((self._offer.url or origin).rstrip("/"), _OWN, detail.card, extended=True)

    def own_file_url(self, origin: str, task_id: str, file_id: str) -> str:
        """The URL of a file of a task of our agent, at this origin."""
        return _file_url((self._offer.url or origin).rstrip("/"), _OWN, task_id, file_id)

    # --- bindings --------------------------------------------------------------------------------

    async def _json_rpc(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        try:
            body = await read_body(receive, _length(scope))
        except Fault as fault:
            return await send_json(send, fault.kind.value.http, jsonrpc.error(None, fault), JSON)
        reply = await jsonrpc.serve(self._dispatch, body, service)
        # The error stands in the body, so the status is 200 (A2A 9.5); but who balances load, or repeats a request,
        # reads the status alone.
        code = reply.fault.value if reply.fault is not None else None
        status = 200 if code is None or code.retry_after is None else code.http
        return await send_reply(send, receive, status, reply, _active(scope, service))

    async def _rest(self, scope: Scope, receive: Receive, send: Send, request: _Request, service: Service) -> None:
        body = await read_body(receive, _length(scope))
        call = rest.Call({}, rest.query_of(scope["query_string"].decode("latin-1")), body)
        status, reply = await rest.serve(self._dispatch, scope["method"], request.path, call, service)
        await send_reply(send, receive, status, reply, _active(scope, service))

    # --- files -----------------------------------------------------------------------------------

    async def _file(self, scope: Scope, receive: Receive, send: Send, request: _Request) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Fault(Kind.METHOD_NOT_ALLOWED, "A file can only be read.")
        task_id, _, file_id = map(unquote, request.path.removeprefix(FILES).partition("/"))
        caller = str(scope.get(CALLER, OWNER))
        if caller != OWNER:  # the task is one of an agent that the client still has
            agent, _ = await self._agents.find(request.agent, caller)
            await self._node.call(A2AGetRequest(agent=agent, caller=caller, task_id=task_id))
        download = await open_file(self._node, caller, task_id, file_id)
        headers = [
            # A peer's content, at an address of this machine: no browser shall take it for a page of ours.
            (b"content-type", b"application/octet-stream"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-security-policy", b"sandbox; default-src 'none'"),
            (b"content-disposition", f"attachment; filename*=UTF-8''{quote(download.name, safe='')}".encode()),
            (b"content-length", str(download.size).encode()),
            (b"cache-control", b"private, no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "GET":
            await unless_gone(send_chunks(send, download.chunks), receive)
        await send({"type": "http.response.body", "body": b""})

    # --- what a request is about -----------------------------------------------------------------

    async def _service(self, scope: Scope, receive: Receive, request: _Request) -> Service:
        caller = str(scope.get(CALLER, OWNER))
        agent, detail = await self._agents.find(request.agent, caller)
        headers = scope["headers"]
        version = header(headers, b"a2a-version") or query(scope, "A2A-Version") or ""
        extensions = ",".join(filter(None, (header(headers, b"a2a-extensions"), header(headers, b"x-a2a-extensions"))))

        async def wait_connected(answer: Awaitable[A2AAnswer]) -> A2AAnswer:
            outcome = await unless_gone(answer, receive)
            if outcome is None:
                raise Fault(Kind.INTERNAL, "The caller hung up.")  # so it reaches no reader
            return outcome

        return Service(
            agent=agent,
            card=detail.card,
            caller=caller,
            version=version.strip(),
            extensions=frozenset(filter(None, (uri.strip() for uri in extensions.split(",")))),
            idempotency_key=header(headers, b"idempotency-key"),
            push=self._offer.push,
            show_card=partial(self._shown_card, self._origin(scope), request, detail.card),
            show_extended=partial(self._shown_card, self._origin(scope), request, detail.card, extended=True),
            has_extended_card=self._offer.token,
            file_url=partial(_file_url, self._origin(scope), request),
            wait_connected=wait_connected,
            permitted=partial(self._agents.permits, caller, agent),
        )

    async def _shown_card(self, origin: str, request: _Request, card: AgentCard, *, extended: bool = False) -> bytes:
        """The card as it is served: signed where it is our own, for those behind this node sign for themselves."""
        terms = Terms(
            f"{origin}{request.base}/",
            self._offer.style,
            self._offer.push,
            self._offer.token,
            _grpc_at(self._offer.grpc, origin) if request.agent == OWN_AGENT else None,
        )
        fields = card_json(card, terms, extended=extended)
        if request.agent != OWN_AGENT:
            return dump(fields)
        unsigned = dump(fields)
        known = self._signed.get(extended)
        if known is None or known[0] != unsigned:
            view = await self._node.call(A2ACardRequest(card=fields))
            known = self._signed[extended] = unsigned, dump(view.card)
        return known[1]

    def _origin(self, scope: Scope) -> str:
        if self._offer.url is not None:
            return self._offer.url.rstrip("/")
        host, port = scope["server"]
        return f"{scope['scheme']}://{own_host_in_url(host)}:{port}"

    async def _card(self, scope: Scope, request: _Request, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Fault(Kind.METHOD_NOT_ALLOWED, "A card can only be read.")
        # Our own card is public.
        caller = OWNER if request.agent == OWN_AGENT else str(scope.get(CALLER, OWNER))
        _, detail = await self._agents.find(request.agent, caller)
        body = await self._shown_card(self._origin(scope), request, detail.card)
        tag = etag_of(body)
        more = [(b"etag", tag.encode()), (b"cache-control", f"public, max-age={MAX_AGE_SECONDS}".encode())]
        if tag in (header(scope["headers"], b"if-none-match") or ""):
            await send_json(send, 304, b"", JSON, more)
        else:
            await send_json(send, 200, body, JSON, more)


def _active(scope: Scope, service: Service) -> list[tuple[bytes, bytes]]:
    """The header that says which extensions are active, under the name that the client has for it (A2A 4.6)."""
    active = ", ".join(sorted(service.active_extensions))
    if not active:
        return []
    current = header(scope["headers"], b"a2a-extensions") is not None
    return [(b"a2a-extensions" if current else b"x-a2a-extensions", active.encode())]


_OWN = _Request(OWN_AGENT, "", "/")


def _file_url(origin: str, request: _Request, task_id: str, file_id: str) -> str:
    return f"{origin}{request.base}{FILES}{quote(task_id, safe='')}/{quote(file_id, safe='')}"


def _length(scope: Scope) -> str | None:
    return header(scope["headers"], b"content-length")


def _grpc_at(address: str | None, origin: str) -> str | None:
    """The address of gRPC for a reader of the card at this origin."""
    if address is None or not address.startswith(":"):
        return address and without_zone(address)  # a zone is a name of this machine's own
    host = urlsplit(origin).hostname or ""
    return f"[{host}]{address}" if ":" in host else f"{host}{address}"


def is_json_rpc(scope: Scope) -> bool:
    """True if JSON-RPC is spoken there."""
    return _request(scope).path in ("/", "/a2a/jsonrpc")


def _request(scope: Scope) -> _Request:
    path: str = scope["path"]
    if path.startswith(BEHIND):
        # As it was written: the name of an agent at a URL has slashes of its own.
        name, _, rest_of_path = scope["raw_path"].decode("latin-1").removeprefix(BEHIND).partition("/")
        if name:
            return _Request(unquote(name), f"{BEHIND}{name}", unquote(f"/{rest_of_path}"))
    return _Request(OWN_AGENT, "", path or "/")


# Routes that clients of older systems call beside A2A, and what an agent behind this node is called in a path.

BEHIND = "/a/"
"""Below this is a path for every agent behind this node."""


async def serve_old_route(
    node: NodeApi, agents: Agents, method: str, path: str, body: bytes, caller: str
) -> tuple[int, Reply]:
    """Answer a request: status and reply.

    Raises:
        Fault, McpA2AError
    """
    if path == "/a2a/peers" and method == "GET":
        return 200, Reply(dump({"peers": await _old_peers(node, agents, caller)}))
    if path == "/a2a/send" and method == "POST":
        return await _old_send(node, agents, body, caller)
    raise Fault(Kind.METHOD_NOT_FOUND, f"There is no {method} {path}.")


async def _old_peers(node: NodeApi, agents: Agents, caller: str) -> list[JsonValue]:
    if caller == OWNER:
        found = (await node.call(DiscoverRequest(limit=200, settle_seconds=1.0))).agents
    else:  # a client makes this node look around for nothing
        found = tuple(await agents.granted(caller))
    return [
        {"name": agent.name, "did": agent.did, "online": agent.online, "path": f"{BEHIND}{quote(agent.did, safe=':')}/"}
        for agent in found
    ]


async def _old_send(node: NodeApi, agents: Agents, body: bytes, caller: str) -> tuple[int, Reply]:
    fields = parse(body)
    target, text = (fields.get("target"), fields.get("message")) if isinstance(fields, dict) else (None, None)
    if not isinstance(target, str) or not isinstance(text, str) or not target or not text:
        raise Fault(Kind.INVALID_PARAMS, 'The body must be {"target": AGENT, "message": TEXT}.')
    agent = target if caller == OWNER else (await agents.find(target, caller))[0]
    message = Message(message_id=uuid.uuid4().hex, role=Role.USER, parts=(Part(text=text),))
    try:
        answer = await node.call(A2ASendRequest(agent=agent, caller=caller, message=message))
    except McpA2AError as error:
        fault = told(error)
        return fault.kind.value.http, Reply(dump({"ok": False, "error": fault.message}), fault=fault.kind)
    return 200, Reply(dump({"ok": True, "result": legacy.JSON_RPC.task(answer.task)}))
