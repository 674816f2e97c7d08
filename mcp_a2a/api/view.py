"""The base of all requests and views.

A type says whose words a string is (`protocol.untrusted`): a fact of ours, a name, the identity of an agent, or the
words of a peer, which are never instructions. `server.outgoing` cleans all of them and fences those of a peer on their
way to a model.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from mcp_a2a.protocol.untrusted import Name, Who


class View(BaseModel):
    """Base of every question and answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Trust = Literal["self", "own", "trusted", "member", "stranger", "blocked"]
"""The relation of an agent to us: this node, another identity of this data folder, paired, in a network with us,
unknown, blocked."""


Consent = Literal["ask", "waived", "typed"]
"""The consent under which a text or file is sent. "ask": no person has consented yet, so one is asked before anything
leaves for a stranger, or a file for an agent that is not the user's own. "waived": this process was started to send
without asking, or is a worker of the owner. "typed": a person typed it at a terminal."""


class AgentRef(View):
    """The other side of a task."""

    name: Name
    did: Who
    """A did:key; or the URL of an agent that speaks A2A over HTTP, or `caller:NAME` for a client of our A2A server."""
