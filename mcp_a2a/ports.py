"""The seams: what the shell is written against, and who implements each.

| port | implemented by |
|---|---|
| `NodeApi` | `node.Node` (the owner of an identity), its twin over the control socket |
| `Transport`, `Link` | `mcp_a2a_transports.memory`, `.direct`, `.relay.client` |
| `LinkHandler` | `node` |
| `AddressLookup` | `mcp_a2a_transports.local`, `.mdns` |

What concerns relays beyond that is in `relay_ports`.

The flow: a node opens its transports (they listen), then its lookups with an `Announcement` of where it listens. A
lookup reports `Sighting`s; the node dials, and gets a `Link` whose handshake is complete. From then on envelopes
and answers come in through the `LinkHandler`, synchronously and in order, and go out through `Link.submit` and
`Link.answer`, which only queue. Every envelope received gets exactly one answer, when the node is ready to give it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from mcp_a2a.api.request import A, Request
from mcp_a2a.exchange import (
    A2AAnswer,
    A2ACancelRequest,
    A2ACardRequest,
    A2ACardView,
    A2AFollowRequest,
    A2AFollowView,
    A2AGetRequest,
    A2AListRequest,
    A2APushDeleteRequest,
    A2APushGetRequest,
    A2APushSetRequest,
    A2APushView,
    A2ASendRequest,
    A2ATaskPage,
)
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.heartbeat import PROBE_SECONDS
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.link import Answer
from mcp_a2a.protocol.link_places import Standing
from mcp_a2a.protocol.model import StreamResponse, TaskPushNotificationConfig
from mcp_a2a.protocol.paths import TransportAddr
from mcp_a2a.views import (
    AddPeerRequest,
    AgentDetail,
    AgentView,
    AnswerRequest,
    CancelRequest,
    CheckInboxRequest,
    ConsentRequest,
    ConsentView,
    DiscoverRequest,
    DiscoverView,
    FilesRequest,
    FilesView,
    ForgetRequest,
    ForgetView,
    GetAgentRequest,
    GetTaskRequest,
    InboxView,
    InviteRequest,
    InviteView,
    JoinRequest,
    JoinView,
    LeaveRequest,
    ListTasksRequest,
    NetcheckRequest,
    NetcheckView,
    NetworksRequest,
    NetworksView,
    NetworkView,
    NewsRequest,
    NewsView,
    PeersRequest,
    PeersView,
    PingRequest,
    PingView,
    RenameRequest,
    RenameView,
    ReplyRequest,
    RotateRequest,
    RotateView,
    SavedFilesView,
    SaveFilesRequest,
    SendTaskBySkillRequest,
    SendTaskRequest,
    SetTrustRequest,
    SetTrustView,
    TaskPage,
    TaskView,
)


class NodeApi(Protocol):
    """What can be asked of a running node. Every method raises only `McpA2AError`.

    A wait that ends is not an error: the view says that the task goes on and what to call next.
    """

    async def call(self, request: Request[A], /) -> A:
        """Answer a question. Each further method answers the questions of one class, and is named by its operation.

        Args:
            request: one of `api.operations.OPERATIONS`.

        Returns:
            The answer that the class of the question names.
        """
        ...

    async def discover(self, request: DiscoverRequest) -> DiscoverView:
        """Agents that can be sent tasks, best match first."""
        ...

    async def get_agent(self, request: GetAgentRequest) -> AgentDetail:
        """One agent; `self` is this node."""
        ...

    async def rename(self, request: RenameRequest) -> RenameView:
        """Go by the name that a person has kept for this identity, and tell everybody.

        Only ever called for a person, by the command line.
        """
        ...

    async def peers(self, request: PeersRequest) -> PeersView:
        """Everybody known by key, and the contact requests that wait for a person."""
        ...

    async def add_peer(self, request: AddPeerRequest) -> AgentView:
        """Dial an address and remember it.

        Raises:
            NoRouteError: nobody answers there.
        """
        ...

    async def news(self, request: NewsRequest) -> NewsView:
        """What happens at this node, waiting for it. Only ever asked for its owner."""
        ...

    async def set_trust(self, request: SetTrustRequest) -> SetTrustView:
        """Trust (which releases held tasks), block (which drops them) or forget an agent.

        Only ever called for a person: by the command line, or after an elicitation was accepted.
        """
        ...

    async def consent(self, request: ConsentRequest) -> ConsentView:
        """What may be sent to an agent unasked; records what a person answered.

        Raises:
            PeerNotFoundError: no such agent; a name is none.
        """
        ...

    async def send_task(self, request: SendTaskRequest) -> TaskView:
        """Journal a task, deliver it, and wait for its answer up to `wait_seconds`.

        Raises:
            ConsentNeededError, ConsentDeclinedError: a person has to allow it first, or has not; nothing was sent.
        """
        ...

    async def send_task_by_skill(self, request: SendTaskBySkillRequest) -> TaskView:
        """The same for the best agent with the skill; the next one is tried while nobody has accepted."""
        ...

    async def get_task(self, request: GetTaskRequest) -> TaskView:
        """Where a task stands; waits up to `wait_seconds` for it to finish or to ask something."""
        ...

    async def reply_to_task(self, request: ReplyRequest) -> TaskView:
        """Answer an agent that asked something."""
        ...

    async def cancel_task(self, request: CancelRequest) -> TaskView:
        """Withdraw a task we sent."""
        ...

    async def forget(self, request: ForgetRequest) -> ForgetView:
        """Remove what finished tasks said and brought."""
        ...

    async def list_tasks(self, request: ListTasksRequest) -> TaskPage:
        """Tasks sent and received."""
        ...

    async def check_inbox(self, request: CheckInboxRequest) -> InboxView:
        """Lease waiting tasks (15 min, renewed by `answer_task` with `working`)."""
        ...

    async def answer_task(self, request: AnswerRequest) -> TaskView:
        """Report progress, a result, a failure or a question for a leased task.

        Raises:
            LeaseLostError: the task was offered to somebody else since.
        """
        ...

    async def open_files(self, request: FilesRequest) -> FilesView:
        """How to read the files of a task, for programs of this person and its A2A server.

        Raises:
            TaskNotFoundError
        """
        ...

    async def save_files(self, request: SaveFilesRequest) -> SavedFilesView:
        """Write the files that came with a task under new names; nothing is overwritten.

        Raises:
            TaskNotFoundError
            FileError: there are none, or they cannot be written.
        """
        ...

    async def invite(self, request: InviteRequest) -> InviteView:
        """A ticket to a network, which is made when there is none of that name.

        Raises:
            RelayError, NetworkError
        """
        ...

    async def join(self, request: JoinRequest) -> JoinView:
        """Become a member by a ticket.

        Raises:
            TicketError, RelayError, NetworkError
        """
        ...

    async def networks(self, request: NetworksRequest) -> NetworksView:
        """The networks we are members of, and how it stands with their relays."""
        ...

    async def leave(self, request: LeaveRequest) -> NetworkView:
        """Stop being a member: withdraw our entry, forget the secret and whom we only knew by it.

        Raises:
            NetworkNotFoundError
        """
        ...

    async def rotate(self, request: RotateRequest) -> RotateView:
        """A new secret for a network that we made, handed sealed to the members that stay.

        Raises:
            NetworkNotFoundError, NetworkError, PeerNotFoundError
        """
        ...

    async def ping(self, request: PingRequest) -> PingView:
        """One sealed message there and its signed receipt back.

        Raises:
            PeerNotFoundError, AmbiguousNameError
        """
        ...

    async def netcheck(self, request: NetcheckRequest) -> NetcheckView:
        """What of the network works from here, tried out now."""
        ...

    async def a2a_send(self, request: A2ASendRequest) -> A2AAnswer:
        """A message to `self`, or to an agent behind this node; durable before this returns.

        Raises:
            TaskNotFoundError: it names a task that is not the caller's at that agent.
            NotAwaitingReplyError: that task has ended.
            ContextMismatchError: its context is not that of its task.
            ConversationFullError: there is no room in that task for what it says.
            PeerNotFoundError, AmbiguousNameError, TooLargeError, UnsendableError
        """
        ...

    async def a2a_get(self, request: A2AGetRequest) -> A2AAnswer:
        """A task of the caller.

        Raises:
            TaskNotFoundError
        """
        ...

    async def a2a_list(self, request: A2AListRequest) -> A2ATaskPage:
        """Tasks of the caller at that agent.

        Raises:
            ConfigurationError: the page token is not one of ours.
        """
        ...

    async def a2a_cancel(self, request: A2ACancelRequest) -> A2AAnswer:
        """Withdraw a task of the caller.

        Raises:
            TaskNotFoundError
            TransitionError: it has ended.
        """
        ...

    async def a2a_follow(self, request: A2AFollowRequest) -> A2AFollowView:
        """What happens to a task of the caller, from where the caller knows it.

        Raises:
            TaskNotFoundError
        """
        ...

    async def a2a_card(self, request: A2ACardRequest) -> A2ACardView:
        """Sign the card of our own agent, which may say where and how it is served, and nothing else than ours does.

        Raises:
            CardError: it is not the card of this agent.
        """
        ...

    async def a2a_push_set(self, request: A2APushSetRequest) -> A2APushView:
        """Keep a push configuration.

        Raises:
            TaskNotFoundError, PushUrlError
        """
        ...

    async def a2a_push_get(self, request: A2APushGetRequest) -> A2APushView:
        """The configuration with that id, or all of the task.

        Raises:
            TaskNotFoundError: no such task, or no such configuration of it.
        """
        ...

    async def a2a_push_delete(self, request: A2APushDeleteRequest) -> A2APushView:
        """Forget a configuration; one that is not there counts as forgotten.

        Raises:
            TaskNotFoundError
        """
        ...


@dataclass(frozen=True)
class Credentials:
    """What a transport needs to prove who we are, and the world it may not touch by itself."""

    identity: Identity
    bundle: Callable[[], KeyBundle]
    """Our current key bundle."""
    clock: Callable[[], float]
    """Wall clock, seconds since the epoch."""
    randomness: Callable[[int], bytes]


class Link(Protocol):
    """An open, authenticated connection to one peer. Methods only queue; nothing here blocks."""

    @property
    def peer(self) -> PeerId:
        """Who is at the other end, proven by the handshake."""
        ...

    @property
    def bundle(self) -> KeyBundle:
        """The peer's newest key bundle, verified against `peer`."""
        ...

    @property
    def address(self) -> str:
        """The remote address, for people."""
        ...

    @property
    def route(self) -> str:
        """How it was reached: "local", "lan", "direct" or "relay"."""
        ...

    @property
    def rtt_seconds(self) -> float | None:
        """Newest heartbeat round trip; None before the first."""
        ...

    @property
    def is_relayed(self) -> bool:
        """Whether a relay is in between. Then `address` is its URL and the peer need not be there.

        An envelope may then be answered with `Stored`, and by its recipient days later, on another link through the
        same relay.
        """
        ...

    def submit(self, envelope: bytes) -> None:
        """Queue an envelope; its answer comes to `LinkHandler.answer_received`.

        Raises:
            LinkError: the link is closed.
        """
        ...

    def check(self, envelope_ids: Sequence[bytes]) -> None:
        """Ask the relay about envelopes that it stored; each is answered as if it were submitted now.

        One that it no longer has is answered with `Refused`, code "unknown". Without a relay nothing happens.

        Raises:
            LinkError: the link is closed.
        """
        ...

    def answer(self, answer: Answer) -> None:
        """Queue an answer to an envelope that came in. Ignored on a closed link: the peer will send it again."""
        ...

    def probe(self, seconds: float = PROBE_SECONDS) -> None:
        """Somebody waits: close a link whose other end (a relay, where one carries it) is silent for so long."""
        return

    def close(self, reason: str) -> None:
        """Say goodbye and close. `LinkHandler.link_closed` follows."""
        ...


class LinkHandler(Protocol):
    """The node's side of every link. Called on the event loop, in the order of the wire; must not block."""

    def link_opened(self, link: Link) -> None:
        """A peer dialled us, or we dialled it, and the handshake is complete."""
        ...

    def envelope_received(self, link: Link, envelope: bytes) -> None:
        """A sealed envelope, unopened. Must end, now or later, in one `link.answer`.

        What a relay brings comes on a link that was never opened and only takes answers: its `peer` is the relay.
        """
        ...

    def answer_received(self, link: Link, answer: Answer) -> None:
        """The peer's answer to something we submitted on this link.

        Through a relay it may come days later, and be about something from before a restart. If no open link has
        submitted it, then `link` is the one that the relay's mail comes on (`envelope_received`).
        """
        ...

    def standing(self, peer: PeerId) -> Standing:
        """Who a peer is to us: it decides who gets a place where there are more peers than places."""
        return Standing.MEMBER

    def link_closed(self, link: Link, reason: str, *, goodbye: bool) -> None:
        """The link is gone. `goodbye`: the peer said it leaves, so it is offline and not merely cut off."""
        ...


class Transport(Protocol):
    """A way to reach peers: it dials and it listens."""

    def open(
        self, credentials: Credentials, handler: LinkHandler
    ) -> AbstractAsyncContextManager[tuple[TransportAddr, ...]]:
        """Listen until the context ends; yields the addresses. Every link lives and dies inside this context.

        Raises:
            PortInUseError: a fixed port was asked for and is taken.
        """
        ...

    def reaches(self, address: TransportAddr) -> bool:
        """Whether this transport can dial that kind of address."""
        ...

    async def dial(self, peer: PeerId | None, address: TransportAddr, route: str) -> Link:
        """Open a link and complete the handshake; `handler.link_opened` has been called when this returns.

        With `peer` None whoever answers is accepted (an address typed by a person).

        Raises:
            LinkError: refused, timed out, not the expected peer, or not speaking the protocol. The message says which.
        """
        ...


@dataclass(frozen=True)
class Announcement:
    """What a lookup may tell the world about us: key and port, nothing else."""

    peer: PeerId
    port: int


@dataclass(frozen=True)
class Sighting:
    """Where a peer may be reached, as one lookup saw it. A hint: the handshake decides who is there."""

    peer: PeerId
    addresses: tuple[TransportAddr, ...]
    provenance: str
    """Name of the lookup."""


class LookupHandler(Protocol):
    """The node's side of a lookup. Called on the event loop; must not block."""

    def sighted(self, sighting: Sighting) -> None:
        """A peer was seen, or seen at other addresses than before."""
        ...

    def lost(self, peer: PeerId, provenance: str) -> None:
        """That lookup no longer sees the peer."""
        ...


class Hooks(Protocol):
    """Posts to URLs that A2A clients named."""

    def tells_whole_tasks(self, config: TaskPushNotificationConfig) -> bool:
        """Whether each event has to be the task as it is."""
        ...

    def check(self, url: str) -> None:
        """Refuse a URL that must not be called, as far as it can be told by how it is written.

        Raises:
            AddressNotAllowedError
        """
        ...

    async def post(self, config: TaskPushNotificationConfig, event: StreamResponse) -> None:
        """Post an event (A2A 4.3.3), in the words of its configuration.

        Raises:
            AddressNotAllowedError: it leads to somewhere that it must not reach.
            WebError: it was not taken; whether trying again makes sense is in `retryable`.
        """
        ...


class AddressLookup(Protocol):
    """A source of sightings, and a place to be seen at."""

    @property
    def name(self) -> str:
        """Provenance of its sightings, for example "mdns"."""
        ...

    @property
    def detail(self) -> str:
        """How it looks at the moment, for people: "IPv4 and IPv6", for example; empty if that is always the same."""
        return ""

    @property
    def is_deaf(self) -> bool:
        """Whether it sees nobody at the moment, for a reason that may pass."""
        return False

    def open(self, announcement: Announcement, handler: LookupHandler) -> AbstractAsyncContextManager[None]:
        """Announce and watch until the context ends, which withdraws the announcement.

        Raises:
            OSError: this machine does not allow it (no multicast, say). The node goes on without it and shows why.
        """
        ...

    def look_now(self) -> None:
        """See at once what would be seen soon, because a caller asks. Nothing to do where the system tells of news."""
        return
