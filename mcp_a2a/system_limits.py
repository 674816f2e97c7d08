"""What an error number of the system means: which limit a person can raise, or why there is no connection."""

from __future__ import annotations

import errno
import socket
import ssl
import sys

from mcp_a2a.errors.machine import SystemLimitError
from mcp_a2a.protocol.paths import zone_trouble


def limit_behind(error: BaseException) -> SystemLimitError | None:
    """The limit that caused `error`, with its number and how it is raised; None where it was something else."""
    match error:
        case MemoryError():
            return _no_memory()
        case ssl.SSLError():
            return _no_memory() if "malloc failure" in str(error) else None
        case OSError():
            return _BY_NUMBER.get(error.errno or 0, _none)()
        case RuntimeError() if "can't start new thread" in str(error):
            return SystemLimitError(
                f"The system does not let this process start another thread{_limit('RLIMIT_NPROC')}.",
                "Close other programs, or raise the limit of processes (ulimit -u, TasksMax of a systemd unit) or of "
                "memory (ulimit -v).",
            )
        case _:
            return None


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


def _none() -> None:
    return None


def _no_open_file() -> SystemLimitError:
    return SystemLimitError(
        f"This process may not open another file or connection{_limit('RLIMIT_NOFILE')}.",
        "Raise the limit, for example: ulimit -n 1024",
    )


def _no_open_file_anywhere() -> SystemLimitError:
    return SystemLimitError(
        "This machine has as many open files as it allows (fs.file-max).", "Close other programs, then try again."
    )


def _no_longer_file() -> SystemLimitError:
    return SystemLimitError(
        f"A file of this process may not grow any further{_limit('RLIMIT_FSIZE')}.",
        "Raise the limit, for example: ulimit -f unlimited",
    )


def _no_memory() -> SystemLimitError:
    return SystemLimitError(
        f"There is no memory left for this process{_limit('RLIMIT_AS')}.",
        "Close other programs, or raise the limit (ulimit -v, or that of its container).",
    )


_BY_NUMBER = {
    errno.EMFILE: _no_open_file,
    errno.ENFILE: _no_open_file_anywhere,
    errno.EFBIG: _no_longer_file,
    errno.ENOMEM: _no_memory,
}


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
