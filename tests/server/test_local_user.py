"""On loopback the peer must be this user: against processes of other users and proxies of this user."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

from mcp_a2a.api.agents import PeersView, SetTrustRequest
from mcp_a2a.server import local_user
from mcp_a2a.server.address import Listen
from mcp_a2a.server.connection_limits import Limits
from mcp_a2a.server.guard import is_passed_on
from mcp_a2a.server.hosting import TOKEN_FILE, load_token
from mcp_a2a.server.http import serve_http
from mcp_a2a.server.local_user import can_tell, is_this_user
from mcp_a2a.server.surface import build_server
from mcp_a2a.store.folder import open_folder
from tests.e2e.command import agent
from tests.server.standin import OTHER_DID, StandIn, contact
from tests.server.test_connection_limits import A_REQUEST, connected
from tests.server.test_http import TOKEN, Web, has_ipv6, serving

KNOCK = Path(__file__).parent / "programs" / "knock.py"
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]

needs_proof = pytest.mark.skipif(not can_tell(), reason="this system does not tell whose a connection is")


def may_be_nobody() -> bool:
    if sys.platform != "linux" or os.getuid() != 0 or shutil.which("setpriv") is None:
        return False
    return subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], check=False).returncode == 0


as_another_user = pytest.mark.skipif(not may_be_nobody(), reason="only root can become another user, with setpriv")

JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def knock(*requests: tuple[object, ...], user: bool = True) -> list[list[object]]:
    """What a program hears for its requests, one of this user or of another one."""
    command = [*([] if user else AS_NOBODY), sys.executable, str(KNOCK)]
    done = subprocess.run(
        command, input=json.dumps(requests), capture_output=True, text=True, check=True, timeout=60, cwd="/"
    )
    return json.loads(done.stdout)


def tool(name: str, arguments: object, **more: object) -> tuple[str, str, dict[str, str], str]:
    """A call of a tool in the protocol of 2026-07-28, by a client that says it can ask its user."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "knock", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    }
    params = {"name": name, "arguments": arguments, "_meta": meta, **more}
    headers = {**JSON, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": name}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    return "POST", "/mcp", headers, body


def rpc(method: str, params: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


MESSAGE = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "do this"}]}
ANSWERED = {"inputResponses": {"mcp_a2a.server.contacts:ask_person": {"action": "accept", "content": {"accept": True}}}}

ATTACKS = [
    ("POST", "/mcp", JSON, rpc("tools/list", {})),
    tool("list_tasks", {}),
    tool("send_task", {"agent": "anyone", "message": "x"}),
    tool("accept_contact", {"agent": "anyone"}),
    tool("accept_contact", {"agent": "anyone"}, **ANSWERED),
    ("POST", "/message:send", JSON, json.dumps({"message": MESSAGE})),
    ("POST", "/", JSON, rpc("SendMessage", {"message": MESSAGE})),
    ("GET", "/tasks", {}, None),
    ("GET", "/a/self/tasks", {}, None),
    ("GET", "/a2a/peers", {}, None),
    ("POST", "/a2a/send", JSON, json.dumps({"target": "self", "message": "x"})),
    ("GET", "/files/task-x/file-x", {}, None),
]
"""What was possible for every program of this machine."""


@dataclass(frozen=True)
class Running:
    """A server in a process of its own."""

    url: str
    grpc: str
    token: str
    said: str


@contextmanager
def running(home: Path, *options: str) -> Iterator[Running]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        grpc = f"127.0.0.1:{free.getsockname()[1]}"
    program = Path(sys.executable).with_name("mcp-a2a")
    words = [program, "--no-mdns", "serve", "--listen", "127.0.0.1:0", "--grpc-listen", grpc, *options]
    environment = {**os.environ, "MCP_A2A_HOME": str(home)}
    server = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert server.stdout is not None
    try:
        said = "".join(server.stdout.readline() for _ in range(3))
        url = said.removeprefix("MCP server at ").partition("/mcp\n")[0]
        if "Listening at " in said:  # the first URL is the public one
            url = said.partition("Listening at ")[2].partition("\n")[0]
        token = (home / "identities" / "default" / TOKEN_FILE).read_text(encoding="ascii").strip()
        yield Running(url, grpc, token, said)
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("here") / "home") as server:
        yield server


# --- other users of this machine -------------------------------------------------------------------


@needs_proof
@as_another_user
def test_another_user_of_this_machine_gets_nothing_without_the_token(server: Running):
    asked = [("http", server.url, *attack) for attack in ATTACKS]
    statuses = [status for status, _ in knock(*asked, user=False)]
    assert statuses == [401] * len(ATTACKS)
    assert [status for status, _ in knock(asked[0], asked[1], asked[7])] == [200] * 3


@needs_proof
@as_another_user
def test_another_user_is_told_why_and_what_to_send(server: Running):
    ((_, mcp), (_, a2a)) = knock(
        ("http", server.url, *ATTACKS[0]), ("http", server.url, "GET", "/tasks", {}, None), user=False
    )
    for text in (str(mcp), str(a2a)):
        assert "not shown to be of the user who runs this server" in text
        assert "Authorization: Bearer TOKEN" in text
        assert server.token not in text


@needs_proof
@as_another_user
def test_the_token_lets_another_user_in_and_a_wrong_one_nobody(server: Running):
    right, wrong = ({"Authorization": f"Bearer {token}"} for token in (server.token, "x" * 43))
    ((by_token, _), (by_another, _)) = knock(
        ("http", server.url, "GET", "/tasks", right, None),
        ("http", server.url, "GET", "/tasks", wrong, None),
        user=False,
    )
    assert (by_token, by_another) == (200, 401)
    assert knock(("http", server.url, "GET", "/tasks", wrong, None))[0][0] == 401


@needs_proof
@as_another_user
def test_another_user_still_reads_health_and_the_public_card(server: Running):
    paths = ("/healthz", "/health", "/.well-known/agent-card.json")
    heard = knock(*[("http", server.url, "GET", path, {}, None) for path in paths], user=False)
    assert [status for status, _ in heard] == [200] * 3


CROWD = """
import select, socket, sys
crowd = [socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) for _ in range(10)]
silent, ended = {one.fileno() for one in crowd}, select.poll()
for number in silent:
    ended.register(number, select.POLLIN | select.POLLHUP)
while len(silent) > 3:
    for number, _ in ended.poll():
        silent.discard(number)
        ended.unregister(number)
print(len(silent))
"""


@needs_proof
@as_another_user
async def test_another_user_has_the_places_of_one_host():
    limits = Limits(silent_per_host=3, header_seconds=600)
    async with serving(limits=limits) as web, connected(web, 5, b"") as mine:
        command = [*AS_NOBODY, sys.executable, "-c", CROWD, web.host, str(web.port)]
        with anyio.fail_after(30):
            done = await anyio.run_process(command, cwd="/")
        assert done.stdout == b"3\n"
        for stream in mine:
            await stream.send(A_REQUEST.format(web.name).encode())
            assert (await stream.receive()).startswith(b"HTTP/1.1 200")


@needs_proof
@as_another_user
def test_grpc_asks_the_same(server: Running):
    pytest.importorskip("grpc")
    by_token = {"authorization": f"Bearer {server.token}"}
    ((refused, why), (admitted, _)) = knock(("grpc", server.grpc, {}), ("grpc", server.grpc, by_token), user=False)
    assert (refused, admitted) == ("UNAUTHENTICATED", "OK")
    assert "not shown to be of the user" in str(why)
    ((mine, _), (passed_on, _)) = knock(
        ("grpc", server.grpc, {}), ("grpc", server.grpc, {"x-forwarded-for": "203.0.113.9"})
    )
    assert (mine, passed_on) == ("OK", "UNAUTHENTICATED")


@needs_proof
@pytest.mark.parametrize("option", ["--token", "--public-url=https://agents.example"])
def test_with_a_token_or_a_way_in_from_outside_this_user_needs_the_token_too(tmp_path: Path, option: str):
    with running(tmp_path / "home", option) as server:
        ((alone, _), (by_token, _)) = knock(
            ("http", server.url, "GET", "/tasks", {}, None),
            ("http", server.url, "GET", "/tasks", {"Authorization": f"Bearer {server.token}"}, None),
        )
        assert (alone, by_token) == (401, 200)
        if option == "--token":
            pytest.importorskip("grpc")
            assert knock(("grpc", server.grpc, {}))[0][0] == "UNAUTHENTICATED"


@pytest.mark.slow
def test_the_token_is_shown_when_it_is_made_and_later_only_where_it_is_kept(tmp_path: Path):
    home = tmp_path / "home"
    with running(home) as first:
        assert first.token in first.said
    with running(home, "--show-token") as later:  # whose output is no terminal here
        assert later.token == first.token
        assert later.token not in later.said
        assert str(home / "identities" / "default" / TOKEN_FILE) in later.said


def test_a_terminal_is_shown_the_token_where_its_user_asks(tmp_path: Path):
    home = tmp_path / "home"
    made = load_token(open_folder(home / "identities" / "default"))
    ours, terminal = os.openpty()
    program = Path(sys.executable).with_name("mcp-a2a")
    server = subprocess.Popen(
        [program, "--no-mdns", "serve", "--listen", "127.0.0.1:0", "--show-token"],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MCP_A2A_HOME": str(home)},
    )
    try:
        os.close(terminal)
        with os.fdopen(ours, "rb", buffering=0) as screen:
            said = b""
            while said.count(b"\n") < 3:
                said += screen.read(4096)
    finally:
        server.terminate()
        server.wait(30)
    assert made.value.encode() in said


@needs_proof
@as_another_user
def test_an_agent_that_serves_itself_asks_the_same(tmp_path: Path):
    home = tmp_path / "home"
    words = ("exec", "--name", "rev", "--no-mdns", "--a2a-listen", "127.0.0.1:0", "--", "rev")
    with agent(home, *words) as rev:
        url, file = str(rev.ready["a2a_url"]).rstrip("/"), str(rev.ready["token_file"])
        right = {"Authorization": f"Bearer {Path(file).read_text(encoding='ascii').strip()}"}
        asked = [("http", url, "GET", path, {}, None) for path in ("/tasks", "/a2a/peers")]
        asked += [("http", url, "POST", "/message:send", JSON, json.dumps({"message": MESSAGE}))]
        refused = knock(*asked, ("http", url, "GET", "/tasks", right, None), user=False)
        assert [status for status, _ in refused] == [401, 401, 401, 200]
        assert [status for status, _ in knock(*asked)] == [200, 200, 200]


# --- proxies and tunnels of this user --------------------------------------------------------------


class Proxy:
    """A proxy of this user: adds a line to the head of the request, and passes all the rest on."""

    def __init__(self, port: int, line: bytes) -> None:
        self._to, self._line = port, line
        self._front = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._front.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._front.shutdown(socket.SHUT_RDWR)
        self._front.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._front.accept()
                with client, socket.create_connection(("127.0.0.1", self._to)) as upstream:
                    back = threading.Thread(target=self._pump, args=(upstream, client))
                    back.start()
                    first, _, rest = client.recv(65536).partition(b"\r\n")
                    host = b"Host: 127.0.0.1:%d" % self._to
                    head = [host if field.lower().startswith(b"host:") else field for field in rest.split(b"\r\n")]
                    upstream.sendall(b"\r\n".join([first, self._line, *head]))
                    self._pump(client, upstream)
                    back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


ADDED = [
    b"X-Forwarded-For: 203.0.113.9", b"Forwarded: for=203.0.113.9", b"X-Real-IP: 203.0.113.9", b"CF-Ray: 1",
    b"CF-Connecting-IP: 203.0.113.9", b"True-Client-IP: 203.0.113.9", b"Via: 1.1 cache", b"X-Forwarded-Host: a.example",
    b"X-Forwarded-Proto: https", b"x-forwarded: y", b"CDN-Loop: cloudflare", b"X_Forwarded_For: 203.0.113.9",
    b"Tailscale-User-Login: a@example.com", b"X-Client-IP: 203.0.113.9",
]  # fmt: skip


@needs_proof
def test_what_a_proxy_of_this_user_passes_on_is_not_of_this_user(server: Running):
    by_token = {"Authorization": f"Bearer {server.token}"}
    with ExitStack() as proxies:
        asked: list[tuple[object, ...]] = []
        for line in ADDED:
            proxy = proxies.enter_context(closing(Proxy(int(server.url.rpartition(":")[2]), line)))
            asked += [
                ("http", proxy.url, *ATTACKS[0]),
                ("http", proxy.url, "GET", "/tasks", {}, None),
                ("http", proxy.url, "GET", "/tasks", by_token, None),
            ]
        heard = knock(*asked)
    assert [status for status, _ in heard] == [401, 401, 200] * len(ADDED)
    assert "A proxy or a tunnel passed this request on" in str(heard[0][1])


@needs_proof
async def test_a_connection_that_is_proven_proves_none_of_its_requests_that_are_passed_on():
    async with serving() as web, httpx2.AsyncClient() as client:
        url = f"http://{web.name}/mcp"
        body, headers = {"jsonrpc": "2.0", "id": 1, "method": "ping"}, {**JSON}
        statuses = [
            (await client.post(url, json=body, headers={**headers, **more})).status_code
            for more in ({}, {"X-Forwarded-For": "203.0.113.9"}, {})
        ]
    assert statuses == [200, 401, 200]


@needs_proof
async def test_a_request_of_http_1_0_is_not_of_this_user():
    """It is what a proxy speaks to its upstream where it was configured for nothing else."""
    async with serving() as web, await anyio.connect_tcp(web.host, web.port) as stream:
        await stream.send(f"GET /mcp HTTP/1.0\r\nHost: {web.name}\r\n\r\n".encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 401 ")


def test_what_clients_send_of_themselves_is_not_taken_for_a_proxys():
    assert not is_passed_on(
        ["host", "user-agent", "accept", "accept-encoding", "connection", "content-type", "content-length", "cookie",
         "authorization", "mcp-protocol-version", "mcp-session-id", "mcp-method", "last-event-id", "sec-fetch-mode",
         "sec-fetch-site", "traceparent", "x-stainless-lang", "x-request-id", "x-api-key", "a2a-version", "priority"]
    )  # fmt: skip


# --- pages of other sites --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/mcp", "/tasks", "/a2a/peers", "/healthz", "/.well-known/agent-card.json"])
async def test_a_request_that_a_page_of_another_site_caused_is_refused(path: str):
    async with serving() as web:
        for site in ("cross-site", "same-site", "cross-site, none", "anything"):
            assert await web.status("GET", path, [("Sec-Fetch-Site", site)]) == 403, site
        for site in ("none", "same-origin"):
            assert await web.status("GET", path, [("Sec-Fetch-Site", site)]) != 403, site


# --- clients of this user --------------------------------------------------------------------------


@needs_proof
@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    "bind", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6"))]
)
async def test_the_official_client_of_this_user_needs_no_set_up(mode: str, bind: str):
    async with serving(bind) as web, httpx2.AsyncClient() as connection:
        transport = streamable_http_client(web.url, http_client=connection)
        async with Client(transport, mode=mode) as client:
            assert len((await client.list_tools()).tools) == 12
            assert not (await client.call_tool("discover", {})).is_error


@needs_proof
async def test_over_http_the_person_is_asked_where_the_connection_is_of_this_user():
    node = StandIn()
    node.known = PeersView(peers=(), contacts=(contact(),))
    asked: list[str] = []

    async def person(_: object, params: object) -> ElicitResult:
        asked.append(params.message)  # type: ignore[attr-defined]
        return ElicitResult(action="accept", content={"accept": True})

    async with anyio.create_task_group() as tasks, httpx2.AsyncClient() as connection:
        url = await tasks.start(partial(serve_http, build_server(node), Listen("127.0.0.1", 0)))
        transport = streamable_http_client(f"{url}/mcp", http_client=connection)
        async with Client(transport, elicitation_callback=person) as client:
            await client.call_tool("accept_contact", {"agent": OTHER_DID})
        tasks.cancel_scope.cancel()
    assert len(asked) == 1
    assert [one for one in node.asked if isinstance(one, SetTrustRequest)]


async def test_without_a_guard_that_proves_the_user_the_person_is_given_the_command():
    node = StandIn()
    node.known = PeersView(peers=(), contacts=(contact(),))
    server = build_server(node)
    app = server.streamable_http_app(stateless_http=True)  # as a program that embeds it might serve it
    method, path, headers, body = tool("accept_contact", {"agent": OTHER_DID})
    async with (
        server.session_manager.run(),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:80") as client,
    ):
        answer = await client.request(method, path, headers={**headers, "Host": "127.0.0.1:80"}, content=body)
    assert "mcp-a2a trust" in answer.text
    assert "requestState" not in answer.text
    assert not [one for one in node.asked if isinstance(one, SetTrustRequest)]


@needs_proof
async def test_a_question_is_not_answered_by_another_caller_than_the_one_who_was_asked():
    node = StandIn()
    node.known = PeersView(peers=(), contacts=(contact(),))
    async with anyio.create_task_group() as tasks, httpx2.AsyncClient() as client:
        url = await tasks.start(partial(serve_http, build_server(node), Listen("127.0.0.1", 0), token=TOKEN))

        async def call(by: dict[str, str], **more: object) -> dict[str, object]:
            method, path, headers, body = tool("accept_contact", {"agent": OTHER_DID}, **more)
            answer = await client.request(method, f"{url}{path}", headers={**headers, **by}, content=body)
            text = answer.text.partition("data: ")[2] or answer.text
            return dict(json.loads(text))

        by_token = {"Authorization": f"Bearer {TOKEN}"}
        for asked, other in (({}, by_token), (by_token, {})):
            question = (await call(asked))["result"]
            assert isinstance(question, dict)
            answered = {**ANSWERED, "requestState": question["requestState"]}
            assert "error" in await call(other, **answered)
            assert not [one for one in node.asked if isinstance(one, SetTrustRequest)]
        assert "error" not in await call(asked, **answered)
        assert [one for one in node.asked if isinstance(one, SetTrustRequest)]
        tasks.cancel_scope.cancel()


# --- what the kernel says --------------------------------------------------------------------------


def ends(host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        client = socket.socket(family)
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        with client, accepted:
            yield client, accepted


def told(accepted: socket.socket) -> bool:
    return is_this_user(accepted.getpeername()[:2], accepted.getsockname()[:2])


@needs_proof
@pytest.mark.parametrize(
    "host", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6"))]
)
def test_a_connection_of_this_user_is_told_apart_from_none_and_from_a_closed_one(host: str):
    for client, accepted in ends(host):
        assert told(accepted)
        peer, here = accepted.getpeername()[:2], accepted.getsockname()[:2]
        assert not is_this_user((peer[0], peer[1] ^ 1), here)
        assert not is_this_user(here, (peer[0], 1))  # where a listener answers for the connection that is missing
        client.shutdown(socket.SHUT_WR)
        assert told(accepted)  # it still waits for its answer
        client.close()
        assert not told(accepted)  # the kernel shows root for a socket that is nobody's any more


@needs_proof
@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
def test_an_ipv4_connection_of_an_ipv6_socket_is_told_too():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        accepted, _ = server.accept()
        with accepted:
            assert told(accepted)
            (address, port), here = accepted.getpeername()[:2], accepted.getsockname()[:2]
            assert is_this_user((f"::ffff:{address}", port), (f"::ffff:{here[0]}", here[1]))


@needs_proof
def test_nothing_beyond_loopback_is_ever_of_this_user():
    for peer in ("192.168.1.5", "2001:db8::1", "0.0.0.0", "", "nonsense", "::ffff:192.168.1.5"):  # noqa: S104  compared
        assert not is_this_user((peer, 40_000), ("127.0.0.1", 3_000))
    for end in (("127.0.0.1", -1), ("127.0.0.1", 70_000)):
        assert not is_this_user(end, ("127.0.0.1", 3_000))


@needs_proof
@as_another_user
def test_a_socket_that_another_user_made_is_not_of_this_user_whoever_holds_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"import socket; s = socket.create_connection(('127.0.0.1', {server.getsockname()[1]})); s.recv(1)"
        child = subprocess.Popen([*AS_NOBODY, sys.executable, "-c", program])
        accepted, _ = server.accept()
        with accepted:
            assert not told(accepted)
        assert child.wait(30) == 0


@pytest.mark.parametrize("answer", [b"", b"\0" * 16, b"\xff" * 200, os.urandom(300)])
def test_an_answer_that_is_none_proves_nothing(monkeypatch: pytest.MonkeyPatch, answer: bytes):
    monkeypatch.setattr(local_user, "_ask", lambda *_: answer)
    assert local_user._owner_of(("127.0.0.1", 40_000), ("127.0.0.1", 3_000)) is None


@needs_proof
def test_a_user_who_may_stand_for_others_proves_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local_user, "_unmapped_uid", os.getuid)
    for _, accepted in ends("127.0.0.1"):
        assert not told(accepted)


async def test_where_nothing_is_told_a_server_without_a_token_does_not_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mcp_a2a.server.http.can_tell", lambda: False)
    with pytest.raises(Exception, match="needs a token"):
        await serve_http(build_server(StandIn()), Listen("127.0.0.1", 0))


async def test_where_nothing_is_told_the_token_lets_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mcp_a2a.server.http.can_tell", lambda: False)
    async with serving(token=TOKEN) as web:
        assert await _hello(web) == 401
        assert await _hello(web, ("Authorization", f"Bearer {TOKEN}")) == 200


async def _hello(web: Web, *headers: tuple[str, str]) -> int:
    return await web.hello(*headers)
