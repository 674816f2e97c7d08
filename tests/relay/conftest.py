"""A relay on a free port of this machine, and a door to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from mcp_a2a.config import RelaySettings
from mcp_a2a.relay_operator import ServingRelay
from mcp_a2a.relaying import serve_relay
from tests.node.world import World
from tests.relay.guest import Door, open_door

Open = Callable[..., AbstractAsyncContextManager[tuple[ServingRelay, Door]]]


@pytest.fixture
def open_relay(tmp_path: Path) -> Open:
    """Run the relay of the test's folder with these settings; again is a restart."""

    @asynccontextmanager
    async def run(**settings: object) -> AsyncIterator[tuple[ServingRelay, Door]]:
        given = RelaySettings.model_validate({"home": tmp_path, "listen": "127.0.0.1:0", "closed": False, **settings})
        async with serve_relay(given) as relay, open_door(relay.port) as door:
            yield relay, door

    return run


@pytest.fixture
async def door(open_relay: Open) -> AsyncIterator[Door]:
    """A relay as it comes."""
    async with open_relay() as (_, door):
        yield door


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[ServingRelay]:
    """An open relay, without a door."""
    async with serve_relay(RelaySettings(home=tmp_path / "relay", listen=":0", closed=False)) as relay:
        yield relay


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Nodes that have their folders in the test's."""
    return World(tmp_path)
