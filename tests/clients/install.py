"""Gets the four clients from npm, in the versions that `versions.json` names: `python -m tests.clients.install`.

They come into a folder of the checkout that git ignores, about 1.1 GB, and stay there until a version changes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.npm import NpmError, install, node_folder

_ROOT = Path(__file__).parents[2]
_VERSIONS = Path(__file__).with_name("versions.json")
_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Programs:
    """How each client is started."""

    claude: tuple[str, ...]
    codex: tuple[str, ...]
    gemini: tuple[str, ...]
    opencode: tuple[str, ...]


def versions() -> dict[str, str]:
    """The version of each client, by its package."""
    found: dict[str, str] = json.loads(_VERSIONS.read_text())
    return found


def folder() -> Path:
    """Where these versions are, or would be."""
    digest = hashlib.sha256(_VERSIONS.read_bytes()).hexdigest()[:12]
    return _ROOT / ".cache" / f"clients-{digest}"


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
    """Install them, and remove other versions.

    Raises:
        NpmError: npm cannot get them.
    """
    target = folder()
    for other in target.parent.glob("clients-*"):
        if other != target:
            shutil.rmtree(other)
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
