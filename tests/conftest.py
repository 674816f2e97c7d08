"""What every test shares."""

from __future__ import annotations

import signal

import pytest

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that starts us in the background has programs ignore Ctrl-C, which those that we start would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend() -> str:
    """Sockets and the mDNS lookup are asyncio's; tests of the sans-I/O core need no loop at all."""
    return "asyncio"
