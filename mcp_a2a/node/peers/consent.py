"""Which texts and files may leave for which agent unasked: the node's one rule, for every surface.

| agent | text | files |
|---|---|---|
| own (same data folder) | goes | go |
| trusted, member, added by address or URL | goes | ask once |
| all others | ask once | ask once |

An answer is a person's and is bound to a did, or to the URL of an agent that has none. A yes holds until it is taken
back, a no for a day. A text that a person typed at a terminal needs no question, nor does one of a process that was
told not to ask. An agent that is allowed here is still a stranger to the inbox.
Record: docs/decisions/0027-nothing-leaves-unasked.md.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Literal

from mcp_a2a.api.files import Attachments
from mcp_a2a.api.view import Consent
from mcp_a2a.errors.agents import ConsentDeclinedError, ConsentNeededError, PeerNotFoundError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.files.attaching import Attaching
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import WebPeer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.naming import key_beginning, kind_of_agent
from mcp_a2a.protocol.web_url import agent_url, is_shortened, shown_url
from mcp_a2a.store.consents import Subject, find_consent, forget_consents, save_consent

DECLINED_SECONDS = 86_400.0
"""How long a no answers for the person: a model that asks again the next minute must not wear them down."""

MAX_ASKED = 64

Standing = Literal["allowed", "declined", "open"]


def key_of(agent: Peer | WebPeer) -> str:
    """What an answer about this agent is bound to."""
    return agent.url if isinstance(agent, WebPeer) else agent.row.did


def shown_key(agent: str) -> str:
    """What names an agent to a person or a model: its did, or its URL without the words in it."""
    return shown_url(agent) if kind_of_agent(agent) == "url" else agent


class ConsentBook:
    """Knows what a person allowed to be sent to whom."""

    def __init__(
        self, context: Context, trust: TrustBook, directory: Directory, web: WebBook, attaching: Attaching
    ) -> None:
        self._context = context
        self._trust = trust
        self._directory = directory
        self._web = web
        self._attaching = attaching
        self._asked: dict[str, str] = {}
        """URLs that were never met and that a person may be asked about, by how they are shown."""

    # --- may it leave -----------------------------------------------------------------------------

    async def check(
        self, agent: Peer | WebPeer, what: Attachments, parts: Sequence[Part] = (), *, answering: bool = False
    ) -> None:
        """Let what was asked for leave for this agent. With `answering`, it has asked for the text itself.

        Raises:
            ConsentNeededError, ConsentDeclinedError: it may not, and nothing was kept.
            FileError: a file of it may not be attached at all, so there is nothing to ask.
        """
        if what.consent != "ask" or self._is_own(agent):
            return
        files = bool(what.files) or any(part.raw is not None for part in parts)
        text = "allowed" if answering else self.text(agent)
        standings = (text, self.files(agent)) if files else (text,)
        if all(standing == "allowed" for standing in standings):
            return
        key, shown = key_of(agent), shown_key(key_of(agent))
        if "declined" in standings:
            raise ConsentDeclinedError(key, shown)
        facts = await self._attaching.inspect(parts, what) if files else ()
        raise ConsentNeededError(key, shown, stranger=text != "allowed", files=facts)

    def check_url(self, url: str, consent: Consent) -> None:
        """Check that an unknown URL may be read: the request alone gives its owner the text of the URL.

        Raises:
            ConsentNeededError, ConsentDeclinedError, AddressNotAllowedError
        """
        agent = agent_url(url)
        standing = self._answer(agent, "text")
        if consent != "ask" or standing == "allowed":
            return
        if standing == "declined":
            raise ConsentDeclinedError(agent, shown_url(agent))
        while len(self._asked) >= MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        self._asked[shown_url(agent)] = agent
        raise ConsentNeededError(agent, shown_url(agent), stranger=True)

    def url_allowed(self, agent: str) -> bool:
        """True if a URL that was never met may be read and sent to."""
        return self._answer(agent, "text") == "allowed"

    def text(self, agent: Peer | WebPeer) -> Standing:
        """The consent for texts to this agent."""
        return "allowed" if self.is_known(agent) else self._answer(key_of(agent), "text")

    def files(self, agent: Peer | WebPeer) -> Standing:
        """The consent for files to this agent."""
        return "allowed" if self._is_own(agent) else self._answer(key_of(agent), "files")

    def is_known(self, agent: Peer | WebPeer) -> bool:
        """True if it is own, trusted, a member, or was added by a person."""
        if isinstance(agent, WebPeer):
            return agent.is_typed and not self._is_blocked(agent)
        if agent.row.trust == "blocked":
            return False
        return self._trust.of(agent) != "stranger" or bool(agent.row.addresses)

    def _is_blocked(self, web: WebPeer) -> bool:
        """True if the key that this URL belongs to was blocked."""
        return any(peer.row.trust == "blocked" and peer.row.did == web.key for peer in self._directory)

    def _is_own(self, agent: Peer | WebPeer) -> bool:
        if isinstance(agent, WebPeer):
            return False  # a card can name any key
        return agent.peer_id == self._context.me or self._trust.of(agent) == "own"

    def _answer(self, agent: str, subject: Subject) -> Standing:
        row = self._context.database.read(lambda connection: find_consent(connection, agent, subject))
        if row is None:
            return "open"
        age = self._context.clock() - row.at  # far below zero where it was given while the clock was ahead
        return "open" if row.verdict == "declined" and abs(age) > DECLINED_SECONDS else row.verdict

    # --- what a person answered -------------------------------------------------------------------

    async def answer(
        self, agent: Peer | WebPeer | str, answer: Literal["allowed", "declined", "forgotten"], *, files: bool
    ) -> None:
        """Keep what a person answered. About an agent that may have text anyway, the answer is about files."""
        key = agent if isinstance(agent, str) else key_of(agent)
        known = not isinstance(agent, str) and self.is_known(agent)
        has_text = known or self._answer(key, "text") == "allowed"
        subjects: list[Subject] = []
        if not known and not (answer == "declined" and has_text):
            subjects.append("text")
        if files or has_text:
            subjects.append("files")
        now = self._context.clock()

        def keep(connection: sqlite3.Connection) -> None:
            if answer == "forgotten":
                forget_consents(connection, key)
                return
            for subject in subjects:
                save_consent(connection, key, subject, answer, now)

        await self._context.database.write(keep)

    def meant(self, asked: str) -> Peer | WebPeer | str:
        """The agent of a did, its beginning, a URL, its handle or an alias; the bare URL where it was never met.

        Raises:
            PeerNotFoundError: no agent has it, or several.
            AliasAlikeError: it only looks like an alias.
        """
        wanted = self._directory.aliases.meant(asked.strip())
        if kind_of_agent(wanted) == "url":
            known = self._web.known(wanted)
            if known is None and is_shortened(wanted) and wanted not in self._asked:
                raise PeerNotFoundError(asked)
            return known or self._asked.get(wanted) or agent_url(wanted)
        try:
            return self._directory.get(PeerId.parse_untrusted(wanted))
        except RemoteProtocolError:
            pass
        beginning = key_beginning(wanted)
        meant = [peer for peer in self._directory if beginning and peer.row.did.startswith(beginning)]
        if len(meant) != 1:
            raise PeerNotFoundError(asked)
        return meant[0]
