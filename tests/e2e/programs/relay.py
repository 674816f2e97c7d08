"""A relay on a free port of this machine, with limits that nobody meets. Started by tests."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import careless  # beside this program

careless.where_asked()


async def main(home: Path) -> None:
    from mcp_a2a.config import RelaySettings  # noqa: PLC0415  once the databases are careless
    from mcp_a2a.relaying import serve_relay  # noqa: PLC0415

    settings = RelaySettings(
        home=home, listen="127.0.0.1:0", closed=False, rate=100_000, burst=100_000, rate_mib=10_000
    )
    async with serve_relay(settings) as serving:
        sys.stdout.write(f"{serving.url}\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


anyio.run(main, Path(sys.argv[1]))
