"""The gRPC binding (A2A 10), for who has the extra `grpc`: the official SDK's handler over our dispatch.

What the SDK leaves out is here: the version is checked, and the token, which travels as metadata.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import grpc
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers import RequestHandler
from a2a.server.request_handlers.grpc_handler import GrpcHandler
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import add_A2AServiceServicer_to_server
from a2a.utils import errors
from typing_extensions import override

from mcp_a2a.a2a.body import extended_card
from mcp_a2a.a2a.dispatch import Dispatch
from mcp_a2a.a2a.faults import Fault, Kind, told
from mcp_a2a.a2a.files import FileUrl
from mcp_a2a.a2a.grpc_interceptor import CALLER, READ_SECONDS, CallerInterceptor
from mcp_a2a.a2a.params import ListParams, OnePushParams, PushParams, SendParams, TaskParams
from mcp_a2a.a2a.protobuf import Event, event_of, made, parsed, read_message
from mcp_a2a.a2a.service import MAX_OPEN_PER_CALLER, Arrival, Service, check_service, no_card, no_url
from mcp_a2a.accepting import raise_open_files
from mcp_a2a.api.agents import GetAgentRequest
from mcp_a2a.certificates import CertificateFiles
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.model import AgentCard, TaskPushNotificationConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp_a2a.ports import NodeApi

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_CALLS = 10 * MAX_OPEN_PER_CALLER
"""Calls at a time, of all callers together."""
MAX_CONNECTIONS = 500
"""gRPC knows no hosts, so one may take them all; files and links of the node it cannot take."""

GRACE_SECONDS = 1.0

HANDSHAKE_SECONDS = 5
IDLE_SECONDS = 300
"""A connection without calls is closed after so long, with a word on which clients open another when they need one."""

KNOWN_SECONDS = 2.0
"""The card is asked for again so soon: asking costs more than a call."""

_ERRORS: dict[Kind, type[errors.A2AError]] = {
    Kind.TASK_NOT_FOUND: errors.TaskNotFoundError,
    Kind.NOT_CANCELABLE: errors.TaskNotCancelableError,
    Kind.PUSH_NOT_SUPPORTED: errors.PushNotificationNotSupportedError,
    Kind.UNSUPPORTED_OPERATION: errors.UnsupportedOperationError,
    Kind.CONTENT_TYPE: errors.ContentTypeNotSupportedError,
    Kind.INVALID_RESPONSE: errors.InvalidAgentResponseError,
    Kind.NO_EXTENDED_CARD: errors.ExtendedAgentCardNotConfiguredError,
    Kind.EXTENSION_REQUIRED: errors.ExtensionSupportRequiredError,
    Kind.VERSION: errors.VersionNotSupportedError,
    Kind.INVALID_PARAMS: errors.InvalidParamsError,
    Kind.INVALID_REQUEST: errors.InvalidRequestError,
    Kind.METHOD_NOT_FOUND: errors.MethodNotFoundError,
}


@dataclass(frozen=True)
class GrpcOffer:
    """The agent, its callers and its limits, as gRPC serves it."""

    caller_of: Callable[[Arrival], str | None]
    """Under which name a call is made; None where it may not be."""
    permits: Callable[[str], bool] = lambda _: True
    """True if the caller of this name reaches our own agent, the only one served over gRPC."""
    push: bool = False
    token: bool = False
    certificate: CertificateFiles | None = None
    """Chain and key in PEM."""
    show_card: Callable[[], Awaitable[bytes]] = no_card
    """The card as it is served over HTTP to who has shown who it is."""
    file_url: FileUrl = no_url
    """The URL of a file that does not fit into a message."""


class CoreHandler(RequestHandler):
    """The SDK's interface, answered by our dispatch."""

    def __init__(self, node: NodeApi, offer: GrpcOffer) -> None:
        self._node = node
        self._offer = offer
        self._dispatch = Dispatch(node)
        self._known: tuple[float, AgentCard] | None = None

    # --- operations ------------------------------------------------------------------------------

    @override
    async def on_message_send(self, params: pb.SendMessageRequest, context: ServerCallContext) -> pb.Task | pb.Message:
        async with self._serving(context) as service:
            answer = await self._dispatch.send(read_message(SendParams, params), service)
        if answer.reply is not None:
            return made(answer.reply, pb.Message())
        return made(answer.task, pb.Task())

    @override
    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        async with self._serving(context) as service:
            async for event in self._dispatch.stream(read_message(SendParams, params), service):
                yield event_of(event)

    @override
    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        async with self._serving(context) as service:
            async for event in self._dispatch.subscribe(read_message(TaskParams, params), service):
                yield event_of(event)

    @override
    async def on_get_task(self, params: pb.GetTaskRequest, context: ServerCallContext) -> pb.Task | None:
        async with self._serving(context) as service:
            return made(await self._dispatch.get(read_message(TaskParams, params), service), pb.Task())

    @override
    async def on_list_tasks(self, params: pb.ListTasksRequest, context: ServerCallContext) -> pb.ListTasksResponse:
        async with self._serving(context) as service:
            asked = read_message(ListParams, params)
            page = await self._dispatch.list(asked, service)
        return pb.ListTasksResponse(
            tasks=[made(task, pb.Task()) for task in page.tasks],
            next_page_token=page.next_page_token,
            page_size=asked.size,
            total_size=page.total_size,
        )

    @override
    async def on_cancel_task(self, params: pb.CancelTaskRequest, context: ServerCallContext) -> pb.Task | None:
        async with self._serving(context) as service:
            return made(await self._dispatch.cancel(read_message(TaskParams, params), service), pb.Task())

    @override
    async def on_create_task_push_notification_config(
        self, params: pb.TaskPushNotificationConfig, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        async with self._serving(context) as service:
            config = await self._dispatch.set_push(read_message(TaskPushNotificationConfig, params), service)
        return made(config, pb.TaskPushNotificationConfig())

    @override
    async def on_get_task_push_notification_config(
        self, params: pb.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        async with self._serving(context) as service:
            config = await self._dispatch.get_push(read_message(OnePushParams, params), service)
        return made(config, pb.TaskPushNotificationConfig())

    @override
    async def on_list_task_push_notification_configs(
        self, params: pb.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> pb.ListTaskPushNotificationConfigsResponse:
        async with self._serving(context) as service:
            configs = await self._dispatch.list_push(read_message(PushParams, params), service)
        listed = [made(config, pb.TaskPushNotificationConfig()) for config in configs]
        return pb.ListTaskPushNotificationConfigsResponse(configs=listed)

    @override
    async def on_delete_task_push_notification_config(
        self, params: pb.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        async with self._serving(context) as service:
            await self._dispatch.delete_push(read_message(OnePushParams, params), service)

    @override
    async def on_get_extended_agent_card(
        self, params: pb.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> pb.AgentCard:
        async with self._serving(context) as service:
            return parsed(await extended_card(service), pb.AgentCard())

    # --- who calls, and how ----------------------------------------------------------------------

    @asynccontextmanager
    async def _serving(self, context: ServerCallContext) -> AsyncIterator[Service]:
        """The service of a call; what goes wrong in it is told in the SDK's errors."""
        try:
            yield await self._service(context)
        except (errors.A2AError, grpc.aio.AbortError):
            raise
        except Exception as error:
            fault = told(error)
            if fault.kind.value.retry_after is not None:
                raise _PassingError(fault) from error
            raise _ERRORS.get(fault.kind, errors.InternalError)(fault.message) from error

    async def _service(self, context: ServerCallContext) -> Service:
        """The service parameters of a call (A2A 3.2.6)."""
        caller, call = CALLER.get(), context.state["grpc_context"]
        metadata = {key.lower(): str(value) for key, value in call.invocation_metadata() or ()}
        card = await self._card()
        service = Service(
            agent="self",
            card=card,
            caller=caller,
            version=metadata.get("a2a-version", ""),
            extensions=frozenset(context.requested_extensions),
            idempotency_key=metadata.get("idempotency-key"),
            push=self._offer.push,
            show_extended=self._offer.show_card,
            has_extended_card=self._offer.token,
            file_url=self._offer.file_url,
            permitted=partial(self._offer.permits, caller),
        )
        if service.version.startswith("0."):  # its messages have another package, and other fields
            raise Fault(Kind.VERSION, f"A2A {service.version} is not spoken over gRPC; 1.0 is.", supported="1.0")
        check_service(service)
        if active := ", ".join(sorted(service.active_extensions)):  # as the other bindings say it in a header
            await call.send_initial_metadata((("a2a-extensions", active),))
        return service

    async def _card(self) -> AgentCard:
        """Our card, as it was a moment ago."""
        now = anyio.current_time()
        if self._known is None or now >= self._known[0]:
            detail = await self._node.call(GetAgentRequest(agent="self"))
            self._known = now + KNOWN_SECONDS, detail.card
        return self._known[1]


class _PassingError(errors.A2AError):
    """Trouble that passes, for which the SDK has no word."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.status = grpc.StatusCode[fault.kind.value.status]


class _Servicer(GrpcHandler):
    """The SDK's handler, which tells trouble that passes by the status that clients repeat a call after."""

    @override
    async def abort_context(self, error: errors.A2AError, context: grpc.aio.ServicerContext) -> None:
        if isinstance(error, _PassingError):
            await context.abort(error.status, str(error))
        await super().abort_context(error, context)


@asynccontextmanager
async def grpc_server(node: NodeApi, address: str, offer: GrpcOffer) -> AsyncIterator[int]:
    """Serve gRPC at HOST:PORT while the context lasts; yields the port.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    interceptor = CallerInterceptor(offer.caller_of, offer.permits, MAX_OPEN_PER_CALLER, READ_SECONDS)
    server = grpc.aio.server(interceptors=[interceptor], options=_options(), maximum_concurrent_rpcs=MAX_CALLS)
    add_A2AServiceServicer_to_server(_Servicer(CoreHandler(node, offer)), server)  # type: ignore[no-untyped-call]
    try:
        port = _bind(server, address, offer.certificate)
    except RuntimeError as error:
        raise ConfigurationError(f"gRPC cannot listen on {address}: {error}.", "Choose another port.") from error
    interceptor.here = (address.rpartition(":")[0].strip("[]"), port)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(GRACE_SECONDS)


def _options() -> list[tuple[str, int]]:
    files = raise_open_files(4 * MAX_CONNECTIONS)
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", min(MAX_CONNECTIONS, files // 4)),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1_000),
        ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1_000),
    ]


def _bind(server: grpc.aio.Server, address: str, certificate: CertificateFiles | None) -> int:
    if certificate is None:
        return int(server.add_insecure_port(address))

    def written() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([certificate.pem()])

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        """Asked at each handshake, by a thread of gRPC; None leaves what there is."""
        with suppress(OSError):
            return written() if certificate.renewed() is not None else None
        return None

    return int(server.add_secure_port(address, grpc.dynamic_ssl_server_credentials(written(), renewed)))
