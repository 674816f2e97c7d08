"""The official SDKs and frameworks built on A2A, each in an environment of its own, made once and kept in a cache.

The two SDKs run wherever they can be installed. The frameworks are larger: they run where MCP_A2A_FRAMEWORKS names them
("all", or some of `FRAMEWORKS` with commas between).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import npm
from tests.a2a.conftest import anyio_backend, served  # noqa: F401  fixtures
from tests.environments import INSTALL_SECONDS, made

REQUIREMENTS: Mapping[str, Sequence[str]] = {
    "1": ("a2a-sdk[http-server,grpc,signing]==1.3.0", "uvicorn"),
    "0_3": ("a2a-sdk[http-server]==0.3.26", "uvicorn"),
}

FRAMEWORKS: Mapping[str, Sequence[str]] = {
    "adk": ("google-adk[a2a]==2.13.0", "uvicorn"),
    "maf": ("agent-framework-a2a==1.0.0b261022", "a2a-sdk[http-server]==1.3.0", "uvicorn"),
    "fasta0": ("fasta2a==0.6.1", "pydantic-ai-slim==2.68.0", "httpx", "uvicorn"),
    "fasta2": ("fasta2a[pydantic-ai]==2.1.1", "pydantic-ai-slim==2.68.0", "uvicorn"),
}

JS = ("@a2a-js/sdk@1.3.0", "express@5.2.1")
"""From npm; it counts as the framework "js"."""

PROGRAMS = Path(__file__).parent / "programs"


def is_wanted(framework: str) -> bool:
    """Whether this run is to use a framework."""
    wanted = os.environ.get("MCP_A2A_FRAMEWORKS", "")
    return wanted == "all" or framework in wanted.split(",")


def python_with(cache: pytest.Cache, version: str) -> Path:
    """An interpreter that has that SDK or framework. All of them are made at once: most of that is waiting."""
    needed = dict(REQUIREMENTS) if version in REQUIREMENTS else {}
    if version in FRAMEWORKS:
        needed = {name: packages for name, packages in FRAMEWORKS.items() if is_wanted(name)}
    with ThreadPoolExecutor() as pool:
        pythons = {name: pool.submit(_python_with, cache, name, packages) for name, packages in needed.items()}
    return pythons[version].result()


def _python_with(cache: pytest.Cache, version: str, packages: Sequence[str]) -> Path:
    folder = cache.mkdir(f"a2a-sdk-{version}-{sys.version_info.major}.{sys.version_info.minor}")
    try:
        return made(folder, packages)
    except (subprocess.SubprocessError, OSError) as error:
        _cannot(version, error)
        raise


def _cannot(version: str, error: Exception) -> None:
    if os.environ.get("MCP_A2A_REQUIRE_INTEROP"):
        raise error
    pytest.skip(f"{version} cannot be installed here: {error}")


def program(cache: pytest.Cache, framework: str, name: str) -> list[str]:
    """The command of a program in `programs/`, in an environment that has the framework."""
    if framework in (*FRAMEWORKS, "js") and not is_wanted(framework):
        pytest.skip(f"MCP_A2A_FRAMEWORKS names the frameworks to try: {framework}, or all")
    if framework != "js":
        return [str(python_with(cache, framework)), str(PROGRAMS / name)]
    folder = Path(cache.mkdir("a2a-js")) / "-".join(JS).replace("/", "-")
    try:
        npm.install(folder, JS, "--ignore-scripts", timeout=INSTALL_SECONDS)
        node = npm.node_folder() / "bin" / "node"
    except npm.NpmError as error:
        _cannot("a2a-js", error)
    beside = folder / name  # what a module imports is looked for beside it
    beside.write_bytes((PROGRAMS / name).read_bytes())
    return [str(node), str(beside)]


@pytest.fixture(scope="session", params=list(REQUIREMENTS))
def sdk(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A version of the SDK, and an interpreter that has it."""
    version: str = request.param
    return version, python_with(request.config.cache, version)
