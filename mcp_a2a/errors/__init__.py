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

An error carries a `message` (what happened, what was tried) and a `remedy` (what to do next), which each surface words
for its readers: a model, a person at a terminal, a client on another machine. `code` is stable and machine-readable;
`exit_code` is what the command line ends with. Each module has the errors of one subject.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from typing_extensions import override

from mcp_a2a.errors.remedy import FOR_A_MODEL, Remedy, plain

_BY_CODE: dict[str, type[McpA2AError]] = {}


class McpA2AError(Exception):
    """Base of every error raised on purpose; `str()` is the message followed by the hint."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    quotes: ClassVar[bool] = True
    """True if the message may have words of another agent. No class inherits it."""

    says: ClassVar[str] = "{}"
    """The sentence of an error with one value, with a field for it."""

    message: str
    remedy: Remedy = plain("")
    """The next step."""
    details: Mapping[str, object]
    """Facts for a program, in JSON's types; another process of ours gets them too."""

    @override
    def __init_subclass__(
        cls, *, code: str = "", exit_code: int | None = None, retryable: bool | None = None, quotes: bool = True
    ) -> None:
        super().__init_subclass__()
        cls.code = code or cls.code
        cls.exit_code = cls.exit_code if exit_code is None else exit_code
        cls.retryable = cls.retryable if retryable is None else retryable
        cls.quotes = quotes
        _BY_CODE.setdefault(cls.code, cls)

    def __init__(
        self, message: str | int = "", remedy: str | Remedy | None = None, details: Mapping[str, object] | None = None
    ) -> None:
        self.message = _without(_TOKENS, self.says.format(message))  # most quote something that a user typed
        super().__init__(self.message)
        if remedy is not None:
            self.remedy = plain(remedy) if isinstance(remedy, str) else remedy
        self.details = details or {}

    @override
    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    @property
    def hint(self) -> str:
        """The next step, in the words of tools."""
        return self.hint_in(FOR_A_MODEL)

    def hint_in(self, words: Mapping[str, str]) -> str:
        """The next step, in the words of a surface."""
        return _without(_TOKENS, self.remedy.worded(words))

    @classmethod
    def rebuild(
        cls, code: str, message: str, remedy: str | Remedy, details: Mapping[str, object] | None = None
    ) -> McpA2AError:
        """The error that another process of ours reported, as the class that carries this `code`."""
        from mcp_a2a.errors import agents, delivery, machine, networks, protocol, tasks, web  # noqa: F401, PLC0415  classes

        kind = _BY_CODE.get(code, McpA2AError)
        error = kind.__new__(kind)
        McpA2AError.__init__(error, 0, remedy, details)
        error.message = _without(_TOKENS, message)  # whole already, so it is no value of `says`
        return error


_TOKENS = (
    (re.compile(r"(?<=[?&#]admit=)[\w=%+-]+"), "…"),
    (re.compile(r"\b(a2a[1-9])[a-z2-7]{40,}", re.IGNORECASE), r"\1…"),
)
_SECRETS = ((re.compile(r"(?<=://)[^/?#]*@"), ""), *_TOKENS)


def without_secrets(text: str) -> str:
    """Text that a user typed, as it may be shown: without a name and password, admission secret or ticket."""
    return _without(_SECRETS, text)


def _without(secrets: Iterable[tuple[re.Pattern[str], str]], text: str) -> str:
    for secret, shown in secrets:
        text = secret.sub(shown, text)
    return text
