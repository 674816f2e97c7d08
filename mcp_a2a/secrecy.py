"""Keeps the memory of this process from the other programs of its user, and from files that outlive it.

The seed of an identity and the tokens of a server are in memory. Without this any program of the same user may attach
to the process and read them (ptrace(2)), and a crash writes them to a disk (core(5)). ssh-agent does the same.

Linux: PR_SET_DUMPABLE 0, which a program that this process starts does not keep. Everywhere but on Windows the soft
limit of core files is 0; programs that are started inherit that, and may raise it again.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from contextlib import suppress

SWITCH = "MCP_A2A_DUMPABLE"
"""Set to 1, a debugger may attach and a crash leaves a core file."""

RUN = "MCP_A2A_RUN"
"""In the environment of whatever a task has started (`node.kin`), which is looked up by it."""

_PR_SET_DUMPABLE = 4


def keep_memory_private(environment: Mapping[str, str]) -> None:
    """Let no other program of this user read the memory of this process, unless the switch says otherwise."""
    if environment.get(SWITCH) == "1":
        return
    if sys.platform != "win32":
        import resource  # noqa: PLC0415  not there on Windows

        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # The environment of such a process cannot be read either, but a task must be able to end what it started.
    if sys.platform == "linux" and RUN not in environment:
        with suppress(OSError, AttributeError):  # a system without it is no reason not to start
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
