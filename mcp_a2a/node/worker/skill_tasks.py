"""Tasks that a skill starts with `asyncio.create_task`: an exit in one would end the event loop, and all others.

asyncio raises SystemExit and KeyboardInterrupt of a task out of the loop as well, where nothing of a skill can catch
them. Here they stay in the task, and reach the code that awaits it.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  skills use it, and anyio cannot see what they start
from collections.abc import Coroutine, Generator
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import TypeAlias, cast

from typing_extensions import override

Work: TypeAlias = Coroutine[object, object, object]

_of_skill: ContextVar[bool] = ContextVar("of_skill", default=False)


def keep_exits_in_tasks() -> None:
    """From here on, for this task and all that it starts, an exit ends no more than the task it was raised in."""
    _of_skill.set(True)
    loop = asyncio.get_running_loop()
    if loop.get_task_factory() is None:  # else it is ours, or that of the program which runs this agent
        loop.set_task_factory(_make_task)  # type: ignore[arg-type]  # its type differs between versions


async def drop_cancellation() -> None:
    """Take what is left of a cancellation of this task, which ends, so that it does not end the group of the task."""
    if getattr(asyncio.current_task(), "_must_cancel", True):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


def _make_task(loop: asyncio.AbstractEventLoop, work: object, **more: object) -> asyncio.Task[object]:
    made = cast("Work", work)
    return asyncio.Task(_Kept(made) if _of_skill.get() else made, loop=loop, **more)  # type: ignore[arg-type]


class _Kept(Work):
    """A coroutine whose exits are in a group, which asyncio treats like any other error."""

    def __init__(self, inner: Work) -> None:
        self._inner = inner

    @override
    def send(self, value: object) -> object:
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _grouped(error) from None

    @override
    def throw(self, error: object, value: object = None, trace: TracebackType | None = None) -> object:
        try:
            return self._inner.throw(cast("BaseException", error))
        except (SystemExit, KeyboardInterrupt) as raised:
            raise _grouped(raised) from None

    @override
    def close(self) -> None:
        self._inner.close()

    @override
    def __await__(self) -> Generator[None, object, object]:
        return cast("Generator[None, object, object]", self._inner.__await__())

    def __getattr__(self, name: str) -> object:
        """Name and state (`cr_running` and so on) of the coroutine: anyio asks for them when it cancels a task."""
        return getattr(self._inner, name)


def _grouped(error: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("a task of a skill", [error])
