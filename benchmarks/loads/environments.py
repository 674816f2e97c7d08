"""Python environments for one run: other packages, or an earlier commit of this tree. They go afterwards."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 300


@contextmanager
def environment(*packages: str) -> Iterator[str]:
    """The Python of an environment with these packages.

    Raises:
        CalledProcessError, TimeoutExpired: they could not be installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *packages],
            check=True,
            capture_output=True,
            timeout=INSTALL_SECONDS,
        )
        yield python


@contextmanager
def environment_of(revision: str) -> Iterator[str]:
    """The Python of an environment in which this commit of the history is installed.

    Raises:
        CalledProcessError: the history has no such commit.
    """
    command = ["git", "-C", str(ROOT), "archive", revision]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        with environment(folder) as python:
            yield python
