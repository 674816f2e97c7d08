"""A question to a node. Its type names the answer, so one method of a node answers all of them."""

from __future__ import annotations

from typing import ClassVar, Generic, Protocol, TypeVar

from pydantic import ConfigDict
from typing_extensions import Unpack, override

from mcp_a2a.api.view import View

A_co = TypeVar("A_co", bound=View, covariant=True)
A = TypeVar("A", bound=View)


class Request(View, Generic[A_co]):
    """A question that a node answers with an `A_co`: `class PingRequest(Request[PingView], operation="ping")`.

    Named last among the bases of a class, it leaves them the order of their fields. A process asks few of the
    questions, so the validator of each is built when it is first used.
    """

    model_config = ConfigDict(defer_build=True)

    @property
    def waits(self) -> bool:
        """True if its answer may take longer than the disk does."""
        return True

    operation: ClassVar[str]
    """The name of the question on the control socket, where processes of two versions may meet."""

    @override
    def __init_subclass__(cls, *, operation: str = "", **config: Unpack[ConfigDict]) -> None:
        super().__init_subclass__(**config)
        if operation:
            cls.operation = operation


class Call(Protocol):
    """The call that answers requests, in this process or in another one."""

    async def __call__(self, request: Request[A], /) -> A:
        """Answer a question.

        Raises:
            McpA2AError: the question cannot be answered.
        """


def answer_of(kind: type[Request[A]]) -> type[A]:
    """The model of the answer to a question.

    Raises:
        TypeError: the class names no answer.
    """
    for base in kind.__mro__:
        if issubclass(base, Request) and base.__pydantic_generic_metadata__["origin"] is Request:
            answer: type[A] = base.__pydantic_generic_metadata__["args"][0]
            return answer
    raise TypeError(f"{kind.__name__} names no answer")
