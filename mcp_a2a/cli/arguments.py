"""Arguments of commands, checked before a node starts and before a person is asked anything.

The checks are those of the node, called earlier: nothing here decides what is acceptable. What only a node can know
(whether an agent of this name exists, whether an address answers) is not looked at.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_a2a.cli.options import UsageError
from mcp_a2a.errors.networks import NetworkNotFoundError, NoRelayError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.errors.tasks import FileError, NoFilesError, SelfSendError, TaskNotFoundError
from mcp_a2a.protocol.naming import key_beginning, kind_of_agent, same_name, short_key
from mcp_a2a.protocol.web_url import is_shortened, spelled

if TYPE_CHECKING:
    from mcp_a2a.api.tasks import TaskView
    from mcp_a2a.config import Settings
    from mcp_a2a.store.network_folder import NetworkRow

MIN_TASK_ID = 4
"""Letters of an id that a node looks for."""

WHOLE_DID = 56

MIB = 1024 * 1024


def check_agent(text: str, *, beginning: bool = False) -> None:
    """An agent by name, key, first letters of a key as a list shows them, or URL; with `beginning` also more of them.

    Raises:
        UsageError: it can be none of them.
        AddressNotAllowedError: a URL that cannot be called.
    """
    if not text.strip():
        raise UsageError("The name of the agent is empty. List the agents: mcp-a2a discover")
    if kind_of_agent(text) == "url":
        if not is_shortened(text):
            from mcp_a2a.a2a.addresses import as_typed, check_url

            check_url(spelled(text), as_typed(spelled(text)))
    elif kind_of_agent(text) == "did" and not _begins_key(text.strip(), beginning):
        check_key(text)


def check_other(text: str) -> None:
    """Another agent than this node.

    Raises:
        UsageError, AddressNotAllowedError: see `check_agent`.
    """
    if same_name(text, "self"):
        raise UsageError("self is this node itself. Name another agent; mcp-a2a discover lists them.")
    check_agent(text)


def check_recipient(text: str) -> None:
    """An agent that a task is for.

    Raises:
        SelfSendError: it is this node.
        UsageError, AddressNotAllowedError: see `check_agent`.
    """
    if same_name(text, "self"):
        raise SelfSendError(text)
    check_agent(text)


def check_key(text: str) -> None:
    """The key of an agent or of a network.

    Raises:
        UsageError: it is none, or not whole.
    """
    from mcp_a2a.protocol.did import PeerId

    try:
        PeerId.parse_untrusted(text.strip())
    except RemoteProtocolError:
        raise UsageError(
            f"{text[:80]!r} is not a whole key. A key is did:key:z6Mk… with {WHOLE_DID} characters; mcp-a2a id shows "
            "that of an agent on its machine."
        ) from None


def _begins_key(text: str, beginning: bool) -> bool:
    """A key as a list shows it: without its end. Between that and a whole one, it was cut by mistake."""
    known = key_beginning(text)
    return bool(known) and len(text) < WHOLE_DID and (beginning or short_key(known) == known.removeprefix("did:key:"))


def check_address(text: str) -> None:
    """HOST:PORT of a node, or the URL of an A2A agent.

    Raises:
        ConfigurationError, UsageError, AddressNotAllowedError: it is neither.
    """
    if kind_of_agent(text) == "url":
        check_agent(text)
    else:
        from mcp_a2a.protocol.paths import parse_address

        parse_address(text)


def check_ticket(text: str) -> None:
    """A ticket to a network, which has not expired.

    Raises:
        TicketError: it cannot be used.
        ConfigurationError: it names a place that is none.
    """
    from mcp_a2a.protocol.relay_url import parse_relay_url
    from mcp_a2a.protocol.ticket import Ticket
    from mcp_a2a.wall_clock import wall_clock

    ticket = Ticket.parse_untrusted(text)
    ticket.check_expiry(wall_clock())
    for url in ticket.relays:
        parse_relay_url(url)


def check_task(text: str) -> None:
    """A task id, or the beginning or the end of one.

    Raises:
        TaskNotFoundError: no id has so few letters.
    """
    if len(text.strip().removeprefix("task-")) < MIN_TASK_ID:
        raise TaskNotFoundError(text)


def check_cursor(text: str) -> None:
    """Check a cursor of a list: the time and the id of a task.

    Raises:
        UsageError: no list has printed it.
    """
    try:
        float(text.partition("/")[0])
    except ValueError:
        raise UsageError(f"{text[:80]!r} is not a cursor: copy it from the end of the list before.") from None


def check_file(path: Path) -> None:
    """A file to be sent.

    Raises:
        FileError: it cannot be read, is no file, or is too large.
    """
    from mcp_a2a.protocol.blob import MAX_FILE_SIZE

    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and not os.access(path, os.R_OK):
            raise PermissionError(0, "Permission denied")
    except (OSError, ValueError) as error:  # a zero in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FileError(f"{path} cannot be attached: {reason}.", "Check the path.") from error
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{path} is not a file.", "Only regular files can be attached; pack a folder first.")
    if found.st_size > MAX_FILE_SIZE:
        raise FileError(
            f"{path} is {found.st_size / MIB:.0f} MiB; at most {MAX_FILE_SIZE // MIB} MiB can be sent.",
            "Compress it, or split it.",
        )


def check_folder(path: Path) -> None:
    """A folder to write files into; it need not exist yet.

    Raises:
        UsageError: it cannot be one.
    """
    there = next((one for one in (path, *path.parents) if os.path.lexists(one)), path)
    if not there.is_dir():
        raise UsageError(f"{there} is not a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{there} is not writable for this user.")


def check_files(task: TaskView) -> None:
    """A finished task whose files are asked for; one that goes on may still bring some.

    Raises:
        NoFilesError: it brought none.
    """
    if task.done and all(file.size is None for file in task.files):
        raise NoFilesError(task.task_id)


def check_counted(settings: Settings, name: str) -> None:
    """A network without a new relay, for which a ticket is to be counted or to end.

    Raises:
        NoRelayError: no relay of it could do that.
    """
    try:
        row = known_network(settings, name)
    except NetworkNotFoundError:
        raise NoRelayError(name) from None
    if not row.relays:
        raise NoRelayError(row.name)


def known_network(settings: Settings, name: str) -> NetworkRow:
    """The network of this data folder that is meant, by name or id.

    Raises:
        NetworkNotFoundError: there is none.
    """
    from mcp_a2a.store.network_folder import NetworkFolder

    rows = NetworkFolder(settings.home if settings.networks else None).rows()
    wanted = name.strip().casefold()
    for row in rows:
        if wanted in (row.name.casefold(), row.id.casefold()):
            return row
    raise NetworkNotFoundError(name, [row.name for row in rows])
