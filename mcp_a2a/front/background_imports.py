"""Imports behind a front, in a thread, while the main thread goes on with the client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Loaded = TypeVar("Loaded")


class Behind(Generic[Loaded]):
    """Calls `load` in a thread, and `done` in the same thread when it has returned or raised."""

    def __init__(self, load: Callable[[], Loaded], done: Callable[[], None]) -> None:
        self._load, self._done = load, done
        self._loaded: list[Loaded] = []
        self._failure: BaseException | None = None
        self.ended = False
        threading.Thread(target=self._run, daemon=True).start()

    def result(self) -> Loaded:
        """The result of the function, once it has `ended`.

        Raises:
            BaseException: what it raised.
        """
        if self._failure is not None:
            raise self._failure
        return self._loaded[0]

    def _run(self) -> None:
        try:
            self._loaded.append(self._load())
        except BaseException as error:  # noqa: BLE001  raised in the thread that asks for the result
            self._failure = error
        self.ended = True
        self._done()
