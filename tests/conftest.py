"""What every test shares."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Sockets and the mDNS lookup are asyncio's; tests of the sans-I/O core need no loop at all."""
    return "asyncio"
