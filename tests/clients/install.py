"""Gets the four clients from npm, in the versions that `versions.json` names: `python -m tests.clients.install`.

With them come the clients of `libraries.json` that no model drives, from npm and, each into an environment of its own,
from PyPI. All come into a folder of the checkout that git ignores, about 1.6 GB, and stay until a version changes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.environments import interpreter, is_made, made
from tests.npm import NpmError, install, node_folder

_ROOT = Path(__file__).parents[2]
_VERSIONS = Path(__file__).with_name("versions.json")
_LIBRARIES = Path(__file__).with_name("libraries.json")
_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Programs:
    """How each client is started."""

    claude: tuple[str, ...]
    codex: tuple[str, ...]
    gemini: tuple[str, ...]
    opencode: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Libraries:
    """Where clients are that a program of ours starts, or a person at a prompt."""

    node: str
    modules: Path
    """With those from npm."""
    pythons: Mapping[str, str]
    """An interpreter for each of those from PyPI."""


def versions() -> dict[str, str]:
    """The version of each client, by its package."""
    found: dict[str, str] = json.loads(_VERSIONS.read_text())
    return found


def folder() -> Path:
    """Where these versions are, or would be."""
    return _folder("clients", _VERSIONS)


def libraries() -> Libraries:
    """The installed clients that no model drives.

    Raises:
        NpmError: they are not installed.
    """
    target, (npm, pypi) = _folder("libraries", _LIBRARIES), _libraries()
    modules = target / "npm" / "node_modules"
    if not modules.exists() or not all(is_made(target / name, [package]) for name, package in pypi.items()):
        raise NpmError(f"{', '.join((*npm, *pypi.values()))} are not installed: python -m tests.clients.install")
    pythons = {name: str(interpreter(target / name)) for name in pypi}
    return Libraries(str(node_folder() / "bin" / "node"), modules, pythons)


def _libraries() -> tuple[list[str], dict[str, str]]:
    """Packages of npm, and those of PyPI by their names."""
    known = json.loads(_LIBRARIES.read_text())
    npm = [f"{name}@{version}" for name, version in known["npm"].items()]
    return npm, {name: f"{name}=={version}" for name, version in known["pypi"].items()}


def _folder(kind: str, named_in: Path) -> Path:
    digest = hashlib.sha256(named_in.read_bytes()).hexdigest()[:12]
    return _ROOT / ".cache" / f"{kind}-{digest}"


def programs() -> Programs:
    """The installed clients.

    Raises:
        NpmError: they are not installed.
    """
    modules = folder() / "node_modules"
    if not modules.exists():
        raise NpmError("The clients are not installed: python -m tests.clients.install")
    claude = modules / "@anthropic-ai" / f"claude-code-{_machine()}" / "claude"
    (codex,) = (modules / "@openai" / "codex" / "vendor").glob("*/bin/codex")
    gemini = modules / "@google" / "gemini-cli" / "bundle" / "gemini.js"
    opencode = modules / _opencode() / "bin" / "opencode"
    node = node_folder() / "bin" / "node"
    return Programs((str(claude),), (str(codex),), (str(node), str(gemini)), (str(opencode),))


def main() -> None:
    """Install them all, and remove other versions.

    Raises:
        NpmError: npm cannot get them.
        subprocess.SubprocessError, OSError: pip cannot get them.
    """
    wanted = folder(), _folder("libraries", _LIBRARIES)
    for kind in ("clients", "libraries"):
        for other in wanted[0].parent.glob(f"{kind}-*"):
            if other not in wanted:
                shutil.rmtree(other)
    wanted[1].mkdir(parents=True, exist_ok=True)
    npm, pypi = _libraries()
    # Most of it is waiting.
    with ThreadPoolExecutor() as pool:
        running = [
            pool.submit(_install_clients, wanted[0]),
            pool.submit(install, wanted[1] / "npm", npm, "--ignore-scripts", "--omit=optional", timeout=_SECONDS),
            *(pool.submit(made, wanted[1] / name, [package]) for name, package in pypi.items()),
        ]
    for one in running:
        one.result()


def _install_clients(target: Path) -> None:
    known = versions()
    # Each of three is a program for one kind of machine, in a package of its own; its common package only chooses one.
    packages = (
        f"@anthropic-ai/claude-code-{_machine()}@{known['@anthropic-ai/claude-code']}",
        f"@openai/codex@{known['@openai/codex']}-{_machine()}",
        f"@google/gemini-cli@{known['@google/gemini-cli']}",
        f"{_opencode()}@{known['opencode-ai']}",
    )
    # What is optional for Gemini CLI, a terminal and a key ring, would be compiled here.
    install(target, packages, "--ignore-scripts", "--omit=optional", timeout=_SECONDS)


def _machine() -> str:
    """As npm packages name it: "linux-x64"."""
    processor = "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x64"
    return f"{sys.platform}-{processor}"


def _opencode() -> str:
    # The other build for x64 needs AVX2.
    return f"opencode-{_machine()}" + ("-baseline" if _machine().endswith("x64") else "")


if __name__ == "__main__":
    main()
