"""gRPC, where the extra is installed: the same data as over the other bindings, and the same rules."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.tls import TLSAttribute

grpc = pytest.importorskip("grpc", reason="the extra `grpc` is not installed")
pytest.importorskip("a2a.server.request_handlers.grpc_handler", reason="the extra `grpc` is not installed")

from a2a.client import ClientCallContext  # noqa: E402
from a2a.client.errors import A2AClientError  # noqa: E402
from a2a.client.transports.grpc import GrpcTransport  # noqa: E402
from a2a.types import a2a_pb2 as pb  # noqa: E402
from a2a.types.a2a_pb2_grpc import A2AServiceStub  # noqa: E402
from a2a.utils.errors import TaskNotFoundError  # noqa: E402
from google.protobuf.json_format import MessageToDict, ParseDict  # noqa: E402

import mcp_a2a.a2a.grpc_server as grpc_module  # noqa: E402
from mcp_a2a import AgentExtension  # noqa: E402
from mcp_a2a.a2a.asgi import A2AApp, Offer  # noqa: E402
from mcp_a2a.a2a.grpc_server import GrpcOffer, grpc_server  # noqa: E402
from mcp_a2a.certificates import CertificateFiles  # noqa: E402
from mcp_a2a.errors import McpA2AError  # noqa: E402
from mcp_a2a.errors.machine import SchemaTooNewError, StorageFullError, SystemLimitError  # noqa: E402
from mcp_a2a.protocol.signed_card import verify_card  # noqa: E402
from mcp_a2a.server.guard import Rules, admitted  # noqa: E402
from tests.a2a.bindings import said  # noqa: E402
from tests.a2a.conftest import Served, behaving, serving  # noqa: E402
from tests.a2a.test_equivalence import constant  # noqa: E402
from tests.a2a.test_own_trouble import Failing  # noqa: E402
from tests.transports.certificates import authority  # noqa: E402

V1 = (("a2a-version", "1.0"),)
TOKEN = "t" * 43

REQUESTS = {
    "SendMessage": pb.SendMessageRequest,
    "SendStreamingMessage": pb.SendMessageRequest,
    "SubscribeToTask": pb.SubscribeToTaskRequest,
    "GetTask": pb.GetTaskRequest,
    "ListTasks": pb.ListTasksRequest,
    "CancelTask": pb.CancelTaskRequest,
    "GetExtendedAgentCard": pb.GetExtendedAgentCardRequest,
    "CreateTaskPushNotificationConfig": pb.TaskPushNotificationConfig,
    "GetTaskPushNotificationConfig": pb.GetTaskPushNotificationConfigRequest,
    "ListTaskPushNotificationConfigs": pb.ListTaskPushNotificationConfigsRequest,
    "DeleteTaskPushNotificationConfig": pb.DeleteTaskPushNotificationConfigRequest,
}


class Client:
    """The operations by gRPC."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def call(self, operation: str, params: Any, metadata: Any = V1) -> Any:
        request = ParseDict(params, REQUESTS[operation]())
        return MessageToDict(await getattr(self._stub, operation)(request, metadata=metadata))

    async def events(self, operation: str, params: Any) -> list[Any]:
        request = ParseDict(params, REQUESTS[operation]())
        return [MessageToDict(event) async for event in getattr(self._stub, operation)(request, metadata=V1)]


@pytest.fixture(scope="module")
async def rpc(served: Served) -> AsyncIterator[Client]:
    offer = GrpcOffer(partial(admitted, Rules(this_user=True)))
    async with (
        grpc_server(served.node, "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Client(A2AServiceStub(channel))


@pytest.mark.parametrize("text", ["hello", "ask", "authorize", "direct", "reject", "fail", "stream"])
async def test_a_message_is_answered_as_over_json_rpc(served: Served, rpc: Client, text: str) -> None:
    over_json = _without_defaults(constant(await served.binding("jsonrpc").send(text)))
    assert constant(await rpc.call("SendMessage", said(text))) == over_json


@pytest.mark.parametrize("text", ["hello", "ask", "direct", "stream"])
async def test_a_stream_tells_as_over_json_rpc(served: Served, rpc: Client, text: str) -> None:
    def told(events: list[Any]) -> list[Any]:
        # Protobuf leaves out what is false or empty.
        return [_without_defaults(constant(event)) for event in events]

    over_grpc = await rpc.events("SendStreamingMessage", said(text))
    assert told(over_grpc) == told(await served.binding("jsonrpc").stream(text))


def _without_defaults(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_defaults(inner) for name, inner in value.items() if inner not in (False, [], "")}
        case list():
            return [_without_defaults(inner) for inner in value]
        case _:
            return value


async def test_a_task_is_the_same_task(served: Served, rpc: Client) -> None:
    task = await served.binding("rest").task("hello", contextId="by-grpc")
    assert await rpc.call("GetTask", {"id": task["id"]}) == task
    listed = await rpc.call("ListTasks", {"contextId": "by-grpc", "includeArtifacts": True})
    assert listed["tasks"] == [task]
    waiting = await served.binding("rest").task("wait", {"returnImmediately": True})
    canceled = await rpc.call("CancelTask", {"id": waiting["id"]})
    assert canceled["status"]["state"] == "TASK_STATE_CANCELED"


@pytest.mark.parametrize(
    ("operation", "params", "metadata", "code"),
    [
        ("GetTask", {"id": "nothing"}, V1, "NOT_FOUND"),
        ("CancelTask", {"id": "nothing"}, V1, "NOT_FOUND"),
        ("SendMessage", said("x", parts=[{"raw": "AA==", "mediaType": "video/mp4"}]), V1, "INVALID_ARGUMENT"),
        ("SendMessage", {"message": {}}, V1, "INVALID_ARGUMENT"),
        ("SendMessage", said("x"), (("a2a-version", "1.7"),), "FAILED_PRECONDITION"),
        ("SendMessage", said("x"), (("a2a-version", "0.3"),), "FAILED_PRECONDITION"),
        ("GetExtendedAgentCard", {}, V1, "FAILED_PRECONDITION"),
        (
            "CreateTaskPushNotificationConfig",
            {"taskId": "x", "url": "https://example.com"},
            V1,
            "FAILED_PRECONDITION",
        ),
        ("SendMessage", said("x"), (*V1, ("authorization", "Bearer wrong")), "UNAUTHENTICATED"),
    ],
)
async def test_what_fails_has_its_status(rpc: Client, operation: str, params: Any, metadata: Any, code: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc.call(operation, params, metadata)
    assert caught.value.code() == grpc.StatusCode[code]


async def test_a_client_with_too_many_calls_open_keeps_nobody_else_from_calling(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_module, "MAX_OPEN_PER_CALLER", 2)
    rules = Rules(token=TOKEN, callers=lambda token: token if token in ("ann", "bea") else None)
    async with (
        grpc_server(served.node, "127.0.0.1:0", GrpcOffer(partial(admitted, rules), token=True)) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        client = Client(A2AServiceStub(channel))
        ann, bea = ((*V1, ("authorization", f"Bearer {name}")) for name in ("ann", "bea"))
        asking = ParseDict(said("wait"), pb.SendMessageRequest())
        streams = [A2AServiceStub(channel).SendStreamingMessage(asking, metadata=ann) for _ in range(2)]
        for stream in streams:
            assert await stream.read()
        with pytest.raises(grpc.aio.AioRpcError, match="2 calls open") as caught:
            await client.call("ListTasks", {}, ann)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await client.call("ListTasks", {}, bea)
        streams[0].cancel()
        with anyio.fail_after(30):
            while True:
                try:
                    assert (await client.call("ListTasks", {}, ann))["totalSize"] == 2
                    break
                except grpc.aio.AioRpcError:
                    await anyio.sleep(0.01)


def _unsaid(channel: Any, **options: Any) -> Any:
    """A call whose message does not come."""
    service = pb.DESCRIPTOR.services_by_name["A2AService"].full_name
    return channel.stream_unary(f"/{service}/ListTasks", response_deserializer=pb.ListTasksResponse.FromString)(
        **options
    )


async def test_calls_without_a_message_take_no_place_of_those_who_may_call(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_module, "MAX_CALLS", 3)
    offer = GrpcOffer(partial(admitted, Rules(token=TOKEN)), token=True)
    async with (
        grpc_server(served.node, "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        unsaid = [_unsaid(channel) for _ in range(20)]
        with anyio.fail_after(60):
            codes = {await call.code() for call in unsaid}
        assert codes <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        by_owner = (*V1, ("authorization", f"Bearer {TOKEN}"))
        assert await Client(A2AServiceStub(channel)).call("ListTasks", {"pageSize": 1}, by_owner)


async def test_a_message_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_module, "READ_SECONDS", 0.1)
    offer = GrpcOffer(partial(admitted, Rules(this_user=True)))
    async with (
        grpc_server(Failing(StorageFullError("/")), "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        with anyio.fail_after(60):
            assert await _unsaid(channel, metadata=V1).code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_connections_that_say_nothing_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_module, "MAX_CONNECTIONS", 3)
    offer = GrpcOffer(partial(admitted, Rules(this_user=True)))
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(grpc_server(Failing(StorageFullError("/")), "127.0.0.1:0", offer))
        ended = anyio.Semaphore(0)

        async def watch(stream: anyio.abc.SocketStream) -> None:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()
            ended.release()

        tasks = await stack.enter_async_context(anyio.create_task_group())
        for _ in range(10):
            stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            tasks.start_soon(watch, stream)
        with anyio.fail_after(4):  # before the handshake is over
            for _ in range(7):
                await ended.acquire()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "given",
    [
        [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")],
        [("authorization", "Bearer wrong"), ("authorization", f"Bearer {TOKEN}")],
        [("authorization", "Bearer wrong"), ("x-api-key", TOKEN)],
        [("x-api-key", "wrong"), ("x-api-key", TOKEN)],
        [("authorization", f" {TOKEN}")],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", "")],
    ],
)
async def test_who_gives_two_tokens_or_none_that_is_one_gives_none(given: list[tuple[str, str]]) -> None:
    offer = GrpcOffer(partial(admitted, Rules(token=TOKEN, this_user=True)))
    async with (
        grpc_server(Failing(StorageFullError("/")), "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Client(A2AServiceStub(channel)).call("ListTasks", {}, (*V1, *given))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_push_configurations_are_made_seen_listed_and_deleted(tmp_path: Path) -> None:
    offer = GrpcOffer(partial(admitted, Rules(this_user=True)), push=True)
    async with (
        serving(tmp_path, a2a_push=True) as served,
        grpc_server(served.node, "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        client, task = Client(A2AServiceStub(channel)), {"taskId": (await served.binding("rest").task("ask"))["id"]}
        made = await client.call("CreateTaskPushNotificationConfig", {**task, "url": "https://hook.invalid/"})
        one = {**task, "id": made["id"]}
        assert await client.call("GetTaskPushNotificationConfig", one) == made
        assert (await client.call("ListTaskPushNotificationConfigs", task))["configs"] == [made]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call("DeleteTaskPushNotificationConfig", task)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        await client.call("DeleteTaskPushNotificationConfig", one)
        assert await client.call("ListTaskPushNotificationConfigs", task) == {}


async def test_the_card_names_no_zone_of_this_machine(served: Served) -> None:
    card = json.loads(await A2AApp(served.node, Offer(grpc="[fe80::5%v0]:1234")).own_card("http://[fe80::5]:1235/"))
    named = [one["url"] for one in card["supportedInterfaces"] if one["protocolBinding"] == "GRPC"]
    assert named == ["[fe80::5]:1234"]


async def test_a_token_is_asked_for_and_scopes_tasks(served: Served) -> None:
    ann = served.callers.add("ann-by-grpc")
    app = A2AApp(served.node, Offer(token=True, grpc=":1234"))
    offer = GrpcOffer(
        partial(admitted, Rules(token=TOKEN, callers=served.callers.name_of)),
        token=True,
        show_card=partial(app.own_card, served.url),
    )
    async with (
        grpc_server(served.node, "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        client = Client(A2AServiceStub(channel))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call("SendMessage", said("hello"))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        by_owner, by_ann = (*V1, ("authorization", f"Bearer {TOKEN}")), (*V1, ("x-api-key", ann))
        keyed = (("idempotency-key", "grpc-k"),)
        task = (await client.call("SendMessage", said("ask"), (*by_owner, *keyed)))["task"]
        assert (await client.call("GetTask", {"id": task["id"]}, by_owner))["id"] == task["id"]
        for operation, params in (
            ("GetTask", {"id": task["id"]}),
            ("CancelTask", {"id": task["id"]}),
            ("SendMessage", said("an answer", taskId=task["id"])),
            ("SendMessage", said("an answer", taskId=task["id"], contextId=task["contextId"])),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.call(operation, params, by_ann)
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        stream = A2AServiceStub(channel).SubscribeToTask(pb.SubscribeToTaskRequest(id=task["id"]), metadata=by_ann)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert "tasks" not in await client.call("ListTasks", {"contextId": task["contextId"]}, by_ann)
        hers = (await client.call("SendMessage", said("hello"), (*by_ann, *keyed)))["task"]  # the same key is hers
        assert hers["id"] != task["id"]
        listed = await client.call("ListTasks", {}, by_ann)
        assert [one["id"] for one in listed["tasks"]] == [hers["id"]]
        with pytest.raises(grpc.aio.AioRpcError, match="belongs to task-") as caught:
            await client.call("SendMessage", said("another"), (*by_ann, *keyed))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        served.callers.remove("ann-by-grpc")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.call("GetTask", {"id": hers["id"]}, by_ann)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        card = await client.call("GetExtendedAgentCard", {}, by_owner)
        grpc_interface = {"url": "127.0.0.1:1234", "protocolBinding": "GRPC", "protocolVersion": "1.0"}
        assert grpc_interface in card["supportedInterfaces"]
        assert verify_card(card).key is not None


async def test_a_client_of_the_sdk_reaches_its_own_tasks_and_no_others(served: Served) -> None:
    named = ("ann-of-sdk", "bea-of-sdk")
    contexts = {
        name: ClientCallContext(service_parameters={"Authorization": f"Bearer {served.callers.add(name)}"})
        for name in named
    }
    by_ann, by_bea = contexts.values()
    by_owner = ClientCallContext(service_parameters={"X-API-Key": TOKEN})
    offer = GrpcOffer(partial(admitted, Rules(token=TOKEN, callers=served.callers.name_of)), push=True, token=True)
    async with (
        grpc_server(served.node, "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        client = GrpcTransport(channel, None)
        asking = ParseDict(said("ask", contextId="shared"), pb.SendMessageRequest())
        task = (await client.send_message(asking, context=by_ann)).task
        for context in (by_bea, by_owner):
            for task_id in (task.id, "task-aaaaaaaaaaaaaaaaaaaaaaaa"):
                replying = ParseDict(said("blue", taskId=task_id), pb.SendMessageRequest())
                hook = pb.TaskPushNotificationConfig(task_id=task_id, url="https://hook.invalid/")
                one = {"task_id": task_id, "id": "x"}
                push = client.create_task_push_notification_config
                for call in (
                    client.get_task(pb.GetTaskRequest(id=task_id), context=context),
                    client.cancel_task(pb.CancelTaskRequest(id=task_id), context=context),
                    client.send_message(replying, context=context),
                    anext(client.send_message_streaming(replying, context=context)),
                    anext(client.subscribe(pb.SubscribeToTaskRequest(id=task_id), context=context)),
                    push(hook, context=context),
                    client.get_task_push_notification_config(
                        pb.GetTaskPushNotificationConfigRequest(**one), context=context
                    ),
                    client.list_task_push_notification_configs(
                        pb.ListTaskPushNotificationConfigsRequest(task_id=task_id), context=context
                    ),
                    client.delete_task_push_notification_config(
                        pb.DeleteTaskPushNotificationConfigRequest(**one), context=context
                    ),
                ):
                    with pytest.raises(TaskNotFoundError):
                        await call
            listed = await client.list_tasks(pb.ListTasksRequest(context_id="shared"), context=context)
            assert listed.total_size == 0
        mine = await client.list_tasks(pb.ListTasksRequest(context_id="shared"), context=by_ann)
        assert [one.id for one in mine.tasks] == [task.id]
        served.callers.remove(named[0])
        with pytest.raises(A2AClientError, match="UNAUTHENTICATED"):
            await client.get_task(pb.GetTaskRequest(id=task.id), context=by_ann)


@pytest.mark.parametrize("streams", [True, False])
async def test_an_extension_that_is_active_is_named_in_the_metadata(tmp_path: Path, *, streams: bool) -> None:
    uri = "https://ext.example/offered/v1"
    agent = behaving("offering")
    agent.extensions = (AgentExtension(uri=uri),)
    async with (
        serving(tmp_path, agent) as served,
        grpc_server(served.node, "127.0.0.1:0", GrpcOffer(partial(admitted, Rules(this_user=True)))) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub, request = A2AServiceStub(channel), ParseDict(said("hello"), pb.SendMessageRequest())
        for asked, active in ((f"https://ext.example/other, {uri}", uri), ("https://ext.example/other", None)):
            call = (stub.SendStreamingMessage if streams else stub.SendMessage)(
                request, metadata=(*V1, ("a2a-extensions", asked))
            )
            told = dict(await call.initial_metadata())
            assert told.get("a2a-extensions") == active


async def test_a_client_that_was_not_given_our_own_agent_finds_none(served: Served) -> None:
    ann = served.callers.add("ann-elsewhere", ["did:key:z6MkAnother"])
    rules = Rules(token=TOKEN, callers=served.callers.name_of)
    offer = GrpcOffer(partial(admitted, rules), lambda name: not name or "self" in served.callers.agents_of(name))
    async with (
        grpc_server(served.node, "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        client, by_ann = Client(A2AServiceStub(channel)), (*V1, ("x-api-key", ann))
        for operation, request in (("SendMessage", said("hello")), ("ListTasks", {})):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.call(operation, request, by_ann)
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        served.callers.grant("ann-elsewhere", ["self"])
        assert (await client.call("SendMessage", said("hello"), by_ann))["task"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageFullError("/home/ada/a2a.db"), "RESOURCE_EXHAUSTED"),
        (SchemaTooNewError("/home/ada/a2a.db", 9, 7), "UNAVAILABLE"),
    ],
)
async def test_trouble_of_ours_has_a_status_that_clients_try_again_after(error: McpA2AError, code: str) -> None:
    offer = GrpcOffer(partial(admitted, Rules(this_user=True)))
    async with (
        grpc_server(Failing(error), "127.0.0.1:0", offer) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        for operation, params in (("SendMessage", said("x")), ("GetTask", {"id": "t"}), ("ListTasks", {})):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await Client(A2AServiceStub(channel)).call(operation, params)
            assert caught.value.code() == grpc.StatusCode[code]
            assert "/home/ada" not in str(caught.value.details())


@pytest.mark.parametrize(("count", "refused"), [(9_900, False), (10_001, True), (400_000, True)])
async def test_more_members_than_a_json_text_may_have_are_refused(rpc: Client, count: int, *, refused: bool) -> None:
    params = said("x", parts=[{"data": {"many": [None] * count}}])
    if not refused:
        assert (await rpc.call("SendMessage", params))["task"]
        return
    with pytest.raises(grpc.aio.AioRpcError, match="10,000 members") as caught:
        await rpc.call("SendMessage", params)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_who_cannot_be_looked_up_now_is_told_to_try_again(served: Served) -> None:
    def caller_of(_: object) -> str:
        raise SystemLimitError("open files", "EMFILE")

    async with (
        grpc_server(served.node, "127.0.0.1:0", GrpcOffer(caller_of)) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="Try again") as caught:
            await Client(A2AServiceStub(channel)).call("ListTasks", {})
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_renewed_certificate_is_shown_from_the_next_connection_on(served: Served, tmp_path: Path) -> None:
    ca = authority(tmp_path)
    first, second = ca.issue("127.0.0.1"), ca.issue("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    shutil.copy(first[0], chain)
    shutil.copy(first[1], key)
    trusted = ca.trusted
    trusted.set_alpn_protocols(["h2"])
    offer = GrpcOffer(partial(admitted, Rules(this_user=True)), certificate=CertificateFiles(chain, key))
    async with grpc_server(served.node, "127.0.0.1:0", offer) as port:

        async def shown() -> bytes:
            connected = anyio.connect_tcp(
                "127.0.0.1", port, tls=True, ssl_context=trusted, tls_standard_compatible=False
            )
            async with await connected as stream:
                return bytes(stream.extra_attributes[TLSAttribute.peer_certificate_binary]())

        assert await shown() == ssl.PEM_cert_to_DER_cert(first[0].read_text())
        shutil.copy(second[0], chain)  # its key has not come yet
        assert await shown() == ssl.PEM_cert_to_DER_cert(first[0].read_text())
        shutil.copy(second[1], key)
        assert await shown() == ssl.PEM_cert_to_DER_cert(second[0].read_text())
