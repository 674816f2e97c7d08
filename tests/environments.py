"""Environments of Python beside ours, for packages that cannot live in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

INSTALL_SECONDS = 240


def interpreter(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / "bin" / "python"


def is_made(folder: Path, packages: Sequence[str]) -> bool:
    """Whether an environment has these packages, all of them."""
    done = folder / "complete"
    return done.exists() and done.read_text() == repr(packages)


def made(folder: Path, packages: Sequence[str]) -> Path:
    """The Python of an environment that has these packages. What is there is not installed again.

    Raises:
        subprocess.SubprocessError, OSError: they cannot be installed.
    """
    python = interpreter(folder)
    with FileLock(folder.with_suffix(".lock")):  # several processes run the tests
        if not is_made(folder, packages):
            # Our pip installs into it: a pip of its own, and bytecode of all that is never imported, would take longer.
            make = [sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)]
            subprocess.run(make, check=True, timeout=INSTALL_SECONDS)
            pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
            subprocess.run([*pip, *packages], check=True, timeout=INSTALL_SECONDS, capture_output=True)
            (folder / "complete").write_text(repr(packages))
    return python
