"""One load through the relay of the tree that is first on the path, as one JSON line: `online|offline COUNT`."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import anyio
from loads import ours
from loads.flight import pin
from loads.servers import GENERATOR_CORE
from loads.shape import Shape

PAIRS, IN_FLIGHT = 32, 64


async def figures(kind: str, count: int) -> dict[str, object]:
    shape = Shape(PAIRS, IN_FLIGHT, count)
    with tempfile.TemporaryDirectory() as folder:
        if kind == "online":
            return asdict(await ours.online(Path(folder), shape))
        return asdict((await ours.offline(Path(folder), shape)).stored)


if __name__ == "__main__":
    pin(GENERATOR_CORE)
    found = anyio.run(figures, sys.argv[1], int(sys.argv[2]), backend_options={"use_uvloop": True})
    print(json.dumps(found))
