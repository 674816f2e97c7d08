"""Every error that a person or a model can see says what happened, what was tried, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mcp_a2a import errors
from mcp_a2a.errors import McpA2AError

DID, OTHER = "did:key:z6MkOne", "did:key:z6MkTwo"

SHOWN: dict[type[McpA2AError], tuple[object, ...]] = {
    errors.HomeUnusableError: ("/data", "it is not writable"),
    errors.KeyFileError: ("/data/identity.key", "others can read it (mode 0644)", "Run: chmod 600 /data/identity.key."),
    errors.PortInUseError: ("127.0.0.1:3000",),
    errors.SchemaTooNewError: ("/data/node.db", 9, 1),
    errors.StorageFullError: ("/data/node.db",),
    errors.PeerNotFoundError: ("bobb", ("bob",), 3),
    errors.SkillNotFoundError: ("revers", ("reverse",)),
    errors.AmbiguousNameError: ("bob", ((DID, "one-two"), (OTHER, "three-four"))),
    errors.KeyChangedError: ("bob", DID, OTHER),
    errors.NoRouteError: ("bob", ("lan 10.0.0.2:7301: refused", "direct 10.0.0.3:7301: timed out")),
    errors.RefusedError: ("bob", "it does not take messages from you"),
    errors.ExpiredError: ("bob", 7.0),
    errors.QueueFullError: ("outbox", 10_000),
    errors.TooLargeError: (2_000_000, 1_048_508),
    errors.UnsendableError: ("it is nested too deeply",),
    errors.TaskNotFoundError: ("task-xyz", 2),
    errors.TransitionError: ("TASK_STATE_COMPLETED", "TASK_STATE_WORKING"),
    errors.LeaseLostError: ("task-xyz",),
    errors.SelfSendError: ("alice",),
    errors.NotAwaitingReplyError: ("task-xyz", "TASK_STATE_COMPLETED"),
}
"""Each with values as they occur."""

PLAIN = {
    McpA2AError: "the root; raised directly only for what another process reported",
    errors.ConfigurationError: "built with message and hint where it is raised",
    errors.DiscoveryError: "a family",
    errors.DeliveryError: "a family",
    errors.TaskError: "a family",
    errors.LinkError: "a fragment that NoRouteError lists among its attempts",
    errors.ProtocolError: "a family",
    errors.LocalProtocolError: "a bug of ours: logged, never shown",
    errors.RemoteProtocolError: "their bytes: logged here, and one uniform answer there (requirement S16)",
    errors.EnvelopeError: "as RemoteProtocolError",
    errors.SealBrokenError: "as RemoteProtocolError",
    errors.NotForUsError: "as RemoteProtocolError",
    errors.ReplayedError: "as RemoteProtocolError",
    errors.StaleError: "as RemoteProtocolError",
    errors.UnknownKeyError: "as RemoteProtocolError",
}
"""Those without a sentence of their own, and why."""

EXIT_CODES = {1, 2, 3, 4, 5, 6, 7, 8}


def tree(kind: type[McpA2AError] = McpA2AError) -> Iterator[type[McpA2AError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def ours() -> list[type[McpA2AError]]:
    return [kind for kind in tree() if kind.__module__ == errors.__name__]


def test_every_error_is_in_one_of_the_tables() -> None:
    assert set(ours()) == SHOWN.keys() | PLAIN.keys()
    assert not SHOWN.keys() & PLAIN.keys()


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in ours()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_what_happened_and_the_next_step_are_said_with_the_values(kind: type[McpA2AError]) -> None:
    error = kind(*SHOWN[kind])  # type: ignore[arg-type]
    assert len(error.message) > 20
    assert error.message.endswith((".", "?"))
    assert len(error.hint) > 15
    assert error.hint.endswith(".") or ": " in error.hint
    assert str(error) == f"{error.message} {error.hint}"
    first = SHOWN[kind][0]
    assert (f"{first:,}" if isinstance(first, int) else str(first)) in str(error)
    assert kind.exit_code in EXIT_CODES


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_an_error_keeps_class_and_words_over_the_control_socket(kind: type[McpA2AError]) -> None:
    error = kind(*SHOWN[kind])  # type: ignore[arg-type]
    again = McpA2AError.rebuild(error.code, error.message, error.hint)
    assert type(again) is kind
    assert (again.message, again.hint, str(again)) == (error.message, error.hint, str(error))


def test_every_attempt_is_listed_when_nobody_could_be_reached() -> None:
    attempts = ("lan 10.0.0.2:7301: refused", "direct 10.0.0.3:7301: timed out")
    assert all(attempt in str(errors.NoRouteError("bob", attempts)) for attempt in attempts)


def test_a_code_from_a_newer_version_is_still_an_error_with_its_words() -> None:
    error = McpA2AError.rebuild("from_the_future", "Something new happened.", "Upgrade.")
    assert type(error) is McpA2AError
    assert str(error) == "Something new happened. Upgrade."
