"""Runs `mcp-a2a` on a pipe and writes down which modules one tool call enters, and in which forms the message passes.

SIGUSR1 begins a walk, SIGUSR2 ends it: then a JSON line goes to the descriptor that `WALK_FD` names. `WALK_TEXT` is the
message, by which its forms are known. The process runs on asyncio's loop, whose `transport.write` is Python and can be
seen.

A walk has three parts. `before`: reading the client's line. `out`: from the first function of the product that gets the
arguments of the tool, to the first write of a sealed message. `back`: the rest.
"""

from __future__ import annotations

import dis
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import FrameType

import counting

TEXT = os.environ["WALK_TEXT"]
MARK = TEXT.encode()
PARTS = ("before", "out", "back")
ARGUMENTS = {"agent", "message"}
MIN_SEALED = 1_000
"""Bytes: an envelope is longer than this, and nothing else on a link that is at rest is."""
LOOP_FILE = "asyncio/selector_events.py"
DEPTH = 5
RESUME = dis.opmap["RESUME"]


def module_of(path: str) -> str | None:
    """`node/outbox` for a file of the product, `transports/direct` for one of a transport, else None."""
    for root, prefix in zip(counting.ROOTS, ("", "transports/"), strict=True):
        if path.startswith(root):
            return prefix + path.removeprefix(root).removesuffix(".py")
    return None


def unmasked(data: bytes) -> bytes:
    """The payload of one WebSocket frame of a client (RFC 6455, section 5.2); of another's, the frame itself."""
    if len(data) < 14 or not data[1] & 0x80:
        return data
    start = {126: 4, 127: 10}.get(data[1] & 0x7F, 2)
    mask, payload = data[start : start + 4], data[start + 4 :]
    repeated = int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)])
    return (int.from_bytes(payload) ^ repeated).to_bytes(len(payload))


class Walk:
    """One walk: the modules in order of entry, and every value that a function of the product got or returned."""

    def __init__(self) -> None:
        self.part: str | None = None
        self._module: dict[str, str | None] = {}
        self._reset()

    def _reset(self) -> None:
        self.modules: dict[str, list[str]] = {part: [] for part in PARTS}
        self.calls = dict.fromkeys(PARTS, 0)
        self.changes = dict.fromkeys(PARTS, 0)
        self._values: dict[str, list[object]] = {part: [] for part in PARTS}
        self._seen: set[int] = set()
        self._old: list[object] = []
        self._last = ""
        self._sealed = b""

    def begin(self, *_: object) -> None:
        """Start. The values that exist already are no forms of this message.

        The list of them keeps every one alive, so that no new value gets the id of an old one.
        """
        self._reset()
        self._old = gc.get_objects()
        self._seen = {id(value) for value in self._old}
        self.part = "before"

    def end(self, *_: object) -> None:
        self.part = None
        found = {
            "modules": self.modules,
            "calls": self.calls,
            "changes": self.changes,
            "forms": {part: self._forms(values) for part, values in self._values.items()},
        }
        os.write(int(os.environ["WALK_FD"]), json.dumps(found).encode() + b"\n")
        self._reset()

    def hook(self, frame: FrameType, event: str, returned: object) -> None:
        """For sys.setprofile."""
        if self.part is None or event not in ("call", "return"):
            return
        path = frame.f_code.co_filename
        if path not in self._module:
            self._module[path] = module_of(path)
        module = self._module[path]
        if module is None:
            if event == "call" and self.part == "out" and path.endswith(LOOP_FILE):
                self._look_for_wire(frame)
            return
        values = [returned] if event == "return" else list(frame.f_locals.values())
        if self.part == "before" and any(map(_is_arguments, values)):
            self.part = "out"
        if event == "call" and not _is_resumed(frame):
            self._enter(module)
        for value in values:
            self._keep(value)

    def _enter(self, module: str) -> None:
        assert self.part is not None
        self.calls[self.part] += 1
        if module != self._last:
            self.changes[self.part] += 1
            self._last = module
        if module not in self.modules[self.part]:
            self.modules[self.part].append(module)

    def _look_for_wire(self, frame: FrameType) -> None:
        data = frame.f_locals.get("data") if frame.f_code.co_name == "write" else None
        if isinstance(data, bytes | bytearray | memoryview) and len(data) >= MIN_SEALED:
            payload = unmasked(bytes(data))
            middle = len(payload) // 2
            self._sealed = payload[middle : middle + 64]
            self.part = "back"

    def _keep(self, value: object) -> None:
        if self.part is not None and not isinstance(value, int | float | None) and id(value) not in self._seen:
            self._seen.add(id(value))
            self._values[self.part].append(value)

    # --- forms of the message -----------------------------------------------------------------------------------------

    def _forms(self, values: list[object]) -> list[str]:
        """The types that carry the message, in the order in which they are first seen."""
        old = {id(value) for value in self._old}
        found = list[str]()
        for value in values:
            for inner in self._nested(value, DEPTH, old):
                name = self._form(inner)
                if name is not None and name not in found and self._carries(inner, DEPTH, old):
                    found.append(name)
        return found

    def _nested(self, value: object, depth: int, old: set[int]) -> Iterator[object]:
        if depth and id(value) not in old:
            yield value
            for inner in _inside(value):
                yield from self._nested(inner, depth - 1, old)

    def _carries(self, value: object, depth: int, old: set[int]) -> bool:
        if isinstance(value, str):
            return TEXT in value
        if isinstance(value, bytes | bytearray):
            return MARK in value or bool(self._sealed and self._sealed in value)
        if not depth or id(value) in old:
            return False
        return any(self._carries(inner, depth - 1, old) for inner in _inside(value))

    def _form(self, value: object) -> str | None:
        """How the type of a value is called; None where it is no form of its own."""
        if isinstance(value, str):
            return None if value == TEXT else "str"
        if isinstance(value, bytes | bytearray):
            return "bytes, readable" if MARK in value else "bytes, sealed"
        if isinstance(value, dict):
            return "dict"
        kind = type(value)
        return kind.__name__ if kind.__module__.startswith("mcp_a2a") and any(True for _ in _inside(value)) else None


def _is_resumed(frame: FrameType) -> bool:
    """True if a coroutine goes on where it waited. The argument of RESUME is 0 at the start of a function (dis)."""
    code, place = frame.f_code.co_code, frame.f_lasti
    return place >= 0 and code[place] == RESUME and bool(code[place + 1] & 3)


def _is_arguments(value: object) -> bool:
    return isinstance(value, dict) and value.keys() >= ARGUMENTS and value["message"] == TEXT


def _inside(value: object) -> Iterator[object]:
    """What a value of plain data holds."""
    if isinstance(value, Mapping):
        yield from list(value.values())
    elif isinstance(value, list | tuple):
        yield from value
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield getattr(value, field.name, None)
    elif hasattr(type(value), "model_fields"):
        yield from list(vars(value).values())


def main() -> None:
    """Install the hook before the product starts a thread, then be the product."""
    walk = Walk()
    counting.use_asyncio_loop()
    signal.signal(signal.SIGUSR1, walk.begin)
    signal.signal(signal.SIGUSR2, walk.end)
    threading.setprofile(walk.hook)
    sys.setprofile(walk.hook)
    sys.argv = ["mcp-a2a", "--no-mdns"]
    from mcp_a2a.__main__ import main as product  # noqa: PLC0415  the hooks come first

    product()


if __name__ == "__main__":
    main()
