"""Views as people read them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mcp_a2a.cli.sizes import file_lines
from mcp_a2a.protocol.naming import shown_name, skeleton
from mcp_a2a.protocol.state import Delivery, TaskState
from mcp_a2a.protocol.text import clean, preview
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.server.fence import shown_who

if TYPE_CHECKING:
    from rich.table import Table

    from mcp_a2a.views import (
        AgentDetail,
        AgentView,
        ConsentView,
        ContactView,
        InboxItem,
        NetcheckView,
        NetworkView,
        PingView,
        RelayMemberView,
        RelayStatusView,
        SkillView,
        StatusView,
        TaskView,
    )

ROUTES = {"local": "this machine", "lan": "LAN", "direct": "direct", "relay": "relay", "http": "web"}
TRUSTS = {
    "self": "this node",
    "own": "yours",
    "trusted": "trusted",
    "member": "member",
    "stranger": "not yet",
    "blocked": "blocked",
}
STATES = {
    TaskState.SUBMITTED: "waiting",
    TaskState.WORKING: "working",
    TaskState.COMPLETED: "completed",
    TaskState.FAILED: "failed",
    TaskState.CANCELED: "canceled",
    TaskState.INPUT_REQUIRED: "asks you",
    TaskState.REJECTED: "rejected",
    TaskState.AUTH_REQUIRED: "asks you",
}
STAGES = {
    Delivery.QUEUED: "not delivered yet",
    Delivery.STORED: "stored at a relay",
    Delivery.HELD: "waits for its owner to accept you",
}
ACCEPTS = {"anyone": "tasks of anyone", "trusted": "tasks of your own agents, those you trust and your networks"}
SKILLS_SHOWN = 3

_PIN = re.compile(r"#did:key:\w+")


def quoted(words: str) -> str:
    """What an agent said, beside words of ours: no line of it begins where one of ours could."""
    return clean(words).rstrip("\n").replace("\n", "\n  | ")


def many(count: int, noun: str) -> str:
    """How many of something: "1 agent", "2 agents"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def table(*headings: str) -> Table:
    """A table as this command line draws it."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for number, heading in enumerate(headings):
        drawn.add_column(heading, overflow="fold" if number else "ellipsis", no_wrap=number == 0)
    return drawn


def add_row(drawn: Table, *cells: str) -> None:
    """A row of it, with nothing in it that controls a terminal."""
    drawn.add_row(*map(clean, cells))


def agents_table(agents: Iterable[AgentView]) -> Table:
    """A line per agent; two whose names look the same are told apart by their words."""
    agents = list(agents)
    looks = Counter(skeleton(agent.name) for agent in agents)
    drawn = table("AGENT", "SKILLS", "ROUTE", "SEEN", "TRUST")
    for agent in agents:
        twin = agent.look_alike or looks[skeleton(agent.name)] > 1
        twin_lines = (agent.words, shown_who(agent.did)) if agent.words else (shown_who(agent.did),)
        name = shown_name(agent.name) + ("".join(f"\n  {line}" for line in twin_lines) if twin else "")
        add_row(drawn, name, skills(agent.skills), route(agent), seen(agent), trust(agent))
    return drawn


def trust(agent: AgentView) -> str:
    """Who it is to us, and by which networks."""
    ours = agent.trust == "member" and agent.networks
    return f"{TRUSTS[agent.trust]} of {_names(agent.networks)}" if ours else TRUSTS[agent.trust]


def _names(networks: Sequence[str]) -> str:
    return ", ".join(preview(name, 64) for name in networks)


def skills(all_skills: Sequence[SkillView]) -> str:
    """The first skills, and how many more."""
    shown = ", ".join(preview(skill.id, 40) for skill in all_skills[:SKILLS_SHOWN])
    more = len(all_skills) - SKILLS_SHOWN
    return f"{shown}, +{more}" if more > 0 else shown or "-"


def route(agent: AgentView) -> str:
    """How it is reached, and how fast."""
    if agent.route is None:
        return f"offline, {agent.waiting} queued" if agent.waiting else "offline"
    rtt = "" if agent.rtt_ms is None else f" {agent.rtt_ms:.0f} ms" if agent.rtt_ms >= 1 else " <1 ms"
    return ROUTES.get(agent.route, agent.route) + rtt


def seen(agent: AgentView) -> str:
    """When it was last there."""
    return "now" if agent.online else f"{age(agent.last_seen)} ago" if agent.last_seen else "never"


def age(iso: str) -> str:
    """How long ago a moment was, in its largest unit."""
    now = datetime.now(UTC)  # noqa: TID251  ages are told to people at the moment they look
    seconds = max(0.0, (now - datetime.fromisoformat(iso)).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def agent_lines(detail: AgentDetail) -> list[str]:
    """One agent, in full."""
    agent, card = detail.agent, detail.card
    lines = [
        f"{shown_name(agent.name)}   {shown_who(agent.did)}",
        *([f"  words    {agent.words}"] if agent.words else []),
        *(["  signed   by a key that mcp-a2a cannot verify"] if card.signatures and not agent.words else []),
        f"  trust    {TRUSTS[agent.trust]}" + (f"   in {_names(agent.networks)}" if agent.networks else ""),
        f"  route    {route(agent)}" + (f"   {', '.join(map(_address, detail.addresses))}" if detail.addresses else ""),
        f"  seen     {seen(agent)}",
    ]
    if agent.description:
        lines.append(f"  about    {agent.description}")
    if card.version != "0.0.0":
        lines.append(f"  version  {preview(card.version, 40)}")
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


def tasks_table(tasks: Iterable[TaskView]) -> Table:
    """A line per task."""
    drawn = table("TASK", "", "AGENT", "STATE", "AGE", "TEXT")
    for task in tasks:
        arrow = "→" if task.direction == "sent" else "←"
        said = task.text or task.question or task.progress or (task.error.message if task.error else "")
        who = shown_name(task.agent.name)
        add_row(drawn, task.task_id, arrow, who, state(task), age(task.updated), preview(said, 60))
    return drawn


def state(task: TaskView) -> str:
    """How far it got, in words."""
    if not task.done and task.delivery in STAGES:
        return STAGES[task.delivery]
    if task.direction == "received" and task.state == TaskState.INPUT_REQUIRED:
        return "asked"
    return STATES[task.state]


def status_lines(status: StatusView) -> list[str]:
    """How a node is, in a few lines."""
    lines = [
        f"{status.name}   {status.did}   {status.version}",
        f"  identity   {status.identity}   {status.home}",
        f"  accepts    {ACCEPTS.get(status.accept, status.accept)}",
        f"  listening  {', '.join(status.listening) or 'nowhere'}",
    ]
    lines += [f"  {name:<10} {what}" for name, what in status.lookups.items()]
    lines += [f"  clock      {said}" for said in status.clocks]
    lines += [f"  damage     {said}" for said in status.damage]
    for network in status.networks:
        lines += [f"  {line}" for line in network_lines(network)]
    lines.append(
        f"  {many(status.agents_online, 'agent')} online   {many(status.outbox, 'message')} to deliver   "
        f"{many(status.inbox, 'task')} to answer   {many(status.held, 'message')} of strangers to decide on"
    )
    if status.kept:
        lines.append(f"  {many(status.kept, 'finished answer')} could not be stored yet: the disk is full")
    if status.runs_twice:
        lines.append(f"  THIS KEY RUNS TWICE, last seen {status.runs_twice}: a copied machine, or a restored backup")
    return lines


def contact_lines(contact: ContactView) -> list[str]:
    """A stranger who waits, with what the owner of both screens can compare."""
    more = "" if contact.messages == 1 else f", {contact.messages} messages"
    return [
        f"{shown_name(contact.name)}   {shown_who(contact.did)}   {age(contact.since)} ago{more}",
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
        f"  words    {agent.words}" if agent.words else "  words    none: only its URL tells who it is",
        f"  trust    {TRUSTS[agent.trust]}",
        f"  route    {route(agent)}   seen {seen(agent)}",
        f"  unasked  {unasked.get((view.text, view.files), 'nothing')}",
        f"  it calls itself “{preview(agent.name, 40)}”" + (f", with the skills {skills}" if skills else ""),
        *([f"  it says “{preview(agent.description, 160)}”"] if agent.description else []),
        "Anybody can choose any name. Its owner, asked on another channel, can read you the words (mcp-a2a id).",
    ]


def inbox_lines(item: InboxItem) -> list[str]:
    """A task that waits for an answer."""
    skill = f" wants {preview(item.skill, 40)}" if item.skill else ""
    again = f"   attempt {item.attempt}" if item.attempt > 1 else ""
    who = f"{shown_name(item.agent.name)} ({TRUSTS[item.trust]})"
    head = f"{item.task_id}   {who}{skill}   {age(item.received)} ago{again}"
    said = [f"  | {line}" for line in clean(item.text).splitlines()]
    return [head, *said, *(f"  {line}" for line in file_lines(item.files))]


def network_lines(network: NetworkView) -> list[str]:
    """A network, and a line for each of its relays."""
    whose = "yours" if network.mine else "joined"
    others = f"{many(network.members, 'other agent')}, {network.online} online"
    head = f"{preview(network.name, 64)}   {others}   {whose}"
    lines = [head, f"  id     {network.id}"]
    for relay in network.relays:
        speed = f" {relay.rtt_ms:.0f} ms" if relay.rtt_ms is not None else ""
        lines.append(f"  relay  {_without_key(relay.url)}   {quoted(relay.detail)}{speed}")
    return lines if network.relays else [*lines, "  relay  none: this machine and the LAN only"]


def ping_lines(reply: PingView) -> list[str]:
    """One answer, or why there is none."""
    lines = [f"  tried {quoted(attempt)}" for attempt in reply.tried]
    name, way = shown_name(reply.agent.name), _address(reply.address or "")
    if reply.ms is not None:
        return [*lines, f"reply from {name} via {ROUTES.get(reply.route or '', reply.route)} {way}   {reply.ms:.1f} ms"]
    through = f" via {ROUTES.get(reply.route, reply.route)} {way}" if reply.route else ""
    return [*lines, f"no reply from {name}{through}: {quoted(reply.detail or '')}"]


def check_lines(view: NetcheckView, mark: Callable[[bool], str]) -> list[str]:
    """A line for everything that was tried out."""
    return [
        f"{mark(check.ok)}  {_without_key(check.name)}   {quoted(check.detail)}"
        + (f"   {check.ms:.0f} ms" if check.ms is not None else "")
        for check in view.checks
    ]


def _address(text: str) -> str:
    return with_short_urls(_without_key(text))


def _without_key(text: str) -> str:
    """URLs of relays without the keys that pin them: nobody compares those by eye."""
    return _PIN.sub("", text)


def relay_lines(status: RelayStatusView) -> list[str]:
    """How a relay is."""
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


def relay_members_table(members: Iterable[RelayMemberView]) -> Table:
    """A line per key on the list of a relay."""
    drawn = table("KEY", "STATE", "KIND", "ONLINE", "SINCE", "NOTE")
    for member in members:
        add_row(
            drawn,
            member.member,
            member.state,
            member.kind,
            str(member.online),
            age(member.since),
            preview(member.note, 60),
        )
    return drawn
