"""This machine or its data folder cannot run a node or a relay as asked."""

from __future__ import annotations

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.remedy import Remedy, plain


class ConfigurationError(McpA2AError, code="configuration", exit_code=2, quotes=False):
    """The settings, the data folder or the machine do not allow what was asked."""


class HomeUnusableError(ConfigurationError, code="home_unusable", exit_code=9, quotes=False):
    """The data folder cannot be read or written."""

    remedy = Remedy("Make it writable, or name another one with --home or MCP_A2A_HOME.")

    def __init__(self, path: str, reason: str, remedy: str | Remedy | None = None) -> None:
        super().__init__(f"The data folder {path} cannot be used: {reason}.", remedy)
        self.reason = reason


class DatabaseDamagedError(HomeUnusableError, code="database_damaged", retryable=True, quotes=False):
    """SQLite cannot read on in the database of this identity."""

    remedy = Remedy(
        "Stop the processes of this identity and run `mcp-a2a repair`: it saves every row that can be read. "
        "The next start does the same."
    )

    def __init__(self, path: str) -> None:
        McpA2AError.__init__(self, f"Part of the database {path} is damaged.")


class DiskUnreadableError(HomeUnusableError, code="disk_unreadable", quotes=False):
    """The disk does not give back a part of the database."""

    remedy = Remedy(
        "Try again. If it fails again, the disk may be failing: stop the processes of this identity and run "
        "`mcp-a2a repair`, which saves every row that can be read."
    )

    def __init__(self, path: str) -> None:
        McpA2AError.__init__(self, f"The disk cannot read a part of {path}.")


class DamagedRowError(HomeUnusableError, code="row_damaged", quotes=False):
    """The stored record of one task cannot be read."""

    remedy = Remedy("`mcp-a2a repair` moves it out of the way, and so does the next start.")

    def __init__(self, task_id: str) -> None:
        said = f"The stored data of {task_id} is damaged and cannot be read. Other tasks are not affected."
        McpA2AError.__init__(self, said)


class KeyFileError(ConfigurationError, code="key_file", exit_code=9, quotes=False):
    """The identity key file is unsafe or damaged; the node refuses to start with it."""

    def __init__(self, path: str, reason: str, remedy: str | Remedy) -> None:
        super().__init__(f"The identity key {path} is not usable: {reason}.", remedy)


class PortInUseError(ConfigurationError, code="port_in_use", exit_code=9, quotes=False):
    """Another program listens where we were asked to."""

    says = "{} is already in use by another program."
    remedy = plain("Stop that program, or choose another port (port 0 picks a free one).")


class RelayRunsError(ConfigurationError, code="relay_runs", exit_code=9, quotes=False):
    """A relay runs from this data folder already, in another process."""

    says = "A relay is already running from {}."
    remedy = Remedy("Stop it first, or name another data folder with --home.")


class NodeSilentError(ConfigurationError, code="node_silent", exit_code=9, retryable=True, quotes=False):
    """The process that runs the node of this identity does not answer."""

    def __init__(self, folder: str, pid: int | None, state: str | None, doing: str) -> None:
        who = named_process(pid, state)
        if pid is None:
            remedy = "Wait a moment and try again."
        elif state == STOPPED:
            remedy = f"Continue it (fg in its terminal, or kill -CONT {pid}), or end it: another process takes over."
        else:
            remedy = f"Wait a moment and try again, or end it (kill {pid}): another process takes over."
        super().__init__(f"The node of {folder} ({who}) {doing}.", remedy)


class NodeRunsError(ConfigurationError, code="node_runs", exit_code=9):
    """The request needs the database alone, and a process of this identity has it."""

    def __init__(self, identity: str, pid: int | None, state: str | None = None) -> None:
        who = "Another process" if pid is None else f"Process {pid}"
        kill = "kill -KILL" if state == STOPPED else "kill"  # a stopped process hears of no other signal
        super().__init__(
            f"{who}{f' ({state})' if state else ''} is running the node of the identity {identity}.",
            "Stop every process of this identity (the assistant's server, agents) and try again."
            + (f" `{kill} {pid}` ends that one." if pid is not None else ""),
        )


STOPPED = "stopped"
"""State of a process that was sent SIGSTOP, as by Ctrl-Z."""


def named_process(pid: int | None, state: str | None) -> str:
    """A process for an error: by its number and its state, as far as they are known."""
    return "another process" if pid is None else f"process {pid}{f', {state}' if state else ''}"


class SchemaTooNewError(ConfigurationError, code="schema_too_new", exit_code=9, quotes=False):
    """The database was written by a newer version."""

    remedy = Remedy("Upgrade mcp-a2a, or name another folder with --home.")

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path} was written by a newer mcp-a2a (schema {found}; this version knows {known}). Nothing was changed."
        )


class StorageFullError(ConfigurationError, code="storage_full", exit_code=9, retryable=True, quotes=False):
    """The disk is full: nothing that could not be stored was acknowledged."""

    says = "The disk that holds {} is full: nothing could be stored."
    remedy = plain(
        "Free some space and try again. What was stored before is safe, and nothing is sent before it is stored."
    )


class SystemLimitError(ConfigurationError, code="system_limit", exit_code=9, retryable=True):
    """A limit of the operating system for this process (or for all) is reached."""
