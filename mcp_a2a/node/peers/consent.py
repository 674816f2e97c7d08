"""Consent: the texts and files that may leave for an agent unasked, by one rule of the node for every surface.

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
from dataclasses import dataclass, field
from typing import Literal

from mcp_a2a.api.files import Attachments
from mcp_a2a.api.view import Consent
from mcp_a2a.errors.agents import ConsentDeclinedError, ConsentNeededError, PeerNotFoundError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.files.attaching import Attaching
from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.naming import key_beginning, kind_of_agent
from mcp_a2a.protocol.web_url import agent_url, is_shortened, shown_url
from mcp_a2a.store.journal import Subject, find_consent, forget_consents, save_consent

DECLINED_SECONDS = 86_400.0
"""Seconds for which a no holds: a model that asks again the next minute must not wear the person down."""

MAX_ASKED = 64

Standing = Literal["allowed", "declined", "open"]


def shown_key(agent: str) -> str:
    """The key of an agent for a person or a model: its did, or its URL without the words in it."""
    return shown_url(agent) if kind_of_agent(agent) == "url" else agent


@dataclass(eq=False)
class ConsentBook:
    """Knows what a person allowed to be sent to whom."""

    context: Context
    trust: TrustBook
    directory: Directory
    web: WebBook
    attaching: Attaching
    _asked: dict[str, str] = field(default_factory=dict)
    """URLs that were never met and that a person may be asked about, by how they are shown."""

    # --- may it leave -----------------------------------------------------------------------------

    async def check(
        self, agent: RemoteAgent, what: Attachments, parts: Sequence[Part] = (), *, answering: bool = False
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
        key, shown = agent.key, shown_key(agent.key)
        if "declined" in standings:
            raise ConsentDeclinedError(key, shown)
        facts = await self.attaching.inspect(parts, what) if files else ()
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

    def text(self, agent: RemoteAgent) -> Standing:
        """The consent for texts to this agent."""
        return "allowed" if self.is_known(agent) else self._answer(agent.key, "text")

    def files(self, agent: RemoteAgent) -> Standing:
        """The consent for files to this agent."""
        return "allowed" if self._is_own(agent) else self._answer(agent.key, "files")

    def is_known(self, agent: RemoteAgent) -> bool:
        """True if it is own, trusted, a member, or was added by a person."""
        signer = self.directory.with_did(agent.signer or "")
        if "blocked" in (agent.decided, signer.decided if signer is not None else ""):
            return False
        return self.trust.of(agent) != "stranger" or agent.is_added

    def _is_own(self, agent: RemoteAgent) -> bool:
        return agent.peer_id == self.context.me or self.trust.of(agent) == "own"

    def _answer(self, agent: str, subject: Subject) -> Standing:
        row = self.context.database.read(lambda connection: find_consent(connection, agent, subject))
        if row is None:
            return "open"
        age = self.context.clock() - row.at  # far below zero where it was given while the clock was ahead
        return "open" if row.verdict == "declined" and abs(age) > DECLINED_SECONDS else row.verdict

    # --- what a person answered -------------------------------------------------------------------

    async def answer(
        self, key: str, agent: RemoteAgent | None, answer: Literal["allowed", "declined", "forgotten"], *, files: bool
    ) -> None:
        """Keep what a person answered. About an agent that may have text anyway, the answer is about files."""
        known = agent is not None and self.is_known(agent)
        has_text = known or self._answer(key, "text") == "allowed"
        subjects: list[Subject] = []
        if not known and not (answer == "declined" and has_text):
            subjects.append("text")
        if files or has_text:
            subjects.append("files")
        now = self.context.clock()

        def keep(connection: sqlite3.Connection) -> None:
            if answer == "forgotten":
                forget_consents(connection, key)
                return
            for subject in subjects:
                save_consent(connection, key, subject, answer, now)

        await self.context.database.write(keep)

    def meant(self, asked: str) -> tuple[str, RemoteAgent | None]:
        """The key of the agent with a did, its beginning, a URL, its handle or an alias; and the agent, if it was met.

        Raises:
            PeerNotFoundError: no agent has it, or several.
            AliasAlikeError: it only looks like an alias.
        """
        wanted = self.directory.aliases.meant(asked.strip())
        if kind_of_agent(wanted) == "url":
            known = self.web.known(wanted)
            if known is None and is_shortened(wanted) and wanted not in self._asked:
                raise PeerNotFoundError(asked)
            return (known.key, known) if known else (self._asked.get(wanted) or agent_url(wanted), None)
        try:
            return wanted, self.directory.get(PeerId.parse_untrusted(wanted))
        except RemoteProtocolError:
            pass
        beginning = key_beginning(wanted)
        meant = [peer for peer in self.directory if beginning and peer.row.did.startswith(beginning)]
        if len(meant) != 1:
            raise PeerNotFoundError(asked)
        return meant[0].key, meant[0]
