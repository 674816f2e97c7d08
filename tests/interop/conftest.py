"""The official SDKs, each in a virtual environment of its own, made once and kept in pytest's cache."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.a2a.conftest import anyio_backend, served  # noqa: F401  fixtures

REQUIREMENTS = {
    "1": ("a2a-sdk[http-server,grpc,signing]==1.3.0", "uvicorn"),
    "0_3": ("a2a-sdk[http-server]==0.3.26", "uvicorn"),
}

INSTALL_SECONDS = 240


def python_with(cache: pytest.Cache, version: str) -> Path:
    """An interpreter that has that SDK. All of them are made at once: most of that is waiting."""
    with ThreadPoolExecutor() as pool:
        made = {each: pool.submit(_python_with, cache, each) for each in REQUIREMENTS}
    return made[version].result()


def _python_with(cache: pytest.Cache, version: str) -> Path:
    folder = cache.mkdir(f"a2a-sdk-{version}-{sys.version_info.major}.{sys.version_info.minor}")
    interpreter, done = folder / "bin" / "python", folder / "complete"
    if done.exists() and done.read_text() == repr(REQUIREMENTS[version]):
        return interpreter
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=INSTALL_SECONDS)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", *REQUIREMENTS[version]]
        subprocess.run(install, check=True, timeout=INSTALL_SECONDS, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        if os.environ.get("MCP_A2A_REQUIRE_INTEROP"):
            raise
        pytest.skip(f"a2a-sdk {version} cannot be installed here: {error}")
    done.write_text(repr(REQUIREMENTS[version]))
    return interpreter


@pytest.fixture(scope="session", params=list(REQUIREMENTS))
def sdk(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A version of the SDK, and an interpreter that has it."""
    version: str = request.param
    return version, python_with(request.config.cache, version)
