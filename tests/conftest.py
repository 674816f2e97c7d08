"""What every test shares."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing of the promise.
settings.register_profile("patient", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Tests start hundreds of programs: where each compiles all of ours anew, each takes half a second more.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell that starts us in the background has programs ignore Ctrl-C, and nohup(1) the end of a terminal: those that we
# start would inherit it.
for ignored, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(ignored) == signal.SIG_IGN:
        signal.signal(ignored, handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the files, those that take long come first: at the end nobody waits for one."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (item.path not in slow, "e2e" not in item.path.parts))


@pytest.fixture
def anyio_backend() -> str:
    """Sockets and the mDNS lookup are asyncio's; tests of the sans-I/O core need no loop at all."""
    return "asyncio"
