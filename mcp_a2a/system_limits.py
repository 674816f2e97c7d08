"""The meaning of an error number of the system: a limit that a person can raise, or a reason for no connection."""

from __future__ import annotations

import errno
import socket
import ssl
import sys

from mcp_a2a.errors.machine import SystemLimitError
from mcp_a2a.protocol.paths import zone_trouble

_CLOSE = "Close other programs, then try again."
_RAISE = "Raise the limit, for example: "
_MEMORY = (
    "There is no memory left for this process",
    "RLIMIT_AS",
    "Close other programs, or raise the limit (ulimit -v, or that of its container).",
)
_RAISE_PROCESSES = (
    "Close other programs, or raise the limit of processes (ulimit -u, TasksMax of a systemd unit) or of memory "
    "(ulimit -v)."
)
_THREADS = ("The system does not let this process start another thread", "RLIMIT_NPROC", _RAISE_PROCESSES)
_BY_NUMBER = {
    errno.EMFILE: ("This process may not open another file or connection", "RLIMIT_NOFILE", f"{_RAISE}ulimit -n 1024"),
    errno.EFBIG: ("A file of this process may not grow any further", "RLIMIT_FSIZE", f"{_RAISE}ulimit -f unlimited"),
    errno.ENFILE: ("This machine has as many open files as it allows (fs.file-max)", "", _CLOSE),
    errno.ENOMEM: _MEMORY,
}
"""The refusal of the system, the limit of this process that may be its reason, and the next step."""


def limit_behind(error: BaseException) -> SystemLimitError | None:
    """The limit that caused `error`, with its number and how it is raised; None where it was something else."""
    reached: tuple[str, str, str] | None = None
    match error:
        case MemoryError():
            reached = _MEMORY
        case ssl.SSLError():
            reached = _MEMORY if "malloc failure" in str(error) else None
        case OSError():
            reached = _BY_NUMBER.get(error.errno or 0)
        case RuntimeError() if "can't start new thread" in str(error):
            reached = _THREADS
        case _:
            pass
    if reached is None:
        return None
    refused, limit, remedy = reached
    return SystemLimitError(f"{refused}{_limit(limit) if limit else ''}.", remedy)


def why_not_connected(error: OSError, host: str) -> str:
    """Why no connection to a host came about, as a clause for behind a colon."""
    match error:
        case ConnectionRefusedError():
            return "no program listens there (connection refused)"
        case OSError(errno=errno.EINVAL) | socket.gaierror() if (trouble := zone_trouble(host)) is not None:
            return trouble
        case socket.gaierror():
            return "there is no machine of that name"
        case TimeoutError():
            return "no answer from that machine"
        case _:
            reason = limit_behind(error) or error.strerror or type(error).__name__
            return f"that machine cannot be reached ({reason})"


def _limit(name: str) -> str:
    """`: its limit is N`, where there is one."""
    if sys.platform == "win32":
        return ""
    import resource  # noqa: PLC0415  not on Windows

    soft = resource.getrlimit(getattr(resource, name))[0]
    return "" if soft == resource.RLIM_INFINITY else f": its limit is {soft}"


def file_size_is_limited() -> bool:
    """True if a file of this process may reach only a certain size."""
    return bool(_limit("RLIMIT_FSIZE"))
