"""The tool that asks a person to accept a contact. The model can ask for the question; it can never answer it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, TypeAlias

from mcp.server.mcpserver import Elicit, ElicitationResult, Resolve
from mcp.types import CallToolResult
from pydantic import Field

from mcp_a2a.api.agents import ContactView, GetAgentRequest, PeersRequest, SetTrustRequest
from mcp_a2a.api.view import AgentRef, Trust, View
from mcp_a2a.errors.agents import AmbiguousNameError, NothingWaitsError
from mcp_a2a.plurals import many
from mcp_a2a.protocol.naming import key_beginning, look_alike
from mcp_a2a.protocol.untrusted import Fact
from mcp_a2a.server.arguments import OptionalText
from mcp_a2a.server.consent import Form, Reply, ask, can_ask, read
from mcp_a2a.server.context import Call, answer, node_of
from mcp_a2a.server.fence import Fence, whole_label
from mcp_a2a.store.aliases import meant_by

WaitingAgent: TypeAlias = Annotated[
    OptionalText,
    Field(max_length=512, description="Name or did of the agent. Without it, the one that has waited longest."),
]


class Acceptance(Form):
    """What the person is asked to decide."""

    accept: bool = Field(
        title="Accept this agent?",
        description="Only if the words match what its owner sees.",
    )


class Contact(View):
    """Whom the question is about, settled once per call: the key that is shown is the key that is accepted."""

    agent: AgentRef
    words: Fact
    trust: Trust
    askable: bool
    """True if this client can put a question to its user."""


class ContactDecision(View):
    """What became of it. `command` is what the person can run where the client cannot ask."""

    agent: AgentRef
    words: Fact = ""
    accepted: bool
    released: int = 0
    """Tasks that had waited for this decision and are in the inbox now."""
    command: Fact | None = None
    next: Fact


async def find_contact(agent: WaitingAgent, ctx: Call) -> Contact:
    """The waiting stranger of this name or key, else any known agent; without a name, the one that has waited longest.

    Raises:
        NothingWaitsError: no agent was named, and none waits.
        AmbiguousNameError, PeerNotFoundError, AliasAlikeError: as the node raises it.
    """
    known = await node_of(ctx).call(PeersRequest())
    requests = known.contacts
    if not agent and not requests:
        raise NothingWaitsError
    agent = meant_by(known.aliases, agent) if agent else agent
    found = _meant(agent, requests) if agent else [min(requests, key=lambda contact: contact.since)]
    if len(found) > 1:
        raise AmbiguousNameError(agent, [(contact.did, contact.words) for contact in found])
    if found:
        waiting = found[0]
        who = AgentRef(name=waiting.name, did=waiting.did)
        return Contact(agent=who, words=waiting.words, trust="stranger", askable=can_ask(ctx))
    other = (await node_of(ctx).call(GetAgentRequest(agent=agent))).agent
    who = AgentRef(name=other.name, did=other.did)
    return Contact(agent=who, words=other.words, trust=other.trust, askable=can_ask(ctx))


def _meant(agent: str, requests: Sequence[ContactView]) -> list[ContactView]:
    """Those who wait under this key, or under a name that looks the same. No name counts for a key."""
    if beginning := key_beginning(agent):
        return [contact for contact in requests if contact.did.startswith(beginning)]
    return [contact for contact in requests if look_alike(agent, contact.name)]


async def ask_person(
    contact: Annotated[Contact, Resolve(find_contact)], ctx: Call
) -> Elicit[Acceptance] | Reply | None:
    """The question, unless there is nothing to decide or no person to ask."""
    if contact.trust != "stranger" or not contact.askable:
        return None
    return await ask(
        ctx,
        f"Accept work from the agent that calls itself {whole_label(contact.agent.name, contact.agent.did)}?\n"
        f"Its fingerprint words: {contact.words}\n"
        "Any agent can claim any name. Accept only if its owner, asked on another channel, reads you the same words.",
        Acceptance,
        _accepts,
    )


def _accepts(acceptance: Acceptance) -> bool:
    return acceptance.accept


async def accept_contact(
    contact: Annotated[Contact, Resolve(find_contact)],
    decision: Annotated[ElicitationResult[Acceptance], Resolve(ask_person)],
    ctx: Call,
    agent: WaitingAgent = "",
) -> Annotated[CallToolResult, ContactDecision]:
    """Ask your user whether an agent may send you work; its waiting tasks are then delivered.

    The user decides in a dialog that shows the agent's fingerprint words. You cannot decide for them: where the client
    has no such dialog you get a command that your user can run.
    """
    del agent  # find_contact has looked it up
    if contact.trust != "stranger":
        return _reply(_nothing_to_decide(contact))
    if not contact.askable:
        return _reply(_command(contact, "This client cannot ask your user."))
    match read(decision, _accepts):
        case "none":
            return _reply(_command(contact, "Your user gave no answer, or was not asked."))
        case "no":
            return _reply(_refused(contact))
        case "yes":
            pass
    change = await node_of(ctx).call(SetTrustRequest(agent=contact.agent.did, level="trusted"))
    return _reply(
        ContactDecision(
            agent=contact.agent,
            words=contact.words,
            accepted=True,
            released=change.released,
            next="Call check_inbox for the tasks that waited."
            if change.released
            else "Its tasks reach the inbox from now on.",
        )
    )


def _nothing_to_decide(contact: Contact) -> ContactDecision:
    blocked = contact.trust == "blocked"
    return ContactDecision(
        agent=contact.agent,
        words=contact.words,
        accepted=not blocked,
        command=f"mcp-a2a trust {contact.agent.did}" if blocked else None,
        next="Your user has blocked this agent; only they can change that, with the command."
        if blocked
        else "Nothing to do: its tasks reach the inbox already.",
    )


def _refused(contact: Contact) -> ContactDecision:
    return ContactDecision(
        agent=contact.agent,
        words=contact.words,
        accepted=False,
        next="Your user did not accept; the request stays where it is. Do not ask again unless they say so.",
    )


def _command(contact: Contact, why: str) -> ContactDecision:
    return ContactDecision(
        agent=contact.agent,
        words=contact.words,
        accepted=False,
        command=f"mcp-a2a trust {contact.agent.did}",
        next=f"{why} Show them the words and the command, and let them decide.",
    )


def _reply(decision: ContactDecision) -> CallToolResult:
    return answer(decision, _lines, whole_keys=True)


def _lines(decision: ContactDecision, _: Fence) -> Iterator[str]:
    who = whole_label(decision.agent.name, decision.agent.did)
    yield f"{who}: {'accepted' if decision.accepted else 'not accepted'}."
    if decision.words:
        yield f"Fingerprint words: {decision.words}"
    if decision.released:
        yield f"{many(decision.released, 'waiting task')} delivered."
    if decision.command:
        yield f"Command for your user: {decision.command}"
    yield f"Next: {decision.next}"
