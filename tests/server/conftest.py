"""A client of the surface, in both protocol eras."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mcp.client import Client

from mcp_a2a.server.surface import build_server
from tests.server.standin import StandIn


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """The era: "auto" speaks 2026-07-28, "legacy" 2025-11-25."""
    return str(request.param)


@pytest.fixture
def node() -> StandIn:
    return StandIn()


@pytest.fixture
def connect(node: StandIn, mode: str) -> Callable[..., Client]:
    """An official client of a server in front of the node."""
    return lambda **options: Client(build_server(node), mode=mode, **options)
