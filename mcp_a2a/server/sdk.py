"""The one place that touches what the MCP SDK does not promise to keep.

Its `MCPServer` can be run on its own transports only; serving it on ours needs the low-level server inside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

import anyio
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.runner import serve_dual_era_loop
from mcp.server.session import ServerSession
from mcp.shared._stream_protocols import ReadStream, WriteStream  # type-only here, but needed at run time for the alias
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp.types import INVALID_PARAMS, EmptyResult, RequestParams
from pydantic import ValidationError

from mcp_a2a.protocol.plain_words import faults_of

LifespanT = TypeVar("LifespanT")
ParamsT = TypeVar("ParamsT", bound=RequestParams)

Incoming: TypeAlias = ReadStream[SessionMessage | Exception]
Outgoing: TypeAlias = WriteStream[SessionMessage]
ServeStreams: TypeAlias = Callable[[Incoming, Outgoing], Awaitable[None]]


class Unclosed:
    """A stream as the SDK wants it, whose owner closes it: closing and leaving it do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Messages(Unclosed, ABC):
    """Messages of a client for the SDK, which reads them in either way; `__anext__` ends with StopAsyncIteration."""

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> SessionMessage | Exception: ...

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            EndOfStream: the client closed its end.
        """
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None


@asynccontextmanager
async def stream_server(server: MCPServer[LifespanT]) -> AsyncIterator[ServeStreams]:
    """Enter the server's lifespan once; yields a function that serves one connection until its input ends."""
    inner = server._lowlevel_server  # noqa: SLF001  see the module
    async with inner.lifespan(inner) as state:

        async def serve(read: Incoming, write: Outgoing) -> None:
            await serve_dual_era_loop(
                inner, read, write, lifespan_state=state, init_options=inner.create_initialization_options()
            )

        yield serve


def add_method(
    server: MCPServer[LifespanT], method: str, params: type[ParamsT], handle: Callable[[ParamsT], None]
) -> None:
    """Answer a method that `MCPServer` does not serve with an empty result; its capability is announced."""

    async def handler(_: ServerRequestContext[LifespanT, object], given: ParamsT) -> EmptyResult:
        handle(given)
        return EmptyResult()

    server._lowlevel_server.add_request_handler(method, params, handler)  # noqa: SLF001  see the module


Check: TypeAlias = Callable[[str, Mapping[str, object]], Mapping[str, object]]


def check_requests(server: MCPServer[LifespanT], check: Check) -> None:
    """Have every request checked before it is served, and say what is wrong with parameters of another form.

    `check` gets its method and parameters, returns the parameters that count, and raises `MCPError` for what is not
    served. The SDK says of parameters that they are invalid, and neither which nor why.
    """

    async def checked(ctx: ServerRequestContext[LifespanT, object], call_next: CallNext) -> HandlerResult:
        params = ctx.params or {}
        counting = check(ctx.method, params)
        try:
            return await call_next(ctx if counting is params else replace(ctx, params=counting))
        except ValidationError as error:
            raise MCPError(INVALID_PARAMS, f"{ctx.method} was not done. {faults_of(error)}.") from None

    server._lowlevel_server.middleware.append(checked)  # noqa: SLF001  see the module


async def ask_client(session: ServerSession, method: str) -> Mapping[str, object]:
    """The client's answer to a request without parameters, as it came.

    The session's own `send_request` refuses a whole answer for one odd value in it.

    Raises:
        MCPError: the client answered with an error, or cannot be asked.
    """
    return await session._connection.outbound.send_raw_request(method, None, None)  # noqa: SLF001  see the module
