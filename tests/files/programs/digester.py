"""An agent that reads a file to its end, a little at a time, and tells what it was. Started by tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import quick  # beside this program

from mcp_a2a import Agent, TaskContext

quick.reconnect()
agent = Agent("digester", description="Reads files")


@agent.skill
def digest(task: TaskContext) -> dict[str, object]:
    """Tell size and SHA-256, and how much memory this process has ever used."""
    (file,) = task.files
    size, sha256 = 0, hashlib.sha256()
    with file.open() as stream:
        while piece := stream.read(65_536):
            size += len(piece)
            sha256.update(piece)
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return {"size": size, "sha256": sha256.hexdigest(), "peak_kib": peak}


if __name__ == "__main__":
    agent.run()
