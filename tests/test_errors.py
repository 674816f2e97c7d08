"""Every error that a person or a model can see says what happened, what was tried, and what to do next."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from pydantic import ValidationError

import mcp_a2a
from mcp_a2a import errors
from mcp_a2a.a2a.faults import fault_of
from mcp_a2a.api.networks import InviteRequest
from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.remedies import WORDS
from mcp_a2a.errors import McpA2AError, without_secrets
from mcp_a2a.errors.agents import (
    AliasAlikeError,
    AliasTakenError,
    AmbiguousNameError,
    ConsentDeclinedError,
    ConsentError,
    ConsentNeededError,
    DiscoveryError,
    KeyChangedError,
    NothingWaitsError,
    PeerNotFoundError,
    SkillNotFoundError,
)
from mcp_a2a.errors.delivery import (
    DeliveryError,
    ExpiredError,
    FilesWaitError,
    LinkError,
    NoRouteError,
    QueueFullError,
    RefusedError,
    TooLargeError,
    UnsendableError,
)
from mcp_a2a.errors.machine import (
    ConfigurationError,
    DamagedRowError,
    DatabaseDamagedError,
    DiskUnreadableError,
    HomeUnusableError,
    KeyFileError,
    NodeRunsError,
    NodeSilentError,
    PortInUseError,
    RelayRunsError,
    SchemaTooNewError,
    StorageFullError,
    SystemLimitError,
)
from mcp_a2a.errors.networks import (
    NetworkError,
    NetworkNotFoundError,
    NoRelayError,
    NotAdmittedError,
    NotOwnerError,
    RelayError,
    TicketError,
    TicketPlaceError,
)
from mcp_a2a.errors.protocol import (
    EnvelopeError,
    LocalProtocolError,
    NotForUsError,
    ProtocolError,
    RemoteProtocolError,
    ReplayedError,
    SealBrokenError,
    StaleError,
    UnknownKeyError,
)
from mcp_a2a.errors.remedy import FOR_A_MODEL
from mcp_a2a.errors.tasks import (
    AlreadyEndedError,
    ContextMismatchError,
    ConversationFullError,
    FileError,
    HopLimitError,
    KeyReusedError,
    LeaseLostError,
    NoFilesError,
    NotAwaitingReplyError,
    NotForgettableError,
    NothingAskedError,
    NotSentError,
    PageTokenError,
    PushConfigNotFoundError,
    PushNotSupportedError,
    SelfSendError,
    TaskError,
    TaskForgottenError,
    TaskNotFoundError,
    TransitionError,
)
from mcp_a2a.errors.web import (
    AddressNotAllowedError,
    CardError,
    ExtensionRequiredError,
    TaskLostError,
    WebAnswerError,
    WebError,
    WebFailedError,
    WebRefusedError,
)
from mcp_a2a.node.ipc.wire import error_fields, raised
from mcp_a2a.own_command import COMMANDS
from mcp_a2a.protocol.paths import parse_address
from mcp_a2a.protocol.plain_words import faults_of
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.server.prose import sentence
from mcp_a2a.server.toolset import TOOLS as TOOL_SPECS

DID, OTHER = "did:key:z6MkOne", "did:key:z6MkTwo"

SHOWN: dict[type[McpA2AError], tuple[object, ...]] = {
    HomeUnusableError: ("/data", "it is not writable"),
    NodeRunsError: ("default", 42),
    HopLimitError: (4,),
    TaskForgottenError: ("task-xyz", "2026-11-30 10:00 UTC"),
    NotForgettableError: ("task-xyz", "is not finished: cancel it first"),
    DatabaseDamagedError: ("/data/node.db",),
    DamagedRowError: ("task-xyz",),
    DiskUnreadableError: ("/data/node.db",),
    KeyFileError: ("/data/identity.key", "others can read it (mode 0644)", "Run: chmod 600 /data/identity.key."),
    PortInUseError: ("127.0.0.1:3000",),
    RelayRunsError: ("/data/relay",),
    SchemaTooNewError: ("/data/node.db", 9, 1),
    StorageFullError: ("/data/node.db",),
    SystemLimitError: ("A limit of this process is reached.", "Raise the limit."),
    NodeSilentError: ("/data", 42, "stopped", "does not answer"),
    ConsentNeededError: (DID, DID),
    ConsentDeclinedError: (DID, DID),
    TaskLostError: ("https://agent.example/",),
    PeerNotFoundError: ("bobb", ("bob",), 3),
    SkillNotFoundError: ("revers", ("reverse",)),
    AmbiguousNameError: ("bob", ((DID, "one-two"), (OTHER, "three-four"))),
    KeyChangedError: ("bob", DID, OTHER),
    AliasAlikeError: ("b0b", "bob", DID),
    AliasTakenError: ("bob", DID),
    NetworkNotFoundError: ("shop", ("home",)),
    NoRelayError: ("shop",),
    NoFilesError: ("task-xyz",),
    TicketPlaceError: ("ws://127.0.0.1:22", "127.0.0.1"),
    TicketError: ("it expired on 2026-11-20 10:00 UTC",),
    RelayError: ("ws://203.0.113.10:6060/", "no program listens there (connection refused)"),
    NotAdmittedError: ("ws://203.0.113.10:6060/", "its operator has revoked our key"),
    NoRouteError: ("bob", ("lan 10.0.0.2:7301: refused", "direct 10.0.0.3:7301: timed out")),
    RefusedError: ("bob", "it does not take messages from you"),
    ExpiredError: ("bob", 7.0),
    QueueFullError: ("outbox", 10_000),
    FilesWaitError: (4_096,),
    TooLargeError: (2_000_000, 1_048_508),
    UnsendableError: ("it is nested too deeply",),
    TaskNotFoundError: ("task-xyz", 2),
    TransitionError: ("completed", "working"),
    AlreadyEndedError: ("completed", "task-xyz"),
    NotSentError: ("task-xyz",),
    NothingAskedError: ("rev", "task-xyz", "working", None),
    NotOwnerError: ("shop", "did:key:z6MkoPEBt6CcYHmSzagc3fT8f85FxTdDjE8TEYUzFaSUJ8Xj"),
    LeaseLostError: ("task-xyz",),
    SelfSendError: ("alice",),
    NotAwaitingReplyError: ("task-xyz", "completed"),
    ContextMismatchError: ("task-xyz",),
    KeyReusedError: ("task-xyz",),
    ConversationFullError: ("task-xyz",),
    PushConfigNotFoundError: ("mine",),
    ExtensionRequiredError: ("bob", ("https://example.com/ext/v1",)),
    AddressNotAllowedError: ("http://10.0.0.1/", "it is not https"),
}
"""Each with values as they occur."""

PLAIN = {
    McpA2AError: "the root; raised directly only for what another process reported",
    ConfigurationError: "built with message and hint where it is raised",
    DiscoveryError: "a family",
    NetworkError: "built with message and hint where it is raised",
    DeliveryError: "a family",
    TaskError: "a family",
    PageTokenError: "a sentence without values",
    NothingWaitsError: "likewise",
    PushNotSupportedError: "likewise",
    ConsentError: "a family",
    WebError: "built with message and hint where it is raised",
    CardError: "as WebError",
    WebRefusedError: "as WebError",
    WebFailedError: "as WebError",
    WebAnswerError: "as WebError; while an answer is read, a fragment that becomes a sentence",
    FileError: "as WebError",
    LinkError: "a fragment that NoRouteError lists among its attempts",
    ProtocolError: "a family",
    LocalProtocolError: "a bug of ours: logged, never shown",
    RemoteProtocolError: "their bytes: logged here, and one uniform answer there",
    EnvelopeError: "as RemoteProtocolError",
    SealBrokenError: "as RemoteProtocolError",
    NotForUsError: "as RemoteProtocolError",
    ReplayedError: "as RemoteProtocolError",
    StaleError: "as RemoteProtocolError",
    UnknownKeyError: "as RemoteProtocolError",
}
"""Those without a sentence and a next step of their own, and why. The protocol's never reach a person: a remote side
hears one uniform answer, our log the reason, and whoever waits for a task learns its fate in `Outcomes`'s words."""

ELSEWHERE = {
    "mcp_a2a.node.ipc.client.OwnerLostError": "never leaves node.ipc.owner, which asks the next owner",
    "mcp_a2a.node.ipc.client.OwnerSilentError": "never leaves node.ipc.owner, which names the process",
    "mcp_a2a.a2a.http_answer.NotConnectedError": "never leaves a2a.client, which tries the next interface",
    "mcp_a2a.a2a.push.HookRefusedError": "never leaves node.pushes, which leaves that event",
    "mcp_a2a.web_ports.HookGoneError": "never leaves node.pushes, which stops calling that hook",
    "mcp_a2a.web_ports.AnswerLostError": "never leaves delivery.http, which asks again or gives up with another",
    "mcp_a2a.web_ports.NoCardError": "a CardError, built where that is; node.web_book waits for a card that was there",
    "mcp_a2a.web_ports.NotNowError": "never leaves delivery.http, which asks again for as long as a message lives",
    "mcp_a2a.cli.demo.DemoError": "built with a message where it is raised; the demonstration shows what it did before",
}
"""Errors of a single module, and why they are not in the tables."""

WITH_A_HINT = {"McpA2AError", "ConfigurationError", "DiscoveryError", "DeliveryError", "TaskError", "NetworkError"}
"""Whoever builds one of these by hand says the next step too."""

CODES = {
    "McpA2AError": "internal",
    "ConfigurationError": "configuration",
    "HomeUnusableError": "home_unusable",
    "NodeRunsError": "node_runs",
    "HopLimitError": "hop_limit",
    "TaskForgottenError": "task_forgotten",
    "NotForgettableError": "not_forgettable",
    "DatabaseDamagedError": "database_damaged",
    "DiskUnreadableError": "disk_unreadable",
    "DamagedRowError": "row_damaged",
    "KeyFileError": "key_file",
    "PortInUseError": "port_in_use",
    "RelayRunsError": "relay_runs",
    "SchemaTooNewError": "schema_too_new",
    "StorageFullError": "storage_full",
    "SystemLimitError": "system_limit",
    "NodeSilentError": "node_silent",
    "ConsentError": "consent",
    "ConsentNeededError": "consent_needed",
    "ConsentDeclinedError": "consent_declined",
    "TaskLostError": "task_lost",
    "DiscoveryError": "discovery",
    "PeerNotFoundError": "agent_not_found",
    "NothingWaitsError": "nothing_waits",
    "SkillNotFoundError": "skill_not_found",
    "AmbiguousNameError": "ambiguous_name",
    "KeyChangedError": "key_changed",
    "AliasAlikeError": "alias_alike",
    "AliasTakenError": "alias_taken",
    "NetworkError": "network",
    "NetworkNotFoundError": "network_not_found",
    "NoRelayError": "no_relay",
    "TicketError": "ticket",
    "TicketPlaceError": "ticket_place",
    "RelayError": "relay",
    "NotAdmittedError": "not_admitted",
    "DeliveryError": "delivery",
    "NoRouteError": "unreachable",
    "RefusedError": "refused",
    "ExpiredError": "expired",
    "QueueFullError": "queue_full",
    "FilesWaitError": "files_wait",
    "TooLargeError": "too_large",
    "UnsendableError": "unsendable",
    "LinkError": "link",
    "TaskError": "task",
    "TaskNotFoundError": "task_not_found",
    "TransitionError": "invalid_transition",
    "AlreadyEndedError": "already_ended",
    "NotSentError": "not_sent",
    "NothingAskedError": "nothing_asked",
    "NotOwnerError": "not_owner",
    "LeaseLostError": "lease_lost",
    "SelfSendError": "self_send",
    "NotAwaitingReplyError": "not_awaiting_reply",
    "ContextMismatchError": "context_mismatch",
    "KeyReusedError": "key_reused",
    "ConversationFullError": "conversation_full",
    "PageTokenError": "page_token",
    "PushNotSupportedError": "push_not_supported",
    "PushConfigNotFoundError": "push_config_not_found",
    "WebError": "web",
    "CardError": "card",
    "AddressNotAllowedError": "address_not_allowed",
    "WebRefusedError": "web_refused",
    "ExtensionRequiredError": "extension_required",
    "WebAnswerError": "web_answer",
    "WebFailedError": "web_failed",
    "FileError": "file",
    "NoFilesError": "no_files",
    "ProtocolError": "protocol",
    "LocalProtocolError": "local_protocol",
    "RemoteProtocolError": "remote_protocol",
    "EnvelopeError": "envelope",
    "SealBrokenError": "seal_broken",
    "NotForUsError": "not_for_us",
    "ReplayedError": "replayed",
    "StaleError": "stale",
    "UnknownKeyError": "unknown_key",
}
"""Programs of others compare with these: a release may add some, and changes none."""


def tree(kind: type[McpA2AError] = McpA2AError) -> Iterator[type[McpA2AError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def ours() -> list[type[McpA2AError]]:
    return [kind for kind in tree() if kind.__module__.split(".")[:2] == ["mcp_a2a", "errors"]]


def made(kind: type[McpA2AError]) -> McpA2AError:
    keywords: dict[str, bool] = {"stranger": True} if kind is ConsentNeededError else {}
    return kind(*SHOWN[kind], **keywords)  # type: ignore[arg-type]


TOOLS = [spec.function.__name__ for spec in TOOL_SPECS]
PHRASES = FOR_A_MODEL.keys() | {"Call"}
LOCAL = re.compile(rf"mcp-a2a (?:{'|'.join(COMMANDS)})\b|\b(?:{'|'.join(name for name in TOOLS if '_' in name)})\b")
"""What is on this machine alone: a command, or a tool."""


TOLD_TO_CLIENTS = {ConsentNeededError, ConsentDeclinedError}
"""A client may be a program of the person who can allow it."""

PASSES_ON = ("mcp_a2a/errors/remedy.py", "mcp_a2a/node/ipc/wire.py")
"""Where the text of a remedy is a variable: what makes one of words without fields, and of words that were sent."""


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the product, by file and line."""
    root = Path(mcp_a2a.__path__[0]).parent
    for folder in ("mcp_a2a", "transports"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield f"{path.relative_to(root)}:{node.lineno}", node


def texts(call: ast.AST) -> Iterator[str]:
    """The text in the arguments of a call, but for that of remedies."""
    for child in ast.iter_child_nodes(call):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        elif not (isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id == "Remedy"):
            yield from texts(child)


def fields(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field}


def test_every_error_is_in_one_of_the_tables() -> None:
    assert set(ours()) == SHOWN.keys() | PLAIN.keys()
    assert not SHOWN.keys() & PLAIN.keys()


def test_no_error_of_another_module_is_forgotten() -> None:
    for module in pkgutil.walk_packages(mcp_a2a.__path__, "mcp_a2a."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    elsewhere = {kind for kind in tree() if kind.__module__.startswith("mcp_a2a") and kind not in ours()}
    assert {f"{kind.__module__}.{kind.__qualname__}" for kind in elsewhere} == ELSEWHERE.keys()
    codes = [kind.code for kind in (*ours(), *elsewhere)]
    assert len(codes) == len(set(codes))


def test_every_error_has_the_code_that_it_always_had() -> None:
    assert {kind.__name__: kind.code for kind in ours()} == CODES
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("kind", ours(), ids=lambda kind: kind.__name__)
def test_every_error_ends_a_command_with_a_documented_code(kind: type[McpA2AError]) -> None:
    assert kind.exit_code in set(Exit) - {Exit.DONE, Exit.INTERRUPTED}


@pytest.mark.parametrize("kind", ours(), ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_that_heads_its_module(kind: type[McpA2AError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "").split()


def test_whoever_words_an_error_by_hand_says_the_next_step_too() -> None:
    unworded = []
    for path in Path(mcp_a2a.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in WITH_A_HINT:
                continue
            if isinstance(node.args[0], ast.Call):
                continue  # passes on what another error said
            hint = node.args[1] if len(node.args) > 1 else None
            if hint is None or (isinstance(hint, ast.Constant) and not hint.value):
                unworded.append(f"{path.name}:{node.lineno}")
    assert unworded == []


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_what_happened_and_the_next_step_are_said_with_the_values(kind: type[McpA2AError]) -> None:
    error = made(kind)
    assert len(error.message) > 20
    assert error.message.endswith((".", "?"))
    assert len(error.hint) > 15
    assert error.hint.endswith(".") or ": " in error.hint
    assert str(error) == f"{error.message} {error.hint}"
    first = SHOWN[kind][0]
    assert (f"{first:,}" if isinstance(first, int) else str(first)) in str(error)


def example(kind: type[McpA2AError]) -> McpA2AError:
    return made(kind) if kind in SHOWN else McpA2AError.rebuild(kind.code, "It failed.", kind.remedy)


def words_for_every_reader(error: McpA2AError) -> dict[str, str]:
    return {"model": sentence(error), "terminal": error.hint_in(WORDS), "client": fault_of(error).message}


@pytest.mark.parametrize("kind", ours(), ids=lambda kind: kind.__name__)
def test_every_surface_has_words_for_every_error_and_the_same_ones_over_the_control_socket(
    kind: type[McpA2AError],
) -> None:
    error = example(kind)
    said = words_for_every_reader(error)
    assert with_short_urls(error.message) in said["model"]
    assert with_short_urls(error.hint) in said["model"]
    for words in said.values():
        assert not re.search(r"[{}]", words)
        assert not PHRASES & set(re.findall(r"\w+_\w+", words))
    again = raised(json.loads(json.dumps(error_fields(error))))
    assert type(again) is kind
    assert (again.message, again.hint) == (error.message, error.hint)
    assert again.hint_in(WORDS) == said["terminal"]
    assert fault_of(again).message == said["client"]


@pytest.mark.parametrize("kind", ours(), ids=lambda kind: kind.__name__)
def test_a_client_on_another_machine_reads_of_no_tool_and_no_command(kind: type[McpA2AError]) -> None:
    said = fault_of(example(kind)).message
    assert bool(LOCAL.search(said)) == (kind in TOLD_TO_CLIENTS)


def test_every_field_of_a_remedy_is_a_value_or_has_words_on_every_surface() -> None:
    for place, call in calls():
        if not isinstance(call.func, ast.Name) or call.func.id != "Remedy" or place.startswith(PASSES_ON):
            continue
        text = call.args[0]
        assert isinstance(text, ast.Constant) or (isinstance(text, ast.Name) and text.id.isupper()), place
        values = {keyword.arg for keyword in call.keywords}
        for field in fields(text.value) if isinstance(text, ast.Constant) else ():
            assert field in values | WORDS.keys(), place
            assert field in values | FOR_A_MODEL.keys() | set(TOOLS) | {"Call"}, place
            for words in (FOR_A_MODEL, WORDS):
                assert fields(words.get(field, "")) <= values, place


def test_what_is_said_to_every_reader_names_no_tool_and_no_command() -> None:
    """Below the command line and the tools; a `Remedy` says it to those whom it concerns."""
    named = [
        place
        for place, call in calls()
        if isinstance(call.func, ast.Name) and (call.func.id.endswith("Error") or call.func.id == "plain")
        if not re.match(r"mcp_a2a/(cli|server)/", place)
        for said in texts(call)
        if LOCAL.search(said)
    ]
    assert named == []


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_an_error_keeps_class_and_words_over_the_control_socket(kind: type[McpA2AError]) -> None:
    error = made(kind)
    again = McpA2AError.rebuild(error.code, error.message, error.hint)
    assert type(again) is kind
    assert (again.message, again.hint, str(again)) == (error.message, error.hint, str(error))


def test_every_attempt_is_listed_when_nobody_could_be_reached() -> None:
    attempts = ("lan 10.0.0.2:7301: refused", "direct 10.0.0.3:7301: timed out")
    assert all(attempt in str(NoRouteError("bob", attempts)) for attempt in attempts)


def test_a_code_from_a_newer_version_is_still_an_error_with_its_words() -> None:
    error = McpA2AError.rebuild("from_the_future", "Something new happened.", "Upgrade.")
    assert type(error) is McpA2AError
    assert str(error) == "Something new happened. Upgrade."


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("https://me:secret@agent.example/a", "https://agent.example/a"),
        ("ws://h:6060/#did:key:z6Mk&admit=G_QfdWQBDU9DckSvXCtkjQ", "ws://h:6060/#did:key:z6Mk&admit=…"),
        ("ws://h:6060/?admit=G_QfdWQBDU9DckSvXCtkjQ&x=1", "ws://h:6060/?admit=…&x=1"),
        ("a2a1" + "aeaq7uvw" * 20, "a2a1…"),
        ("A2A1" + "AEAQ7UVW" * 20 + " now", "A2A1… now"),
        ("a2a1helper", "a2a1helper"),
    ],
)
def test_what_somebody_typed_in_the_wrong_place_is_quoted_without_its_secret(typed: str, shown: str) -> None:
    assert without_secrets(typed) == shown
    for error in (
        PeerNotFoundError(typed),
        NetworkNotFoundError(typed),
        SkillNotFoundError(typed),
    ):
        assert repr(shown) in error.message
    with pytest.raises(ConfigurationError) as refused:
        parse_address(typed)
    assert "secret@" not in refused.value.message
    assert "AEAQ7UVWAEAQ7" not in refused.value.message.upper()
    assert "G_QfdWQBDU9DckSvXCtkjQ" not in refused.value.message


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_no_error_quotes_a_ticket_or_an_admission_secret(kind: type[McpA2AError]) -> None:
    """They land in the place of any name, number or path; and what a terminal shows is copied into bug reports."""
    for secret in ("a2a1" + "aeaq7uvw" * 20, "ws://h:6060/#did:key:z6Mk&admit=G_QfdWQBDU9DckSvXCtkjQ"):
        typed = [secret if isinstance(value, str) else value for value in SHOWN[kind]]
        keywords: dict[str, bool] = {"stranger": True} if kind is ConsentNeededError else {}
        said = str(kind(*typed, **keywords)).lower()  # type: ignore[arg-type]
        assert "aeaq7uvwaeaq7" not in said
        assert "g_qfdwqbdu9" not in said


def test_a_ticket_in_place_of_the_name_of_a_network_is_not_quoted() -> None:
    with pytest.raises(ValidationError) as refused:
        InviteRequest(network="a2a1" + "aeaq7uvw" * 20)
    assert faults_of(refused.value) == 'network: it should have at most 64 characters (got "a2a1…")'
