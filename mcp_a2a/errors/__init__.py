"""Every exception this project raises on purpose.

    McpA2AError
      ConfigurationError        HomeUnusableError  KeyFileError  PortInUseError  SchemaTooNewError  StorageFullError
                                NodeSilentError  RelayRunsError  NodeRunsError  DatabaseDamagedError
                                DamagedRowError  DiskUnreadableError  SystemLimitError
      NetworkError              NetworkNotFoundError  TicketError  TicketPlaceError  RelayError  NotAdmittedError
                                NotOwnerError  NoRelayError
      DiscoveryError            PeerNotFoundError  SkillNotFoundError  AmbiguousNameError  KeyChangedError
                                AliasAlikeError  AliasTakenError  NothingWaitsError
      DeliveryError             NoRouteError  RefusedError  ExpiredError  QueueFullError  FilesWaitError  TooLargeError
                                UnsendableError  LinkError
      ConsentError              ConsentNeededError  ConsentDeclinedError
      WebError                  CardError  AddressNotAllowedError  WebRefusedError  WebAnswerError  TaskLostError
                                WebFailedError  ExtensionRequiredError
      FileError                 NoFilesError
      TaskError                 TaskNotFoundError  TransitionError  LeaseLostError  NotAwaitingReplyError  SelfSendError
                                ContextMismatchError  PageTokenError  PushNotSupportedError  PushConfigNotFoundError
                                HopLimitError  TaskForgottenError  NotForgettableError  AlreadyEndedError
                                NotSentError  NothingAskedError  KeyReusedError  ConversationFullError
      ProtocolError             LocalProtocolError (our bug)  RemoteProtocolError (their bytes)
        EnvelopeError           SealBrokenError  NotForUsError  ReplayedError  StaleError  UnknownKeyError

An error carries a `message` (what happened, what was tried) and a `hint` (what to do next), because a person or a
model reads both. `code` is stable and machine-readable; `exit_code` is what the command line ends with.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from typing_extensions import override

from mcp_a2a.plurals import many

TYPED = "typed"
"""In `details`: the hint for a person who typed a command."""


class McpA2AError(Exception):
    """Base of every error raised on purpose; `str()` is the message followed by the hint."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    message: str
    hint: str
    details: Mapping[str, object]
    """Facts for a program, in JSON's types; another process of ours gets them too."""

    def __init__(self, message: str, hint: str = "", details: Mapping[str, object] | None = None) -> None:
        message, hint = _without(_TOKENS, message), _without(_TOKENS, hint)  # most quote something that a user typed
        super().__init__(message, hint)
        self.message = message
        self.hint = hint
        self.details = details or {}

    @override
    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    @property
    def typed_hint(self) -> str:
        """The next step for a person at a terminal, where it is another than for a model."""
        return str(self.details.get(TYPED, self.hint))

    @classmethod
    def rebuild(cls, code: str, message: str, hint: str, details: Mapping[str, object] | None = None) -> McpA2AError:
        """The error that another process of ours reported, as the class that carries this `code`."""
        kind = next((kind for kind in _subclasses(cls) if kind.code == code), McpA2AError)
        error = kind.__new__(kind)
        McpA2AError.__init__(error, message, hint, details)
        return error


def _subclasses(kind: type[McpA2AError]) -> Iterable[type[McpA2AError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)


_TOKENS = (
    (re.compile(r"(?<=[?&#]admit=)[\w=%+-]+"), "…"),
    (re.compile(r"\b(a2a[1-9])[a-z2-7]{40,}", re.IGNORECASE), r"\1…"),
)
_SECRETS = ((re.compile(r"(?<=://)[^/?#]*@"), ""), *_TOKENS)


def _spoken(state: str) -> str:
    """A state as sentences name it: "completed", never as A2A spells it."""
    return state.removeprefix("TASK_STATE_").lower()


def without_secrets(text: str) -> str:
    """Text that a user typed, as it may be shown: without a name and password, admission secret or ticket."""
    return _without(_SECRETS, text)


def _without(secrets: Iterable[tuple[re.Pattern[str], str]], text: str) -> str:
    for secret, shown in secrets:
        text = secret.sub(shown, text)
    return text


# --- configuration: this machine or folder cannot run a node as asked ----------------------------


class ConfigurationError(McpA2AError):
    """The settings, the data folder or the machine do not allow what was asked."""

    code = "configuration"
    exit_code = 2


class HomeUnusableError(ConfigurationError):
    """The data folder cannot be read or written."""

    code = "home_unusable"
    exit_code = 9

    def __init__(
        self, path: str, reason: str, hint: str = "Make it writable, or name another one with --home or MCP_A2A_HOME."
    ) -> None:
        super().__init__(f"The data folder {path} cannot be used: {reason}.", hint)
        self.reason = reason


class DatabaseDamagedError(HomeUnusableError):
    """SQLite cannot read on in the database of this identity."""

    code = "database_damaged"
    retryable = True

    def __init__(self, path: str) -> None:
        McpA2AError.__init__(
            self,
            f"Part of the database {path} is damaged.",
            "Stop the processes of this identity and run `mcp-a2a repair`: it saves every row that can be read. "
            "The next start does the same.",
        )


class DiskUnreadableError(HomeUnusableError):
    """The disk does not give back a part of the database."""

    code = "disk_unreadable"

    def __init__(self, path: str) -> None:
        McpA2AError.__init__(
            self,
            f"The disk cannot read a part of {path}.",
            "Try again. If it fails again, the disk may be failing: stop the processes of this identity and run "
            "`mcp-a2a repair`, which saves every row that can be read.",
        )


class DamagedRowError(HomeUnusableError):
    """What is stored of one task cannot be read."""

    code = "row_damaged"

    def __init__(self, task_id: str) -> None:
        McpA2AError.__init__(
            self,
            f"The stored data of {task_id} is damaged and cannot be read. Other tasks are not affected.",
            "`mcp-a2a repair` moves it out of the way, and so does the next start.",
        )


class KeyFileError(ConfigurationError):
    """The identity key file is unsafe or damaged; the node refuses to start with it."""

    code = "key_file"
    exit_code = 9

    def __init__(self, path: str, reason: str, hint: str) -> None:
        super().__init__(f"The identity key {path} is not usable: {reason}.", hint)


class PortInUseError(ConfigurationError):
    """Another program listens where we were asked to."""

    code = "port_in_use"
    exit_code = 9

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} is already in use by another program.",
            "Stop that program, or choose another port (port 0 picks a free one).",
        )


class RelayRunsError(ConfigurationError):
    """A relay runs from this data folder already, in another process."""

    code = "relay_runs"
    exit_code = 9

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"A relay is already running from {folder}.", "Stop it first, or name another data folder with --home."
        )


class NodeSilentError(ConfigurationError):
    """The process that runs the node of this identity does not answer."""

    code = "node_silent"
    exit_code = 9
    retryable = True

    def __init__(self, folder: str, pid: int | None, state: str | None, doing: str) -> None:
        who = named_process(pid, state)
        if pid is None:
            hint = "Wait a moment and try again."
        elif state == STOPPED:
            hint = f"Continue it (fg in its terminal, or kill -CONT {pid}), or end it: another process takes over."
        else:
            hint = f"Wait a moment and try again, or end it (kill {pid}): another process takes over."
        super().__init__(f"The node of {folder} ({who}) {doing}.", hint)


class NodeRunsError(ConfigurationError):
    """What was asked for needs the database alone, and a process of this identity has it."""

    code = "node_runs"
    exit_code = 9

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


class SchemaTooNewError(ConfigurationError):
    """The database was written by a newer version."""

    code = "schema_too_new"
    exit_code = 9

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path} was written by a newer mcp-a2a (schema {found}; this version knows {known}). Nothing was changed.",
            "Upgrade mcp-a2a, or name another folder with --home.",
        )


class StorageFullError(ConfigurationError):
    """The disk is full: nothing that could not be stored was acknowledged."""

    code = "storage_full"
    exit_code = 9
    retryable = True

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The disk that holds {path} is full: nothing could be stored.",
            "Free some space and try again. What was stored before is safe, and nothing is sent before it is stored.",
        )


class SystemLimitError(ConfigurationError):
    """A limit of the operating system for this process (or for all) is reached."""

    code = "system_limit"
    exit_code = 9
    retryable = True


# --- discovery: who is meant ---------------------------------------------------------------------


class DiscoveryError(McpA2AError):
    """The agent or skill that was named is not (uniquely) known."""

    code = "discovery"
    exit_code = 3


class PeerNotFoundError(DiscoveryError):
    """No known agent has this name or PeerId."""

    code = "agent_not_found"

    def __init__(
        self,
        asked: str,
        closest: Sequence[str] = (),
        known: int = 0,
        clocks: Sequence[str] = (),
        *,
        is_skill: bool = False,
    ) -> None:
        near = f" Closest names: {', '.join(closest)}." if closest else ""
        shown, off = without_secrets(asked), "".join(f" {said}" for said in clocks)
        hint, typed = "Call discover to list the agents and why others may be missing.", ""
        if is_skill:
            near = f" {shown!r} is a skill."
            hint = f"Call send_task_by_skill with the skill {shown!r}; the best agent that has it takes the task."
            typed = f'Send it to the best agent that has it: mcp-a2a send --skill {shlex.quote(shown)} "TEXT"'
        super().__init__(
            f"No agent named {shown!r} is visible ({many(known, 'other agent')} known).{near}{off}",
            hint,
            {TYPED: typed} if typed else None,
        )
        self.asked, self.closest, self.known = asked, tuple(closest), known


class SkillNotFoundError(DiscoveryError):
    """No reachable agent offers this skill."""

    code = "skill_not_found"

    def __init__(self, asked: str, closest: Sequence[str] = ()) -> None:
        near = f" Closest skills: {', '.join(closest)}." if closest else ""
        super().__init__(
            f"No reachable agent offers the skill {without_secrets(asked)!r}.{near}",
            "Call discover to list agents and their skills.",
        )
        self.asked, self.closest = asked, tuple(closest)


class AmbiguousNameError(DiscoveryError):
    """Two agents carry the same name; a name is a label, never an identity."""

    code = "ambiguous_name"

    def __init__(self, asked: str, candidates: Sequence[tuple[str, str]]) -> None:
        listed = "; ".join(f"{did} ({words})" for did, words in candidates)
        super().__init__(
            f"{len(candidates)} agents have the name {asked!r}, or one that looks the same: {listed}.",
            "Compare the words with the owner, then use the did:key instead of the name.",
        )
        self.asked, self.candidates = asked, tuple(candidates)


class KeyChangedError(DiscoveryError):
    """A name you paired with is now claimed by another key: nothing is sent."""

    code = "key_changed"
    exit_code = 5

    def __init__(self, asked: str, paired: str, found: str) -> None:
        super().__init__(
            f"The name {asked!r} belongs to {paired}, which you trusted, but it, or one that looks the same, is now "
            f"claimed by {found}. "
            "Nothing was sent.",
            f"Ask the owner why the key changed. To use the new one: mcp-a2a trust {found}; "
            "to reach the old one: use its did:key.",
        )


class AliasAlikeError(DiscoveryError):
    """What was asked for only looks like an alias of the user: nothing meant for that one goes elsewhere."""

    code = "alias_alike"
    exit_code = 5

    def __init__(self, asked: str, alias: str, key: str) -> None:
        super().__init__(
            f"{asked!r} is not your alias {alias!r}, it only looks the same. Nothing was sent.",
            f"Your {alias!r} is {key}. To reach another agent, use its did:key.",
        )


class AliasTakenError(DiscoveryError):
    """An alias, or one that looks the same, stands for another agent already."""

    code = "alias_taken"
    exit_code = 5

    def __init__(self, alias: str, key: str) -> None:
        super().__init__(
            f"{alias!r} is your alias for {key} already, or looks the same.",
            f'Choose another alias, or remove that one: mcp-a2a alias --remove "{alias}"',
        )


# --- networks and relays: who may find whom, past one machine ------------------------------------


class NetworkError(McpA2AError):
    """A network cannot be joined, changed or left as asked."""

    code = "network"
    exit_code = 5


class NetworkNotFoundError(NetworkError):
    """We are a member of no network of that name."""

    code = "network_not_found"
    exit_code = 3

    def __init__(self, asked: str, known: Sequence[str] = ()) -> None:
        joined = f"You are in: {', '.join(known)}." if known else "You are in none."
        super().__init__(
            f"There is no network {without_secrets(asked)!r} here. {joined}",
            "Join one with its ticket: mcp-a2a join (it asks for the ticket). Make one: mcp-a2a invite --network NAME",
        )


class NotOwnerError(NetworkError):
    """Only the agent that made a network can give it a new secret."""

    code = "not_owner"

    def __init__(self, network: str, owner: str) -> None:
        super().__init__(
            f"Only the creator of {network} can give it a new secret: {owner}.",
            "Ask its owner, or make a network of your own (mcp-a2a invite --network NAME).",
        )
        self.network, self.owner = network, owner


class NoRelayError(NetworkError):
    """A ticket is to be counted or to end, and the network has no relay that would see to it."""

    code = "no_relay"

    def __init__(self, network: str) -> None:
        super().__init__(
            f"A ticket with an end or a number of uses needs a relay that counts, and {network} has none.",
            "Name one with --relay, or make a ticket without --uses and --expires.",
        )


class TicketError(NetworkError):
    """A ticket that admits nobody: damaged, expired or used. The message says which."""

    code = "ticket"

    def __init__(self, reason: str, hint: str = "Ask the sender for a new one (mcp-a2a invite).") -> None:
        super().__init__(f"This ticket cannot be used: {reason}.", hint)
        self.reason = reason


class TicketPlaceError(NetworkError):
    """A ticket that would have this machine call an address of its own. A person may know what is there."""

    code = "ticket_place"
    exit_code = 4

    def __init__(self, place: str, host: str) -> None:
        super().__init__(
            f"With this ticket, this machine would call {place}, and {host} is an address of the machine that made the "
            "ticket. Nothing was called.",
            "If this machine is elsewhere, ask for a ticket with an address of the relay that can be reached from "
            "here; if the relay is on this machine: mcp-a2a join --allow-private",
        )
        self.place, self.host = place, host


class RelayError(NetworkError):
    """A relay cannot be reached, is not the one it was said to be, or does not do what it was asked."""

    code = "relay"
    exit_code = 4
    retryable = True

    def __init__(self, url: str, reason: str, hint: str = "See what can be reached: mcp-a2a netcheck") -> None:
        super().__init__(f"The relay {url} cannot be used: {reason}.", hint)
        self.url, self.reason = url, reason


class NotAdmittedError(RelayError):
    """A closed relay that has admitted neither our key nor a network of ours, or has revoked it."""

    code = "not_admitted"
    exit_code = 5
    retryable = False


# --- delivery: the envelope ----------------------------------------------------------------------


class DeliveryError(McpA2AError):
    """The message could not be handed to its recipient."""

    code = "delivery"
    exit_code = 4
    retryable = True


class NoRouteError(DeliveryError):
    """Every way to the peer was tried and failed; `attempts` lists each with its reason."""

    code = "unreachable"

    def __init__(self, asked: str, attempts: Sequence[str], hint: str = "") -> None:
        tried = "; ".join(attempts) if attempts else "no address is known for it"
        super().__init__(f"{asked} could not be reached: {tried}.", hint or "Check that it is running, then try again.")
        self.attempts = tuple(attempts)


class RefusedError(DeliveryError):
    """The recipient's node refused the message for good."""

    code = "refused"
    exit_code = 5
    retryable = False

    def __init__(
        self,
        asked: str,
        reason: str,
        hint: str = "Ask its owner to trust you (mcp-a2a id shows who you are), or choose another agent.",
    ) -> None:
        super().__init__(f"{asked} refused the message: {reason}.", hint)
        self.reason = reason


class ExpiredError(DeliveryError):
    """The message was not delivered before it expired."""

    code = "expired"
    exit_code = 4

    def __init__(self, asked: str, days: float) -> None:
        super().__init__(
            f"{asked} was not reachable for {days:.0f} days, so the message expired undelivered.",
            "Send it again when the agent is back.",
        )


class QueueFullError(DeliveryError):
    """A bounded queue is at its limit."""

    code = "queue_full"
    exit_code = 4

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(
            f"The {what} holds {limit} items, which is its limit; nothing was stored.",
            "Wait until some are delivered, or cancel tasks you no longer need.",
        )


class FilesWaitError(DeliveryError):
    """As many bytes of files as are kept here wait for those that they were sent to."""

    code = "files_wait"
    exit_code = 4

    def __init__(self, mib: int) -> None:
        super().__init__(
            f"{mib:,} MiB of files wait here to be delivered, which is the limit; nothing was stored.",
            "Wait until some are delivered, or cancel tasks you no longer need.",
        )


class TooLargeError(DeliveryError):
    """The message does not fit into one envelope."""

    code = "too_large"
    exit_code = 2
    retryable = False

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"The message is {size:,} bytes; at most {limit:,} fit into one.",
            "Shorten it, or split it into several tasks.",
        )


class UnsendableError(DeliveryError):
    """The message cannot be put into an envelope: its structure is beyond what a peer accepts."""

    code = "unsendable"
    exit_code = 2
    retryable = False

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The message cannot be sent: {reason}.",
            "Nothing was stored. Send plain text, or simpler data (depth 32, 10,000 members at most).",
        )


class LinkError(DeliveryError):
    """A link could not be opened, or is closed."""

    code = "link"


# --- consent: nothing leaves for a stranger before a person said so -------------------------------


class ConsentError(McpA2AError):
    """A person has not allowed that this is sent to this agent; nothing was sent."""

    code = "consent"
    exit_code = 5


class ConsentNeededError(ConsentError):
    """A person has to be asked first.

    `key` is what names the agent to `mcp-a2a allow`: its did, or a handle of its URL, never a name, which it chooses.
    `details` has the agent's did or URL as `agent`, and the files that were to be sent as `files`: pairs of name and
    size in bytes.
    """

    code = "consent_needed"

    def __init__(self, agent: str, key: str, *, stranger: bool, files: Sequence[tuple[str, int]] = ()) -> None:
        refused = f"{key} is a stranger" if stranger else f"files may not be sent to {key} yet"
        super().__init__(
            f"Nothing was sent: {refused}, and your user has not been asked.",
            f"Make the same call again when your user has run, in a terminal: {allow_command(key)}",
            {"agent": agent, "files": [list(file) for file in files]},
        )


class ConsentDeclinedError(ConsentError):
    """The person was asked, and did not allow it."""

    code = "consent_declined"

    def __init__(self, agent: str, key: str) -> None:
        super().__init__(
            f"Nothing was sent: your user was asked about {key}, and did not allow it.",
            f"Do not ask again unless they say so. They can allow it in a terminal: {allow_command(key)}",
            {"agent": agent},
        )


def allow_command(key: str) -> str:
    """The command that lets a person allow sending to an agent; safe to paste, whatever a URL holds."""
    return f"mcp-a2a allow {shlex.quote(key)}"


# --- tasks: the work -----------------------------------------------------------------------------


class TaskError(McpA2AError):
    """The task does not exist or cannot do this now."""

    code = "task"
    exit_code = 3


class TaskNotFoundError(TaskError):
    """No task has this id (or this prefix of an id)."""

    code = "task_not_found"

    def __init__(self, asked: str, matches: int = 0) -> None:
        why = f"matches {matches} tasks" if matches else "was not found among the tasks of this identity"
        super().__init__(f"{asked!r} {why}.", "Call list_tasks to see the tasks and their ids.")


class TaskForgottenError(TaskNotFoundError):
    """A person has removed what this task said and brought."""

    code = "task_forgotten"

    def __init__(self, task_id: str, at: str) -> None:
        TaskError.__init__(
            self, f"{task_id} was deleted by you at {at}.", "Its texts, files and result are gone; send a new task."
        )


class NotForgettableError(TaskError):
    """A task that is not finished, or whose end its other side does not know yet, is kept."""

    code = "not_forgettable"

    def __init__(self, task_id: str, why: str) -> None:
        super().__init__(f"{task_id} {why}.", "Call get_task_status to see how it stands, or cancel_task.")

    @staticmethod
    def unfinished(*, sent: bool) -> str:
        """Why a task that goes on is kept, as the end of a sentence."""
        return f"is not finished: {'cancel' if sent else 'answer'} it first"


class TransitionError(TaskError):
    """A task may not go from its state to the proposed one."""

    code = "invalid_transition"
    exit_code = 7

    def __init__(self, current: str, proposed: str) -> None:
        super().__init__(
            f"A task that is {_spoken(current)} cannot become {_spoken(proposed)}.",
            "Call get_task_status to see where it stands.",
        )
        self.current, self.proposed = current, proposed


class AlreadyEndedError(TransitionError):
    """What a person asks for comes too late: the task has ended."""

    code = "already_ended"

    def __init__(self, state: str, task_id: str) -> None:
        TaskError.__init__(self, f"It is already {state}.", f"See how it ended: mcp-a2a task {task_id[-6:]}")
        self.current, self.proposed = state, ""


class NotSentError(TaskError):
    """Only the sender of a task can withdraw it; its recipient answers it."""

    code = "not_sent"
    exit_code = 5

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"{task_id} was sent to you, so it is not yours to cancel.",
            "Decline it with answer_task and status rejected.",
            {TYPED: f'Decline it: mcp-a2a answer {task_id[-6:]} --status rejected "REASON"'},
        )


class NothingAskedError(TaskError):
    """The agent has asked nothing that an answer could belong to."""

    code = "nothing_asked"
    exit_code = 5

    def __init__(self, agent: str, task_id: str, state: str, context_id: str | None) -> None:
        follow_up = f'mcp-a2a send {shlex.quote(agent)} "TEXT"' + (f" --context {context_id}" if context_id else "")
        super().__init__(
            f"{agent} has asked nothing: the task is {state}.",
            f"Go on in the same conversation with a new task: {follow_up}",
        )


class NothingWaitsError(DiscoveryError):
    """A contact request was to be decided on, and there is none."""

    code = "nothing_waits"

    def __init__(self) -> None:
        super().__init__(
            "No agent is waiting to be accepted.",
            "Name one to have your user asked about it; discover lists those that are known.",
        )


class LeaseLostError(TaskError):
    """The task was offered to someone else because the answer took too long."""

    code = "lease_lost"
    exit_code = 5

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"{task_id} is no longer yours to answer: its lease ended and it was offered to another worker.",
            "Call check_inbox for work that is; answer with status working from time to time to keep a lease.",
        )


class SelfSendError(TaskError):
    """The task is addressed to this very node."""

    code = "self_send"
    exit_code = 2

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"{asked} is this node itself: a task is for another agent.",
            "Call discover for the others, or start one with mcp-a2a agent run or agent exec.",
        )


class HopLimitError(TaskError):
    """The work was passed on so often that the chain ends here."""

    code = "hop_limit"
    exit_code = 5

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"This work was passed on {limit} times and is not passed on again: agents may ask each other in a circle.",
            "Do it here, or answer the original task with what is known.",
        )


class NotAwaitingReplyError(TaskError):
    """The task is not one that can be replied to (for example one that we answer ourselves)."""

    code = "not_awaiting_reply"
    exit_code = 5

    def __init__(self, task_id: str, state: str, *, sent: bool = False) -> None:
        super().__init__(
            f"{task_id} is {_spoken(state)} and takes no reply from here.",
            "You sent it, so its agent answers it. Say more with reply_to_task."
            if sent
            else "Use answer_task for tasks from your inbox, send_task for new work.",
        )


class ContextMismatchError(TaskError):
    """A message names a task and a context that do not belong together (A2A 3.4)."""

    code = "context_mismatch"
    exit_code = 2

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"The context of the message is not the context of its task {task_id}.",
            "Leave the context out: it follows from the task.",
        )


class ConversationFullError(TaskError):
    """What was said in a task is as long as it may be."""

    code = "conversation_full"
    exit_code = 5

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"The message was not sent: the conversation of {task_id} has reached its limit.",
            "Go on with a new task.",
        )


class KeyReusedError(TaskError):
    """A request repeats the idempotency key of another request, so it is no repetition."""

    code = "key_reused"
    exit_code = 2

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"Nothing was sent: this idempotency key belongs to {task_id}, whose request said something else.",
            "Use a new key for a new request; to repeat a request, send exactly the same one.",
        )


class PageTokenError(TaskError):
    """A list cannot be continued from there."""

    code = "page_token"
    exit_code = 2

    def __init__(self) -> None:
        super().__init__("This page token is not from this agent.", "Use nextPageToken of the previous page, or none.")


class PushNotSupportedError(TaskError):
    """Push notifications are switched off."""

    code = "push_not_supported"
    exit_code = 5

    def __init__(self) -> None:
        super().__init__(
            "This agent does not send push notifications.",
            "Follow the task by streaming or polling, or have its owner start it with --a2a-push.",
        )


class PushConfigNotFoundError(TaskError):
    """The task has no push configuration with this id."""

    code = "push_config_not_found"
    exit_code = 3

    def __init__(self, asked: str) -> None:
        super().__init__(f"The task has no push notification configuration {asked!r}.", "List those of the task.")


# --- the web: agents, cards and hooks at URLs that others chose -----------------------------------


class WebError(McpA2AError):
    """An HTTP server did not do what it should; the message says which and what."""

    code = "web"
    exit_code = 4
    retryable = True


class CardError(WebError):
    """There is no usable agent card at a URL."""

    code = "card"
    exit_code = 3
    retryable = False


class AddressNotAllowedError(WebError):
    """A URL that somebody else chose leads to a place that it must not reach.

    `remedy` is what to do where nobody can allow it.
    """

    code = "address_not_allowed"
    exit_code = 5
    retryable = False

    def __init__(self, url: str, reason: str, remedy: str = "") -> None:
        self.url, self.remedy = without_secrets(url), remedy
        super().__init__(f"{self.url} may not be called: {reason}.", remedy or "Only public https URLs are allowed.")


class WebRefusedError(WebError):
    """An A2A agent answered that it will not do it; `reason` is A2A's name for why, or ours."""

    code = "web_refused"
    exit_code = 5
    retryable = False

    def __init__(self, message: str, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason


class ExtensionRequiredError(WebRefusedError):
    """An agent insists on protocol extensions that the request does not have (A2A 4.6)."""

    code = "extension_required"

    def __init__(self, name: str, uris: Sequence[str]) -> None:
        listed = ", ".join(uris)
        super().__init__(
            f"{name} takes requests with the A2A extension {listed} only, which mcp-a2a does not speak. "
            "Nothing was sent.",
            "Ask its owner for an agent that does not require it, or use a client that speaks it.",
            "EXTENSION_SUPPORT_REQUIRED",
        )


class WebAnswerError(WebError):
    """An A2A agent answered something that A2A does not know; the message says what."""

    code = "web_answer"
    exit_code = 7
    retryable = False


class WebFailedError(WebAnswerError):
    """An A2A agent answered that it failed over a request that may be good."""

    code = "web_failed"
    retryable = True  # by who asked, who knows what doing a part of it twice would do


class TaskLostError(WebError):
    """An A2A agent took a task and does not know it any more, as after a restart."""

    code = "task_lost"

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url} no longer knows this task: the agent lost it, perhaps in a restart, and it may be half done.",
            "Send it again, unless it is harmful to do part of it twice.",
        )


# --- files ---------------------------------------------------------------------------------------


class FileError(McpA2AError):
    """A file cannot be attached, sent, or stored here; the message says why."""

    code = "file"
    exit_code = 2


class NoFilesError(FileError):
    """The files of a task are asked for, and it brought none."""

    code = "no_files"

    def __init__(self, task_id: str) -> None:
        super().__init__(f"{task_id} has no files.", "Call get_task_status to see what the task brought.")


# --- protocol ------------------------------------------------------------------------------------


class ProtocolError(McpA2AError):
    """The rules of a protocol were broken."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """We broke them: a bug of ours."""

    code = "local_protocol"


class RemoteProtocolError(ProtocolError):
    """They broke them: the only error that a function fed by the network may raise."""

    code = "remote_protocol"


# --- envelopes: one sealed message was not acceptable; never shown to the remote side


class EnvelopeError(RemoteProtocolError):
    """An envelope was refused. The remote side only ever hears one uniform answer."""

    code = "envelope"
    exit_code = 5


class SealBrokenError(EnvelopeError):
    """It does not open with our key, or its inside is damaged, or the signature is not its sender's."""

    code = "seal_broken"


class NotForUsError(EnvelopeError):
    """It names another recipient, outside or inside."""

    code = "not_for_us"


class ReplayedError(EnvelopeError):
    """We accepted this very message before."""

    code = "replayed"


class StaleError(EnvelopeError):
    """It has expired, comes from the future, or claims to live too long."""

    code = "stale"

    def __init__(self, message: str, hint: str = "", *, difference: float | None = None) -> None:
        super().__init__(message, hint)
        self.difference = difference
        """By how many seconds it is dated ahead of our clock; negative: so long ago it ended."""


class UnknownKeyError(EnvelopeError):
    """It was sealed to an encryption key of ours that is unknown or no longer kept; the answer is our current one."""

    code = "unknown_key"
