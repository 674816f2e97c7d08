"""Checks the caller of a gRPC call before any of its message is read.

The SDK's handlers get a call with its message, so that a stranger who opens calls and sends nothing would keep each of
them for as long as it likes. Here a call of a caller that may not make it ends at its metadata, and one of another has
`READ_SECONDS` for its message.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from urllib.parse import unquote

import anyio
import grpc
from typing_extensions import override

from mcp_a2a.a2a.service import Arrival, RequestQuota, token_of
from mcp_a2a.errors import McpA2AError

logger = logging.getLogger(__name__)

READ_SECONDS = 60.0
"""Seconds that the message of a call may take."""

CALLER: ContextVar[str] = ContextVar("caller")
"""Under which name the call is made that is being answered."""


class CallerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Reads a message only from a caller that may make the call."""

    def __init__(
        self,
        caller_of: Callable[[Arrival], str | None],
        permits: Callable[[str], bool],
        most: int,
        read_seconds: float,
    ) -> None:
        self._caller_of, self._permits, self._read_seconds = caller_of, permits, read_seconds
        self._quota = RequestQuota(most)
        self.here = ("", 0)
        """The address at which the server listens."""

    @override
    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler of a method, behind this check. A handler of a stream of messages gets the call without one."""
        inner = await continuation(handler_call_details)
        if inner is None:  # there is no such method
            return inner

        async def answer(_: object, call: grpc.aio.ServicerContext) -> object:
            request = await self._let_in(call)
            return await inner.unary_unary(request, call)

        async def stream(_: object, call: grpc.aio.ServicerContext) -> AsyncIterator[object]:
            request = await self._let_in(call)
            async with aclosing(inner.unary_stream(request, call)) as answers:
                async for one in answers:
                    yield one

        coding = {
            "request_deserializer": inner.request_deserializer,
            "response_serializer": inner.response_serializer,
        }
        if inner.response_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, **coding)
        return grpc.stream_unary_rpc_method_handler(answer, **coding)

    async def _let_in(self, call: grpc.aio.ServicerContext) -> object:
        """The message of a call, which ends here if its caller may not make it."""
        # Asked at each call: gRPC does not say which calls share a connection.
        try:
            caller = self._caller_of(_arrival(call, self.here))
            permitted = caller is not None and self._permits(caller)
        except McpA2AError as error:
            logger.warning("a call was put off: who makes it cannot be told: %s", error.message)
            await call.abort(grpc.StatusCode.UNAVAILABLE, "Who calls cannot be looked up now. Try again in a moment.")
            raise AssertionError("abort raises") from None
        if caller is None:
            await call.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "This call is not shown to be of the user who runs this server. "
                "Send the token as metadata: authorization: Bearer TOKEN.",
            )
            raise AssertionError("abort raises")
        if not permitted:
            await call.abort(grpc.StatusCode.NOT_FOUND, "This node knows no such agent.")
        if not self._quota.enter(caller):
            await call.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"This client has {self._quota.most} calls open. Try again when one has ended.",
            )
        call.add_done_callback(lambda _: self._quota.leave(caller))
        CALLER.set(caller)
        request: object = grpc.aio.EOF
        with anyio.move_on_after(self._read_seconds):
            request = await call.read()
        if request is grpc.aio.EOF:
            await call.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "The message of this call did not come.")
        return request


def _arrival(call: grpc.aio.ServicerContext, here: tuple[str, int]) -> Arrival:
    metadata = [(key.lower(), value) for key, value in call.invocation_metadata() or ()]
    token = token_of(
        *([str(value) for key, value in metadata if key == name] for name in ("authorization", "x-api-key"))
    )
    return Arrival(token, _end(call.peer()), here, frozenset(key for key, _ in metadata))


def _end(peer: str) -> tuple[str, int]:
    """The end of a connection as gRPC writes it: ipv4:127.0.0.1:40000, ipv6:%5B::1%5D:40000."""
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return host.strip("[]"), int(port) if port.isascii() and port.isdigit() else 0
