"""Views as people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mcp_a2a.cli.columns import Cell, Column, Table
from mcp_a2a.plurals import many
from mcp_a2a.protocol.naming import kind_of_agent, short_key, shown_name, skeleton
from mcp_a2a.protocol.paths import by_source, route_word, without_pins
from mcp_a2a.protocol.text import clean, preview
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.screen import GLUE, width
from mcp_a2a.server.fence import shown_who

if TYPE_CHECKING:
    from mcp_a2a.api.agents import AgentDetail, AgentView, ConsentView, ContactView, SkillView
    from mcp_a2a.api.diagnostics import NetcheckView, PingView
    from mcp_a2a.api.files import FileView
    from mcp_a2a.api.networks import NetworkView
    from mcp_a2a.api.relay import RelayMemberView, RelayStatusView
    from mcp_a2a.api.status import StatusView

INBOUND = {
    "self": "this node",
    "own": "yes, yours",
    "trusted": "yes, trusted",
    "member": "yes, member",
    "stranger": "ask",
    "blocked": "no, blocked",
}
"""The words for taking tasks of an agent: at once, after its owner is asked, or never."""

TRUSTS = {
    "self": "this node",
    "own": "yours",
    "trusted": "trusted",
    "member": "member",
    "stranger": "stranger",
    "blocked": "blocked",
}
ACCEPTS = {
    "anyone": "tasks from anyone",
    "trusted": "tasks from your own agents, agents you trust and members of your networks",
}
SKILLS_SHOWN = 3
SHOWN_ID = 6
"""Letters of a task id in a table."""


def quoted(words: str) -> str:
    """An agent's words beside ours: no line of them begins where one of ours could."""
    return clean(words).rstrip("\n").replace("\n", "\n  | ")


def short_id(task_id: str) -> str:
    """A task id as a table shows it: its end, which every command takes for the whole, ellipsis and all."""
    return f"…{task_id[-SHOWN_ID:]}"


def short_who(did: str) -> str:
    """A key as a table shows it, by letters that every command takes; or a URL without what only its owner may see."""
    return short_key(did) if kind_of_agent(did) == "did" else shown_who(did)


AGENTS = (
    Column("AGENT", least=12),
    Column("SKILLS", least=16, leaves=2),
    Column("ROUTE", least=12),
    Column("SEEN", leaves=3, vanishes=True),
    Column("INBOUND", least=10, leaves=1),
)


def agents_table(agents: Iterable[AgentView], *, looked: bool = True) -> Table:
    """A row per agent; two whose names look the same are told apart by their words.

    Without `looked` no lookup ran, so it is not known which agents are online.
    """
    agents = list(agents)
    looks = Counter(skeleton(agent.name) for agent in agents)
    drawn = Table(AGENTS)
    for agent in agents:
        twin = agent.look_alike or looks[skeleton(agent.name)] > 1
        marks = f"{agent.words}   {short_who(agent.did)}".strip()
        drawn.add(
            shown_name(agent.name),
            skills(agent.skills),
            Cell(route(agent) if looked else waiting(agent, "unknown"), "" if agent.online else "dim"),
            Cell(seen(agent), "" if agent.online else "dim"),
            Cell(inbound(agent), "red" if agent.trust == "blocked" else ""),
            below=[marks] if twin else [],
        )
    return drawn


def inbound(agent: AgentView) -> str:
    """The words for taking tasks of an agent, with the reason."""
    ours = agent.trust == "member" and agent.networks
    return f"{INBOUND[agent.trust]} of {_names(agent.networks)}" if ours else INBOUND[agent.trust]


def _names(networks: Sequence[str]) -> str:
    return ", ".join(preview(name, 64) for name in networks)


def skills(all_skills: Sequence[SkillView]) -> str:
    """The first skills, and how many more."""
    shown = ", ".join(preview(skill.id, 40) for skill in all_skills[:SKILLS_SHOWN])
    more = len(all_skills) - SKILLS_SHOWN
    return f"{shown}, +{more}" if more > 0 else shown or "-"


def route(agent: AgentView) -> str:
    """The route to an agent, with its round trip."""
    if agent.route is None or not agent.online:
        return waiting(agent, "offline")
    rtt = "" if agent.rtt_ms is None else f" {agent.rtt_ms:.0f}{GLUE}ms" if agent.rtt_ms >= 1 else f" <1{GLUE}ms"
    return route_word(agent.route) + rtt


def waiting(agent: AgentView, route: str) -> str:
    """The words for an agent without a route, with the messages that wait for it: here, at a relay, or held."""
    return f"{route}, {agent.waiting} to deliver" if agent.waiting else route


def seen(agent: AgentView) -> str:
    """The time at which an agent was last online; for an agent at a URL that of its last answer."""
    if agent.online and agent.route != "http":
        return "now"
    return f"{age(agent.last_seen)} ago" if agent.last_seen else "never"


def age(iso: str) -> str:
    """The age of a moment, in its largest unit."""
    now = datetime.now(UTC)  # noqa: TID251  ages are told to people at the moment they look
    seconds = max(0.0, (now - datetime.fromisoformat(iso)).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{GLUE}{unit}"
    return f"{int(seconds)}{GLUE}s"


MAX_EXTENSIONS_SHOWN = 8


def agent_lines(detail: AgentDetail) -> list[str]:
    """One agent, in full."""
    agent, card = detail.agent, detail.card
    lines = [
        shown_name(agent.name) + (f"   your alias; it calls itself {agent.claimed}" if agent.alias else ""),
        f"  {'key' if kind_of_agent(agent.did) == 'did' else 'url'}      {shown_who(agent.did)}",
        *([f"  words    {agent.words}"] if agent.words else []),
        *(
            ["  signed   by a key we cannot verify, or for another place"]
            if card.signatures and not agent.words
            else []
        ),
        f"  inbound  {inbound(agent)}" + (": its tasks wait for your decision" if agent.trust == "stranger" else ""),
        f"  route    {route(agent)}"
        + (f"   {', '.join(map(_address, by_source(detail.addresses)))}" if detail.addresses else ""),
        f"  seen     {seen(agent)}",
        *(f"  also at  {shown_who(url)}   not sealed: used only when you name it" for url in agent.urls),
    ]
    if agent.description:
        lines.append(f"  about    {quoted(agent.description)}")
    if card.version != "0.0.0":
        lines.append(f"  version  {preview(card.version, 40)}")
    for extension in (card.capabilities.extensions or ())[:MAX_EXTENSIONS_SHOWN]:
        must = " (required)" if extension.required else ""
        about = f"   {preview(extension.description, 120)}" if extension.description else ""
        lines.append(f"  extension {preview(extension.uri, 120)}{must}{about}")
    lines.append("  skills" + ("   none" if not agent.skills else ""))
    for skill in agent.skills:
        lines += _skill_lines(skill)
    return lines


def _skill_lines(skill: SkillView) -> list[str]:
    takes = f"({_inputs(skill)})" if skill.input_schema else ""
    lines = [f"    {skill.id}{takes}   {preview(skill.description, 200)}"]
    return lines + [f"      e.g. {preview(example, 120)}" for example in skill.examples[:2]]


def _inputs(skill: SkillView) -> str:
    properties = (skill.input_schema or {}).get("properties")
    if not isinstance(properties, dict):
        return "data"
    named = [
        f"{preview(name, 40)}: {preview(str(value.get('type', 'any')), 40) if isinstance(value, dict) else 'any'}"
        for name, value in properties.items()
    ]
    return ", ".join(named)


def status_lines(status: StatusView) -> list[str]:
    """The state of a node, in a few lines."""
    lines = [
        f"{status.name}   mcp-a2a {status.version}",
        f"  key        {status.did}",
        f"  identity   {status.identity}   {status.home}",
        f"  accepts    {ACCEPTS.get(status.accept, status.accept)}",
        f"  listening  {', '.join(status.listening) or 'nowhere'}",
    ]
    lines += [f"  {name:<10} {what}" for name, what in status.lookups.items()]
    lines += [f"  clock      {said}" for said in status.clocks]
    lines += [f"  damage     {said}" for said in status.damage]
    for network in status.networks:
        lines += [f"  {line}" for line in network_lines(network)]
    counts = [
        f"{many(status.agents_online, 'agent')} online",
        *([f"{many(status.outbox, 'message')} to deliver"] if status.outbox else []),
        *([f"{many(status.inbox, 'task')} to answer"] if status.inbox else []),
        *([f"{many(status.held, 'message')} from strangers to decide on"] if status.held else []),
    ]
    lines.append(f"  now        {', '.join(counts)}")
    if status.kept:
        lines.append(f"  {many(status.kept, 'finished answer')} could not be stored yet: the disk is full")
    if status.runs_twice:
        lines.append(f"  THIS KEY RUNS TWICE, last seen {status.runs_twice}: a copied machine, or a restored backup")
    return lines


def contact_lines(contact: ContactView) -> list[str]:
    """A stranger who waits, with what the owner of both screens can compare."""
    more = "" if contact.messages == 1 else f", {many(contact.messages, 'message')}"
    return [
        f"{shown_name(contact.name)}   {age(contact.since)} ago{more}",
        f"  {shown_who(contact.did)}",
        f"  Same words on both screens?  {contact.words}",
        f"  “{contact.preview}”",
    ]


def consent_lines(view: ConsentView) -> list[str]:
    """Whom a person is asked about: what was checked first, and then what the agent says of itself."""
    agent = view.agent
    skills = ", ".join(preview(skill.id, 40) for skill in agent.skills[:8])
    unasked = {(True, True): "tasks and files", (True, False): "tasks, but no files", (False, True): "nothing"}
    return [
        agent.did if agent.did == view.key else f"{preview(agent.did, 512)}   {view.key}",
        f"  words    {agent.words}" if agent.words else "  words    none: only its URL identifies it",
        f"  trust    {TRUSTS[agent.trust]}",
        f"  route    {route(agent)}   seen {seen(agent)}",
        f"  allowed  {unasked.get((view.text, view.files), 'nothing')}",
        f"  it calls itself “{preview(agent.name, 40)}”" + (f", with the skills {skills}" if skills else ""),
        *([f"  it says “{preview(agent.description, 160)}”"] if agent.description else []),
        "Any agent can claim any name. Ask its owner on another channel for the words (mcp-a2a id).",
    ]


def network_lines(network: NetworkView) -> list[str]:
    """A network, and a line for each of its relays."""
    whose = "yours" if network.mine else "joined"
    others = f"{many(network.members, 'other agent')}, {network.online} online"
    head = f"{preview(network.name, 64)}   {others}   {whose}"
    lines = [head, f"  id     {network.id}"]
    for relay in network.relays:
        speed = f" {relay.rtt_ms:.0f} ms" if relay.rtt_ms is not None else ""
        lines.append(f"  relay  {without_pins(relay.url)}   {quoted(relay.detail)}{speed}")
    return lines if network.relays else [*lines, "  relay  none: this machine and the LAN only"]


def ping_lines(reply: PingView) -> list[str]:
    """One answer, or why there is none."""
    lines = [f"  tried {quoted(attempt)}" for attempt in reply.tried]
    name, way = shown_name(reply.agent.name), _address(reply.address or "")
    if reply.ms is not None:
        return [*lines, f"reply from {name} via {route_word(reply.route or '')} {way}   {reply.ms:.1f} ms"]
    through = f" via {route_word(reply.route)} {way}" if reply.route else ""
    return [*lines, f"no reply from {name}{through}: {quoted(reply.detail or '')}"]


def checks_table(view: NetcheckView, mark: Callable[[bool | None], Cell]) -> Table:
    """A row for everything that was tried out."""
    names = [without_pins(check.name) for check in view.checks]
    details = [quoted(check.detail) for check in view.checks]
    # Addresses are copied from here, so no column is narrower than its longest.
    columns = (Column(""), Column("", least=_longest(names)), Column("", least=_longest(details), leaves=1), Column(""))
    drawn = Table(columns)
    for check, name, detail in zip(view.checks, names, details, strict=True):
        time = "" if check.ms is None else f"{check.ms:.0f} ms"
        drawn.add(mark(None if check.absent else check.ok), name, detail, time)
    return drawn


def _longest(texts: Iterable[str]) -> int:
    """The columns of the longest word."""
    return max((width(word) for text in texts for word in text.split()), default=0)


def _address(text: str) -> str:
    return with_short_urls(without_pins(text))


def relay_lines(status: RelayStatusView) -> list[str]:
    """The state of a relay, in a few lines."""
    running = f"up {status.uptime_seconds / 60:.0f} min" if status.uptime_seconds is not None else "not running"
    kept = f"{many(status.messages, 'message')} ({status.message_bytes / 1024:.0f} KiB)"
    here = f"{many(status.connections, 'connection')}, {many(status.agents_online, 'agent')} online"
    lines = [
        f"{status.url or status.relay}   {status.version}   {running}",
        f"  {'closed' if status.closed else 'open'}   {status.admitted} admitted, {status.revoked} revoked",
        f"  {here}, {status.keys} known",
        f"  {kept} for {many(status.mailboxes, 'agent')}",
        f"  {status.listings} listed in {many(status.networks, 'network')}, {many(status.invitations, 'invitation')}",
    ]
    if status.running:
        lines.append(f"  since start: {status.delivered} delivered, {status.stored} stored, {status.refused} refused")
    return lines + [f"  Note: {warning}" for warning in status.warnings]


def relay_member_lines(member: RelayMemberView) -> list[str]:
    """A key on the list of a relay, to copy, and what is known of it."""
    facts = [member.state, member.kind, f"{member.online} online" if member.online else "", f"{age(member.since)} ago"]
    return [member.member, "  " + "   ".join(filter(None, [*facts, preview(member.note, 60)]))]


# Files as people read of them.

KIB, MIB = 1024, 1024 * 1024


def file_lines(files: Iterable[FileView]) -> list[str]:
    """The files, in a line each."""
    lines = []
    for file in files:
        facts = [size(file.size), preview(file.media_type, 40) if file.media_type else "", "" if file.here else "gone"]
        if file.size is None:
            facts = ["on the web (--json shows the URL)"]
        lines.append("   ".join(filter(None, (preview(file.name, 80), *facts))))
    return lines


def size(count: int | None) -> str:
    """A number of bytes for people."""
    if count is None:
        return ""
    if count < KIB:
        return f"{count} B"
    return f"{count / KIB:.0f} KiB" if count < MIB else f"{count / MIB:.1f} MiB"
