"""The checks that every HTTP request passes before any application sees it, on every address and every route.

A browser on this machine can be made to send requests here by any page it shows (DNS rebinding, cross-site requests),
and every program of every user here reaches loopback: being bound to it protects nothing. In this order:

1. `Host` must be the very address the connection came to, or a name the owner configured: else 421.
2. `Origin`, if there is one, must be this server itself or one the owner configured, and `Sec-Fetch-Site`, if there is
   one, must say the same: else 403. No CORS headers, ever.
3. A token in the query string is refused (400): it would end up in logs and histories.
4. Nothing of an authorization server is there (404), neither its metadata nor what a client tries without it: one that
   finds some, or a 401 in its place, ignores the token it was given.
5. Who calls must be proven: the connection is of the user who runs this server (`Rules.this_user`), or
   `Authorization: Bearer` carries the token: else 401. A request that a proxy or a tunnel passed on is not of the user
   whose program that is, so there the token alone counts.
6. A POST must say that it is JSON: else 415 (400 where A2A's HTTP+JSON is spoken, whose code for it that is). A form or
   a plain text is what a page can send without being asked first.

`/healthz`, `/health` and our own card answer behind 1 to 4: the first two say nothing, and a card is there to be read.
The cards of agents behind this node are for those who may call: they tell whom its owner knows. A client of A2A is
told what is wrong in JSON. A client that the owner gave a token of its own (`Callers`) may talk A2A with it, under its
name, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_a2a.a2a.asgi import CALLER, is_json_rpc
from mcp_a2a.a2a.card import PATHS as CARD_PATHS
from mcp_a2a.a2a.faults import Fault, Kind, retry_after
from mcp_a2a.a2a.service import MAX_OPEN_PER_CALLER, Arrival, RequestQuota, token_of
from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.web_url import without_zone
from mcp_a2a.server.address import PORTS_UNSAID, names_of
from mcp_a2a.server.context import PRINCIPAL
from mcp_a2a.server.local_user import is_passed_on, is_this_user
from mcp_a2a.server.page import wants_page

logger = logging.getLogger(__name__)

MCP_PATH = "/mcp"
HEALTH_PATH = "/healthz"

_BODILESS = (":cancel", ":subscribe")
"""Operations of A2A that need no body."""

_PUBLIC = frozenset({HEALTH_PATH, "/health"})

INNER_HOST = "127.0.0.1"
"""By this name the SDK is called, whatever name the client used; see `_inward`."""

OF_THIS_USER = "mcp_a2a.of_this_user"
"""The key of a connection's state that is True if this user made it."""

_WELL_KNOWN = ("/.well-known/", f"{MCP_PATH}/.well-known/")

_OAUTH = frozenset(
    {"/authorize", "/token", "/register", "/revoke", "/introspect", "/userinfo", "/par", "/device_authorization"}
)
"""Paths that clients try without metadata: the first three by MCP 2025-03-26, Authorization 2.3.3; others by habit."""

_OWN_SITE = frozenset({"none", "same-origin"})
"""Sec-Fetch-Site of a request that no other site caused (W3C Fetch Metadata 2.3)."""

_SECRETS_IN_QUERIES = frozenset(
    {"token", "accesstoken", "authtoken", "bearertoken", "xtoken", "auth", "authorization", "bearer", "apikey",
     "xapikey", "key"}
)  # fmt: skip
"""Letters alone: clients write api_key, api-key, and the name of our header."""


@dataclass(frozen=True)
class Rules:
    """The rules for callers. `hosts` and `origins` come on top of the server's own address; they match exactly."""

    token: str | None = None
    this_user: bool = False
    """True if a connection of this user needs no token. Never where others reach this server through a proxy."""
    callers: Callable[[str], str | None] = lambda _: None
    """The name that a token was given out under; None for one that was not."""
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Refusal:
    """Why a request goes no further, for the person who wonders."""

    status: int
    reason: str
    challenge: bool = False


class Guard:
    """The ASGI application in front of all others."""

    def __init__(self, app: ASGIApp, rules: Rules, refused: Callable[[Scope, int], None] = lambda *_: None) -> None:
        self._app, self._rules, self._told = app, rules, refused
        self._quota = RequestQuota(MAX_OPEN_PER_CALLER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what passes."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        # Asked once for each request: a caller that goes in between is none, and never the owner.
        rules = replace(self._rules, callers=cache(self._rules.callers))
        try:
            refusal = check(scope, rules)
        except McpA2AError as error:
            logger.warning("a request was put off: who calls cannot be told: %s", error.message)
            refusal = Refusal(503, "Who calls cannot be looked up now. Try again in a moment.")
        if refusal is None:
            refusal = await self._pass(_inward(scope, rules), receive, send)
        if refusal is None:
            return None
        self._told(scope, refusal.status)
        headers = {"www-authenticate": "Bearer"} if refusal.challenge else {}
        headers |= {name.decode(): value.decode() for name, value in retry_after(_KINDS[refusal.status])}
        response = _refused(scope, refusal, headers)
        return await response(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> Refusal | None:
        caller = scope.get(CALLER) or ""
        if not self._quota.enter(caller):
            return Refusal(503, f"This client has {self._quota.most} requests open. Try again when one has ended.")
        try:
            await self._app(scope, receive, send)
        finally:
            self._quota.leave(caller)
        return None


def check(scope: Scope, rules: Rules) -> Refusal | None:
    """The refusal by the first rule that the request breaks; None if it breaks none."""
    return next((refusal for rule in _RULES if (refusal := rule(scope, rules)) is not None), None)


def _host(scope: Scope, rules: Rules) -> Refusal | None:
    # Some clients leave in the zone of a link-local address, which is a name of theirs for one of their interfaces.
    hosts = [without_zone(host) for host in _all(scope, b"host")]
    # A proxy may drop the port. A name that was configured without it leads nowhere else, so that is no rebinding.
    portless = {re.sub(r":\d+$", "", name) for name in rules.hosts}
    # And it may write out the port that a URL leaves out, which is the same place (RFC 9110 4.2.3).
    whole = {f"{name}:{port}" for name in rules.hosts if name.endswith("]") or ":" not in name for port in PORTS_UNSAID}
    if len(hosts) == 1 and hosts[0].lower() in _own_names(scope, rules) | portless | whole:
        return None
    return Refusal(421, "This server does not have that Host. For one that leads here, use --public-url URL.")


def _origin(scope: Scope, rules: Rules) -> Refusal | None:
    # A configured host is usually that of a proxy or a tunnel, which adds the TLS.
    own = {f"{scope['scheme']}://{name}" for name in _own_names(scope, rules)} | {
        f"https://{name}" for name in rules.hosts
    }
    origins, sites = map(without_zone, _all(scope, b"origin")), _all(scope, b"sec-fetch-site")
    allowed = all(origin.lower() in own | rules.origins for origin in origins)
    if allowed and all(site.strip().lower() in _OWN_SITE for site in sites):
        return None
    return Refusal(403, "Pages of that Origin may not call this server. For one of yours, use --public-url URL.")


def _query(scope: Scope, _: Rules) -> Refusal | None:
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if not any(re.sub(r"[^a-z]", "", name.lower()) in _SECRETS_IN_QUERIES for name, _ in query):
        return None
    return Refusal(400, "Do not put a token into the URL; send it as the header Authorization: Bearer TOKEN.")


def _oauth(scope: Scope, _: Rules) -> Refusal | None:
    path: str = scope["path"]
    if path.startswith(_WELL_KNOWN) and path not in CARD_PATHS:
        return Refusal(404, "There is no such metadata here.")
    if path.removeprefix(MCP_PATH).rstrip("/") in _OAUTH:
        return Refusal(404, "There is no authorization server here.")
    return None


def _identity(scope: Scope, rules: Rules) -> Refusal | None:
    if _is_public(scope):
        return None
    given = _given(scope)
    if given is None and _is_of_this_user(scope, rules):
        return None
    if given is not None and (_is_owners(given, rules) or (rules.callers(given) is not None and not _is_mcp(scope))):
        return None
    how = "Authorization: Bearer TOKEN" + ("" if _is_mcp(scope) else ", or X-API-Key: TOKEN")
    reason = f"{_why(scope, rules, given)}Send the token of this server as the header {how}."
    return Refusal(401, reason, challenge=True)


def _why(scope: Scope, rules: Rules, given: str | None) -> str:
    """Why a program that may need no token needs one."""
    if given is not None or not rules.this_user:
        return ""
    if _is_passed_on(scope):
        return "A proxy or a tunnel passed this request on, so it does not count as this user's. "
    return "This connection is not shown to be of the user who runs this server. "


def _coding(scope: Scope, _: Rules) -> Refusal | None:
    fields = [*_all(scope, b"content-encoding"), *_all(scope, b"transfer-encoding")]
    if {name.strip().lower() for field in fields for name in field.split(",")} <= _PLAIN:
        return None
    return Refusal(415, "This server reads no compressed requests. Send it without Content-Encoding.")


def _content_type(scope: Scope, _: Rules) -> Refusal | None:
    if scope.get("method") != "POST" or _is_json(_all(scope, b"content-type")) or _says_nothing(scope):
        return None
    return Refusal(415, "A POST must have the Content-Type application/json, or application/a2a+json for A2A.")


_RULES = (_host, _origin, _query, _oauth, _identity, _coding, _content_type)


_PLAIN = frozenset({"", "identity", "chunked"})
"""Codings of a body that is sent as it is."""


def _own_names(scope: Scope, rules: Rules) -> frozenset[str]:
    return names_of(*scope["server"]) | rules.hosts


def _all(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def admitted(rules: Rules, arrival: Arrival) -> str | None:
    """Under which name a call that came by gRPC is made; None where it may not be."""
    if arrival.token is not None:
        return "" if _is_owners(arrival.token, rules) else rules.callers(arrival.token)
    counts = rules.this_user and not is_passed_on(arrival.headers)
    return "" if counts and is_this_user(arrival.peer, arrival.here) else None


def _is_passed_on(scope: Scope) -> bool:
    # HTTP/1.0 is the default of some proxies towards their upstream; no MCP client speaks it.
    old = scope.get("http_version", "1.1") not in ("1.1", "2")
    return old or is_passed_on(key.decode("latin-1") for key, _ in scope["headers"])


def _is_of_this_user(scope: Scope, rules: Rules) -> bool:
    return rules.this_user and scope.get("state", {}).get(OF_THIS_USER) is True and not _is_passed_on(scope)


def caller_of(scope: Scope, rules: Rules) -> str:
    """Under which name a request that passed is made; the owner's is empty."""
    given = _given(scope)
    if given is None or _is_public(scope) or _is_owners(given, rules):
        return ""
    caller = rules.callers(given)
    if caller is None:
        raise AssertionError("a token of no caller has passed")
    return caller


def _given(scope: Scope) -> str | None:
    """The token that a request carries, empty for one that cannot be a token; None for none."""
    return token_of(_all(scope, b"authorization"), _all(scope, b"x-api-key"))


def _is_owners(given: str, rules: Rules) -> bool:
    return rules.token is not None and hmac.compare_digest(given.encode(), rules.token.encode())


def _is_mcp(scope: Scope) -> bool:
    path: str = scope["path"]
    return path == MCP_PATH or path.startswith(f"{MCP_PATH}/")


def _is_public(scope: Scope) -> bool:
    path: str = scope["path"]
    return path in _PUBLIC or (scope.get("method") in ("GET", "HEAD") and path in CARD_PATHS)


def _says_nothing(scope: Scope) -> bool:
    """A POST that is all said by its path. A page that makes a browser send one gives itself away by its Origin."""
    if not scope["path"].endswith(_BODILESS) or _all(scope, b"transfer-encoding"):
        return False
    return _all(scope, b"content-length") in ([], ["0"])


def _is_json(content_type: Collection[str]) -> bool:
    types = [value.partition(";")[0].strip().lower() for value in content_type]
    return len(types) == 1 and types[0] in ("application/json", "application/a2a+json")


def _refused(scope: Scope, refusal: Refusal, headers: Mapping[str, str]) -> Response:
    if refusal.status == 404 or scope["path"] == MCP_PATH or scope["path"] in _PUBLIC or wants_page(scope):
        return PlainTextResponse(f"{refusal.reason}\n", refusal.status, headers)
    # A client of A2A reads JSON, in the words of its binding.
    fault = Fault(_KINDS[refusal.status], refusal.reason)
    if is_json_rpc(scope):
        return JSONResponse({"jsonrpc": "2.0", "id": None, "error": fault.rpc_error()}, refusal.status, headers)
    return JSONResponse(fault.http_error(), fault.kind.value.http, headers)


_KINDS = {
    400: Kind.INVALID_REQUEST,
    401: Kind.UNAUTHENTICATED,
    403: Kind.FORBIDDEN,
    404: Kind.METHOD_NOT_FOUND,
    415: Kind.CONTENT_TYPE,
    421: Kind.MISDIRECTED,
    503: Kind.OVERLOADED,
}


def _inward(scope: Scope, rules: Rules) -> Scope:
    """The request as the application behind sees it, with what was checked here in the one spelling that it knows.

    The SDK compares `Host` with a list that is fixed at the start, while the rule above follows the addresses of this
    machine; and it knows `application/json` in lower case only. A request that got around this guard would still meet
    the SDK's own check.
    """
    if not _is_mcp(scope):
        return {**scope, CALLER: caller_of(scope, rules)}
    headers = [(key, value) for key, value in scope["headers"] if key not in {b"host", b"origin"}]
    headers = [(key, b"application/json" if key == b"content-type" else value) for key, value in headers]
    path = scope["path"].rstrip("/") or "/"
    given = _given(scope)
    principal = "this user" if given is None else f"token {hashlib.sha256(given.encode()).hexdigest()}"
    return {**scope, PRINCIPAL: principal, "path": path, "headers": [(b"host", INNER_HOST.encode()), *headers]}
