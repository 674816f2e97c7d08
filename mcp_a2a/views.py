"""What a node answers when it is asked: one model per question and per answer.

The MCP tools, the command line and the control socket all speak these, so an operation has one shape everywhere:
`--json` on the command line prints what the MCP tool returns as structured content.

A type says whose words a string is (`protocol.untrusted`): a fact of ours, a name, who an agent is, or a peer's words,
which are no instructions to anybody. `server.outgoing` cleans all of them and fences a peer's on their way to a model.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mcp_a2a.protocol.model import AgentCard, ArtifactChunk, Delivery, Message, Part
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.untrusted import WHOLE, Asked, Fact, Name, PeerText, Token, Who


class View(BaseModel):
    """Base of every question and answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Trust = Literal["self", "own", "trusted", "member", "stranger", "blocked"]
"""Who the agent is to us: this node, another identity of this data folder, paired, in a network with us, unknown,
blocked."""

Consent = Literal["ask", "waived", "typed"]
"""Who answers for what is sent. "ask": no person has yet, so one is asked before anything leaves for a stranger, or a
file for an agent that is not the user's own. "waived": this process was started to send without asking, or is a worker
of the owner. "typed": a person typed it at a terminal."""

# --- agents --------------------------------------------------------------------------------------


class DiscoverRequest(View):
    """Which agents are wanted. `settle_seconds` bounds the wait for first answers right after a start."""

    query: str | None = None
    skill: str | None = None
    limit: int = Field(default=20, ge=1, le=200)
    settle_seconds: float = Field(default=2.0, ge=0, le=45)


class SkillView(View):
    """A skill as its agent describes it."""

    id: PeerText
    name: PeerText
    description: PeerText
    tags: tuple[PeerText, ...] = ()
    examples: tuple[PeerText, ...] = ()
    input_schema: Annotated[dict[str, JsonValue], WHOLE] | None = None


class AgentView(View):
    """One agent in a list."""

    name: Name
    did: Who
    words: Fact = ""
    """Fingerprint words, to compare with what the owner sees; none of an agent at a URL that shows no key."""
    description: PeerText = ""
    skills: Annotated[tuple[SkillView, ...], WHOLE] = ()
    route: Fact | None = None
    """How it is reached: "local", "lan", "direct", "relay"; None while it is not."""
    rtt_ms: float | None = None
    online: bool = False
    last_seen: Fact | None = None
    trust: Trust = "stranger"
    networks: tuple[Name, ...] = ()
    """Names of the networks that we share with it."""
    waiting: int = 0
    """Messages of ours that it has not taken yet."""
    look_alike: bool = False
    """Whether another agent that we know has a name that looks the same: compare words or dids."""
    alias: Fact | None = None
    """What the user calls it: then it is the `name` too. Their own word, which wins over every name."""
    claimed: Name | None = None
    """What it calls itself, where it has an alias."""
    urls: tuple[Who, ...] = ()
    """Further ways to the same agent: URLs whose card its key has signed. Used only when the URL is named."""


class DiscoverView(View):
    """The agents found; when there is none, `reason` says why and what to do. It also says whose clock is off."""

    agents: tuple[AgentView, ...]
    total: int
    reason: Fact | None = None
    on_offer: Annotated[tuple[str, ...], WHOLE] | None = None
    """Ids of skills that agents here have, where none matches."""


class GetAgentRequest(View):
    """An agent by name, PeerId (did:key) or `self`. A URL that was never met is read only by consent."""

    agent: str
    consent: Consent = "ask"


class AgentDetail(View):
    """Everything known about one agent."""

    agent: AgentView
    card: Annotated[AgentCard, WHOLE]
    addresses: Annotated[tuple[str, ...], WHOLE] = ()
    node: StatusView | None = None
    """Only for `self`."""


class RenameRequest(View):
    """No arguments: the name that is kept for this identity has changed."""


class RenameView(View):
    """What this node is called now."""

    name: Name
    kept: Name | None = None
    given: Name | None = None
    """The name that its process was started with, which counts as long as it runs."""


class StatusView(View):
    """How this node is."""

    version: Fact
    identity: Fact
    name: Name
    did: Who
    words: Fact
    home: Fact
    pid: int
    uptime_seconds: float
    listening: tuple[Fact, ...]
    lookups: dict[Fact, Fact]
    """Each source of agents, and "on" or why it is not."""
    clocks: tuple[Fact, ...] = ()
    """Whose clock is off and by how much, in sentences; empty while all agree."""
    networks: tuple[NetworkView, ...] = ()
    agents_online: int
    outbox: int
    inbox: int
    held: int
    kept: int = 0
    """Finished answers that wait for room on the disk; they are stored as soon as there is some."""
    runs_twice: Fact | None = None
    """When a peer last said that the key of this identity runs on another machine as well."""
    damage: tuple[Fact, ...] = ()
    """What of the database was found damaged, in sentences, until a person ran `mcp-a2a repair`."""
    accept: Fact


class SetTrustRequest(View):
    """Trust, block or forget an agent, named by name or PeerId."""

    agent: str
    level: Literal["trusted", "blocked", "stranger"]


class SetTrustView(View):
    """The agent after the change, and how many waiting messages were released or dropped by it."""

    agent: AgentView
    released: int = 0
    dropped: int = 0


class ConsentRequest(View):
    """What a person allowed to be sent to an agent; with `answer`, what they answered just now.

    Only ever answered for a person: by `mcp-a2a allow`, or after an elicitation.
    """

    agent: str
    """Its did, the beginning of it, its URL or the handle of that. Never a name, which the agent chooses."""
    answer: Literal["allowed", "declined", "forgotten"] | None = None
    files: bool = False
    """The answer is about files too."""
    meet: bool = False
    """A URL that was never met may be read: a person typed it."""


class ConsentView(View):
    """An agent, and what may be sent to it unasked."""

    agent: AgentView
    key: Who
    """What names it to `mcp-a2a allow`."""
    text: bool
    files: bool


class ContactView(View):
    """A stranger who sent something that is held until you decide."""

    name: Name
    did: Who
    words: Fact
    messages: int
    preview: PeerText
    """At most 64 cleaned characters. For a person, never for a model."""
    since: Fact


class PeersRequest(View):
    """No arguments: everybody known, and the strangers who wait."""


class PeersView(View):
    """Everybody known by key, online or not, and the contact requests."""

    peers: tuple[AgentView, ...]
    contacts: tuple[ContactView, ...]
    aliases: dict[Fact, Who] = Field(default_factory=dict)
    """What the user calls whom: by did, or by the URL of an agent without one."""


class AddPeerRequest(View):
    """An address to try: HOST:PORT of a node's listener, or the URL of an A2A agent.

    Only ever a person's: a URL may lead into a private network.
    """

    address: str
    headers: dict[str, str] | None = Field(default=None, repr=False)
    """Credentials for an agent at a URL, for its origin only. None leaves those that it has."""


# --- networks ------------------------------------------------------------------------------------


class RelayView(View):
    """A relay of a network."""

    url: PeerText
    connected: bool
    detail: PeerText
    """"on", or why not."""
    rtt_ms: float | None = None


class NetworkView(View):
    """A network that we are a member of."""

    name: Name
    id: Fact
    """The key by which a relay knows it (`relay admit`)."""
    owner: Who
    """did of who made it; only that agent can rotate it."""
    mine: bool
    relays: tuple[RelayView, ...] = ()
    members: int = 0
    """Other members that we know of."""
    online: int = 0
    joined: Fact


class InviteRequest(View):
    """A ticket for `network`. `relays` are added to those that the network has."""

    network: str = Field(min_length=1, max_length=64)
    relays: tuple[str, ...] = ()
    uses: int | None = Field(default=None, ge=1, le=1000)
    """How many agents may join with it; without, any number until the network is rotated."""
    expires_seconds: float | None = Field(default=None, gt=0, le=30 * 86_400)


class InviteView(View):
    """The ticket: whoever has it can join."""

    ticket: Fact
    network: NetworkView
    uses: int | None = None
    expires: Fact | None = None
    warnings: tuple[PeerText, ...] = ()


class JoinRequest(View):
    """A ticket, and how long to wait for the first view of the members."""

    ticket: str
    wait_seconds: float = Field(default=10, ge=0, le=120)
    allow_private: bool = False
    """A person knows what is at an address of this machine that the ticket names."""


class JoinView(View):
    """The network, and how many agents of others can be seen in it already."""

    network: NetworkView
    agents_visible: int
    """Without those of this data folder, which are in it too."""
    invited_by: AgentRef | None = None
    """The agent that made the ticket, if it is another one."""
    already_member: bool = False
    warnings: tuple[PeerText, ...] = ()


class NetworksRequest(View):
    """No arguments."""


class NetworksView(View):
    """Every network that we are a member of."""

    networks: tuple[NetworkView, ...]


class LeaveRequest(View):
    """A network to leave."""

    network: str


class RotateRequest(View):
    """A network of ours that gets a new secret, without these members (names or dids)."""

    network: str
    without: tuple[str, ...] = ()
    check_only: bool = False
    """Only say who stays, or why it cannot be done; nothing is changed."""


class RotateView(View):
    """The network as it is now, and to how many members, and which, the new secret is on its way."""

    network: NetworkView
    told: int
    stay: tuple[AgentRef, ...] = ()
    left_out: tuple[AgentRef, ...] = ()
    warnings: tuple[PeerText, ...] = ()


class PingRequest(View):
    """An agent to be pinged once."""

    agent: str
    timeout_seconds: float = Field(default=5, gt=0, le=60)


class PingView(View):
    """What came back: `ms` is missing when nothing did, and `detail` says why."""

    agent: AgentRef
    route: Fact | None = None
    address: PeerText | None = None
    ms: float | None = None
    detail: PeerText | None = None
    tried: tuple[PeerText, ...] = ()


class NetcheckRequest(View):
    """No arguments."""


class CheckView(View):
    """One thing that was tried out."""

    name: PeerText
    ok: bool
    absent: bool = False
    """There is nothing to try out: no relay is known, or discovery on the LAN is switched off."""
    detail: PeerText
    ms: float | None = None


class NetcheckView(View):
    """Everything that was tried out, nearest first."""

    checks: tuple[CheckView, ...]


# --- tasks ---------------------------------------------------------------------------------------


class FileArg(View):
    """A file on this machine, to be attached. The path is absolute."""

    path: str = Field(min_length=1, max_length=4096)
    name: str | None = Field(default=None, max_length=1024)
    media_type: str | None = Field(default=None, max_length=256)


class Attachments(View):
    """What a message may have with it."""

    files: tuple[FileArg, ...] = Field(default=(), max_length=32)
    roots: tuple[str, ...] | None = None
    """Folders that they must be in. None: the user's own program names the paths."""
    consent: Consent = "ask"


MAX_HOP = 4
"""As `protocol.payload` has it, which whoever only asks a node need not import."""

CLIENT = "client"
"""Who holds the tasks that the clients of this identity take from the inbox."""


class PassedOn(Attachments):
    """Work for others, which may be part of a task that is worked on here: a chain of agents must end."""

    hop: int = Field(default=0, ge=0, le=MAX_HOP)
    """How often the work was passed on before: the `hop` of the inbox item that it is sent for."""
    holder: str | None = None
    """Who sends it, where it may be for any of the tasks that this holder has leased: then the highest `hop` counts."""


class SendTaskRequest(PassedOn):
    """Work for one agent."""

    agent: str
    message: str
    parts: tuple[Part, ...] = ()
    """Further parts (data) that travel behind the text."""
    skill: str | None = Field(default=None, min_length=1, max_length=128)
    wait_seconds: float = Field(default=20, ge=0, le=86_400)
    context_id: str | None = Field(default=None, max_length=256)
    idempotency_key: str | None = Field(default=None, max_length=256)
    queue: bool = True
    """False: fail at once with every attempt when the agent cannot be reached, and keep nothing."""


class SendTaskBySkillRequest(PassedOn):
    """Work for whoever has the skill."""

    skill: str = Field(min_length=1, max_length=128)
    message: str
    parts: tuple[Part, ...] = ()
    wait_seconds: float = Field(default=20, ge=0, le=86_400)
    context_id: str | None = Field(default=None, max_length=256)
    idempotency_key: str | None = Field(default=None, max_length=256)
    queue: bool = True


class GetTaskRequest(View):
    """A task by id (or unique prefix). `text_offset` pages through a long text, in characters."""

    task_id: str
    wait_seconds: float = Field(default=0, ge=0, le=86_400)
    even_stuck: bool = False
    """Do not wait on when a person must decide first, or it is not taken for a while."""
    text_offset: int = Field(default=0, ge=0)
    text_limit: int | None = Field(default=None, ge=1)


class ReplyRequest(PassedOn):
    """A further message in a task that we sent: answers INPUT_REQUIRED, or continues its context."""

    task_id: str
    message: str
    wait_seconds: float = Field(default=20, ge=0, le=86_400)
    idempotency_key: str | None = Field(default=None, max_length=256)


class CancelRequest(View):
    """A task that we sent and no longer want."""

    task_id: str


class ForgetRequest(View):
    """Finished tasks to be forgotten: those named, or some of those that ended so long ago (`after` goes on).

    `count_only` says what would go. Only ever asked for a person.
    """

    task_ids: tuple[str, ...] = ()
    older_than_seconds: float | None = Field(default=None, ge=0)
    after: str | None = None
    count_only: bool = False


class KeptTask(View):
    """A task that could not be forgotten, and why."""

    task_id: Token
    reason: Fact


class ForgetView(View):
    """What was forgotten. With `after` there is more."""

    tasks: tuple[Token, ...]
    kept: tuple[KeptTask, ...] = ()
    files: int
    freed_bytes: int
    """On the disk, and in the database, which uses the space again."""
    after: Token | None = None


class ListTasksRequest(View):
    """Tasks, newest change first; `cursor` continues a list."""

    state: Moment | None = None
    direction: Literal["sent", "received"] | None = None
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = None


class AgentRef(View):
    """Who a task is with."""

    name: Name
    did: Who
    """A did:key; or the URL of an agent that speaks A2A over HTTP, or `caller:NAME` for a client of our A2A server."""


class ArtifactView(View):
    """A result: the parts as they came, text cleaned."""

    artifact_id: PeerText
    name: PeerText | None = None
    parts: Annotated[tuple[Part, ...], WHOLE] = ()


class FileView(View):
    """A file that came with a task. What is said about it was checked when it is here."""

    file_id: Fact
    name: PeerText
    """As whoever sent it calls it, made harmless."""
    media_type: PeerText | None = None
    size: int | None = None
    """None for a file that is somewhere on the web; its URL is with the parts."""
    sha256: Fact | None = None
    here: bool = True

    @property
    def can_be_saved(self) -> bool:
        """Whether `save_files` writes it: it is no URL, and it is here."""
        return self.size is not None and self.here


class FileGrant(FileView):
    """How to read it, for programs of this person: `raw` content, or a sealed file with its key."""

    raw: PeerText | None = None
    path: Fact | None = None
    key: Fact | None = None

    def shown(self) -> FileView:
        """The file without the way to read it."""
        return FileView.model_validate(self.model_dump(exclude={"raw", "path", "key"}))


class TransferView(View):
    """Files on their way, in bytes."""

    direction: Literal["sending", "receiving"]
    file: PeerText | None = None
    """The one that is moving, where its name is known already."""
    done: int
    total: int


class TaskView(View):
    """Where a task stands.

    `text` is what the other side wrote: the result of a task we sent, the request of one we got.
    """

    task_id: Fact
    direction: Literal["sent", "received"]
    state: Moment
    done: bool
    delivery: Delivery
    route: Fact | None = None
    agent: AgentRef
    skill: PeerText | None = None
    context_id: Token | None = None
    request: Asked = ""
    """What was asked, in one line: the beginning of the text, else the names of the files, else the data."""
    answer: PeerText | None = None
    """What came of it so far, in one line: the beginning of the result, of the question or of the reason."""
    reply: Asked | None = None
    """What its sender wrote last, where that is not the request; in one line."""
    asked_here: bool = False
    """Whether `request` and `reply` are words of the owner of this node, and of nobody else."""
    text: PeerText | None = None
    text_total: int | None = None
    """Length of the whole text in characters."""
    text_next: int | None = None
    """`text_offset` of the next page; None at the end."""
    artifacts: Annotated[tuple[ArtifactView, ...], WHOLE] = ()
    files: tuple[FileView, ...] = ()
    """What the other side sent."""
    transfer: TransferView | None = None
    question: PeerText | None = None
    progress: PeerText | None = None
    error: ErrorDetail | None = None
    attempts: int = 0
    tried: Annotated[tuple[str, ...], WHOLE] = ()
    """Routes tried and failed so far, each with its reason."""
    put_off: PeerText | None = None
    """Why it is not taken now; it is kept here, and tried again."""
    chosen: PeerText | None = None
    """For a task sent by skill: which agent took it and why."""
    created: Fact
    updated: Fact
    next: Fact
    """What to do now."""


class TaskPage(View):
    """A page of tasks."""

    tasks: tuple[TaskView, ...]
    next_cursor: Fact | None = None
    damage: tuple[Fact, ...] = ()
    """What of the database was found damaged, as in `StatusView`: tasks may be missing here."""


class FilesRequest(View):
    """The files of a task, both ways. `caller` sees its own tasks only; None is whoever runs this node."""

    task_id: str
    caller: str | None = None


class FilesView(View):
    """How to read them."""

    files: tuple[FileGrant, ...]


class SaveFilesRequest(View):
    """Write the files that the other side sent into a folder; without one, into that for downloads."""

    task_id: str
    folder: str | None = None


class SavedFile(View):
    """A file that was written."""

    name: PeerText
    path: PeerText
    size: int
    media_type: PeerText | None = None
    sha256: Fact


class SavedFilesView(View):
    """The files that were written, and where."""

    task_id: Fact
    folder: Fact
    files: tuple[SavedFile, ...]
    next: Fact


# --- news ----------------------------------------------------------------------------------------


EventKind = Literal[
    "task_received",
    "question_asked",
    "task_answered",
    "question_received",
    "answer_received",
    "contact_request",
    "agent_trusted",
    "agent_blocked",
    "message_refused",
    "member_joined",
    "client_connected",
    "client_gone",
    "request_refused",
]
"""What may happen. The last three happen at an HTTP server, and no node tells of them."""


class EventView(View):
    """Something that happened, without the content of any message."""

    kind: EventKind
    at: Fact
    agent: AgentRef | None = None
    task_id: Fact | None = None
    skill: PeerText | None = None
    state: Moment | None = None
    """For a task: where it stood then."""
    network: Name | None = None
    client: PeerText | None = None
    """A client of an HTTP server, as it calls itself; or the address of one that was refused."""
    detail: Fact | None = None


class NewsRequest(View):
    """Events after number `after` of the run `run`; without these, only the number of the last one. For the owner."""

    after: int | None = None
    run: str | None = None
    wait_seconds: float = Field(default=0, ge=0, le=3_600)


class NewsView(View):
    """Events, oldest first, and the number to go on from. A node that was started anew is another run."""

    run: Fact
    number: int
    events: tuple[EventView, ...] = ()
    missed: int = 0
    """Events that are no longer kept."""


# --- inbox ---------------------------------------------------------------------------------------


class CheckInboxRequest(View):
    """Lease waiting work. `holder` names who will answer; a "worker" holder's leases end with its process.

    With `limit` 0 nothing is leased: the call waits for cancellations of what the holder has.
    """

    wait_seconds: float = Field(default=0, ge=0, le=86_400)
    limit: int = Field(default=5, ge=0, le=100)
    holder: str = CLIENT
    worker: bool = False


class InboxItem(View):
    """One leased task: answer it before the lease ends, or it is offered again."""

    task_id: Fact
    agent: AgentRef
    trust: Trust
    skill: PeerText | None
    context_id: Token | None
    text: PeerText
    """The request and any further messages, cleaned."""
    messages: Annotated[tuple[Message, ...], WHOLE]
    """The same as it came, for a worker; never for a model."""
    files: tuple[FileGrant, ...] = ()
    """Those of its parts that are files; likewise."""
    attempt: int
    hop: int
    lease_until: Fact
    received: Fact


class InboxView(View):
    """Leased work, and how many messages of strangers wait for a person's decision."""

    items: tuple[InboxItem, ...]
    canceled: tuple[Fact, ...] = ()
    """Tasks leased to this holder that their sender no longer wants: stop working on them."""
    waiting: int
    """Further tasks that were not leased by this call."""
    held: int
    next: Fact


class AnswerRequest(Attachments):
    """An answer to a task from the inbox; `working` reports progress and renews the lease.

    `crashed` is no answer: this attempt came to nothing, and the task is offered again.
    """

    task_id: str
    status: Literal["working", "completed", "failed", "input_required", "auth_required", "rejected", "crashed"]
    text: str | None = None
    parts: tuple[Part, ...] = ()
    chunks: tuple[ArtifactChunk, ...] = ()
    """What the artifacts have grown by since the last answer; they travel at once, in order."""
    streamed: int | None = None
    """How many chunks of this attempt were answered before these: what is repeated counts once."""
    direct: bool = False
    """The text and parts are a message, and no task is meant by it (A2A 3.1.1)."""
    holder: str = CLIENT
    attempt: int | None = None
    """The attempt being answered, where the holder knows it: an answer to an older attempt is refused."""


# --- relay: what its operator is told -------------------------------------------------------------


class RelayStatusView(View):
    """A relay as it is now, or as it was left. No names: it knows none."""

    running: bool
    url: Fact | None = None
    relay: Fact
    """Its did, which its URL pins."""
    closed: bool
    version: Fact
    folder: Fact
    uptime_seconds: float | None = None
    connections: int = 0
    agents_online: int = 0
    keys: int = 0
    """Keys that have a mailbox."""
    mailboxes: int = 0
    """Those with something in it."""
    messages: int = 0
    message_bytes: int = 0
    listings: int = 0
    networks: int = 0
    invitations: int = 0
    admitted: int = 0
    revoked: int = 0
    delivered: int = 0
    """Messages that their recipient has answered; like the next two, since the start."""
    stored: int = 0
    refused: int = 0
    warnings: tuple[Fact, ...] = ()


class RelayMemberView(View):
    """A key on the list of a relay: an agent's, or the id of a network."""

    member: Fact
    state: Literal["admitted", "revoked"]
    kind: Literal["agent", "network", "unknown"]
    online: int = 0
    """Its connections now."""
    note: Fact = ""
    since: Fact


class RelayUrlView(View):
    """Where a relay is reached."""

    url: Fact
    """With the key that pins it, and with a new admission secret where one was asked for."""
    closed: bool
    admits: bool
    """Whether the URL holds the admission secret: it is shown only now."""


class RelayMembersView(View):
    """The list of a relay. An open relay serves everybody who is not revoked."""

    closed: bool
    running: bool
    members: tuple[RelayMemberView, ...]
