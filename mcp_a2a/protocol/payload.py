"""The payload of an envelope: one JSON object with sender, recipient, type, body and task.

`from`, `to`, `task`, `re` and `seq` are signed together, so a message can be moved neither to
another peer nor into another task. The signature covers the bytes as sent (`envelope`); nothing is
ever signed after re-serialising it. Unknown fields are ignored, an unknown version or type is
refused.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Message, TaskStatus
from mcp_a2a.protocol.strict_json import Version1, check_limits, read_untrusted, validate_untrusted

MAX_PAYLOAD = 1024 * 1024 - 4 - 64
"""Largest payload: the largest bucket without length and signature."""

MAX_RELAYS = 8
"""Of a network in a letter that renews it, or in a ticket."""

MAX_RUNS = 4

MAX_ASKED = 256
"""Tasks that one message asks after."""

LAST_SEQ = 1 << 40
"""Of the update about a task that is not known here: newer than each that there may have been."""

MAX_HOP = 4
"""The number of times that work may be passed on. Two agents that answer each other stop here."""

MAX_TIME = 4_294_965_600
"""The last full hour that an envelope's header can express."""

MAX_CHUNKS = 1_000
MAX_STREAMED = 10_000_000
"""Chunks in one update, and of one task."""

MAX_ADVERT_CHARS = 64 * 1024
MAX_VOUCHERS = 64

MAX_BLOB_PIECES = 320
MAX_BLOB_CHARS = 440_000
"""Pieces of a file of 100 MiB, and the base64 of one (`blob`)."""


def _peer(value: object) -> PeerId:
    if isinstance(value, PeerId):
        return value
    if not isinstance(value, str):
        raise ValueError("a did:key is text")  # noqa: TRY004 - pydantic turns only a ValueError into its own
    return PeerId.parse_untrusted(value)


Peer = Annotated[PeerId, PlainValidator(_peer), PlainSerializer(str, return_type=str)]
Voucher = Annotated[str, Field(min_length=44, max_length=44)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Time = Annotated[float, Field(ge=0, le=MAX_TIME, allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TaskBody(_Body):
    """New work, for one skill or for the agent as it sees fit."""

    message: Message
    skill: str | None = Field(default=None, min_length=1, max_length=128)


class MessageBody(_Body):
    """The next turn in a task: the answer to a question, or more to say."""

    message: Message


class CancelBody(_Body):
    """The sender no longer wants the task."""

    reason: str | None = Field(default=None, max_length=4096)
    opening: str | None = Field(default=None, max_length=256)
    """Id of the message that opens the task: it shows whose task it is, where that has not come yet."""


class TaskFailure(_Body):
    """Why a task failed: a stable code for programs, a sentence for people."""

    code: str = Field(min_length=1, max_length=64)
    message: str = Field(max_length=4096)


class UpdateBody(_Body):
    """The state of the work, with its results: the answer to a task."""

    status: TaskStatus
    artifacts: tuple[Artifact, ...] = ()
    error: TaskFailure | None = None
    attempt: int = Field(default=0, ge=0, le=1_000_000, strict=True)
    chunks: tuple[ArtifactChunk, ...] = Field(default=(), max_length=MAX_CHUNKS)
    """The new chunks of artifacts. Those in `artifacts` are whole, and come behind them."""
    streamed: int = Field(default=0, ge=0, le=MAX_STREAMED, strict=True)
    """Number of chunks of this attempt, these included: a receiver that misses some waits for them."""
    whole: int | None = Field(default=None, ge=0, le=MAX_STREAMED, strict=True)
    """Number of chunks of this attempt in `artifacts`, if these are all there are. Later ones follow on these,
    however many the recipient knows: a journal may have gone back in time, its own or the sender's."""
    direct: bool = False
    """The message in `status` is the answer, and no task is meant by it."""


class AdvertBody(_Body):
    """The sender's signed advert (`advert`), which only the recipient can read."""

    advert: str = Field(min_length=1, max_length=MAX_ADVERT_CHARS)
    vouchers: tuple[Voucher, ...] = Field(default=(), max_length=MAX_VOUCHERS)
    """One for each network of the sender, among others that mean nothing (`network.Network.vouch`)."""
    run: str = Field(default="", pattern=r"^[0-9a-f]{0,32}$")
    """The name of this run of its node."""
    met: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")], ...] = Field(default=(), max_length=MAX_RUNS)
    """The starts of the recipient's node that the sender has links with, if there are several: its key runs twice."""


class NetworkBody(_Body):
    """The owner of a network gives those that stay its new secret."""

    previous: Peer
    """Id of the network as it was."""
    secret: str = Field(min_length=44, max_length=44)
    relays: tuple[Annotated[str, Field(max_length=512)], ...] = Field(default=(), max_length=MAX_RELAYS)


class BlobBody(_Body):
    """A piece of a file that a message of this task will name (`blob`)."""

    blob: str = Field(pattern=r"^[0-9a-f]{32}$")
    piece: int = Field(ge=0, le=MAX_BLOB_PIECES, strict=True)
    pieces: int = Field(ge=1, le=MAX_BLOB_PIECES, strict=True)
    data: str = Field(max_length=MAX_BLOB_CHARS)
    """Base64url."""


class Asked(_Body):
    """A task, and the newest update of it that its sender knows (-1 for none)."""

    task: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    seq: int = Field(ge=-1, lt=2**53, strict=True)
    no_files: bool = False
    """Its next update names files of which nothing is here: their pieces were signed for by a journal that is gone."""


class AskBody(_Body):
    """Open tasks of the sender's: the recipient tells again what it knows better of them."""

    tasks: tuple[Asked, ...] = Field(min_length=1, max_length=MAX_ASKED)


PayloadType = Literal["task", "message", "cancel", "update", "advert", "network", "blob", "ask"]
Body = TaskBody | MessageBody | CancelBody | UpdateBody | AdvertBody | NetworkBody | BlobBody | AskBody

BODIES: dict[str, type[Body]] = {
    "task": TaskBody,
    "message": MessageBody,
    "cancel": CancelBody,
    "update": UpdateBody,
    "advert": AdvertBody,
    "network": NetworkBody,
    "blob": BlobBody,
    "ask": AskBody,
}

TASKLESS = ("advert", "network", "ask")
"""The types of payloads without a task."""


class Payload(BaseModel):
    """One message.

    `id` is its name for life, however often it is sealed again; `re` names the one it answers.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, populate_by_name=True)

    v: Version1 = 1
    type: PayloadType
    id: Id
    from_: Peer = Field(alias="from")
    to: Peer
    task: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    """Empty only for what is about no task."""
    re: Id | None = None
    seq: int = Field(default=0, ge=0, lt=2**53)
    """Order among the sender's messages about this task."""
    hop: int = Field(default=0, ge=0, le=MAX_HOP)
    created: Time
    expires: Time
    latest: Time | None = None
    """The latest date under which this task was ever sealed, where that is after `created`: it was written while the
    clock of its sender was ahead, and its recipient remembers it until no copy of that date can be accepted."""
    body: Body

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if type(self.body) is not BODIES[self.type]:
            raise ValueError(f"{self.type} does not come with a {type(self.body).__name__}")
        if not self.task and self.type not in TASKLESS:
            raise ValueError("it names no task")
        return self

    def to_bytes(self) -> bytes:
        """The payload as it is signed and sent.

        Raises:
            UnsendableError: the content is beyond what a peer accepts (nesting, members, length of
            one text).
        """
        data = self.model_dump_json(by_alias=True, exclude_none=True).encode()
        check_limits(data)
        return data

    @classmethod
    def parse_untrusted(cls, data: bytes) -> Payload:
        """The payload that was sent. Signature, freshness and replay are for others to check."""
        fields = read_untrusted(data, MAX_PAYLOAD)
        kind = BODIES.get(str(fields.get("type")))
        body = fields.get("body")
        if fields.get("v") != 1 or kind is None:
            raise RemoteProtocolError("A payload of a version or type that is not known here.")
        if not isinstance(body, dict):
            raise RemoteProtocolError("A payload without a body.")
        # The body first and by its type: a union would try them all, and two of them look alike.
        return validate_untrusted(cls, {**fields, "body": validate_untrusted(kind, body)})
