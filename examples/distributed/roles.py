"""The agents of a server: what each of them does with a text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from neighbours import Neighbours, new_event
from pydantic import JsonValue

from mcp_a2a import TaskContext

ANSWER_SECONDS = 10.0
"""How long one server waits for another."""

WORKER = "distributed-worker"
"""The tag of skills that a coordinator hands work to."""


@dataclass
class Role:
    """One agent of a server."""

    name: str
    server: str
    neighbours: Neighbours

    words = ("",)
    """A text that names no agent is for the first that has one of these in it."""
    tag = "distributed"

    @property
    def skill_id(self) -> str:
        """What it is called by who asks for it by name."""
        return self.name.lower().replace("-", "_").replace(" ", "_")

    def matches(self, text: str) -> bool:
        """Whether a text that names no role is for it."""
        return any(word in text.lower() for word in self.words)

    async def answer(self, text: str, task: TaskContext) -> str:
        """What it says to a text that is for it."""
        return self.says(f"processed: {text}")

    def says(self, words: str) -> str:
        """The words, and who says them."""
        return f"[{self.server}] {self.name} {words}"


@dataclass
class Monitor(Role):
    """Counts what happened, here and at the neighbours."""

    events: dict[str, str] = field(default_factory=dict)
    """The kind of each event by its id: what is heard twice is counted once."""

    words = ("status", "report")

    def observe(self, event: dict[str, JsonValue]) -> None:
        """Count an event."""
        self.events[str(event["id"])] = str(event["kind"])

    async def publish(self, kind: str, **facts: JsonValue) -> None:
        """Count something that happened here, and tell the neighbours."""
        event = new_event(kind, **facts)
        self.observe(event)
        await self.neighbours.tell(event)

    async def answer(self, text: str, task: TaskContext) -> str:
        """Report what was counted."""
        kinds = Counter(self.events.values())
        lines = [self.says("report"), f"events logged: {kinds.total()}"]
        lines += (f"  {kind}: {count}" for kind, count in sorted(kinds.items()))
        lines.append(f"connected peers: {', '.join(await self.neighbours.connected()) or 'none'}")
        return "\n".join(lines)


@dataclass
class Coordinator(Role):
    """Has every neighbour do something, and reports who did."""

    monitor: Monitor

    words = ("coordinate",)

    async def answer(self, text: str, task: TaskContext) -> str:
        """Ask all, wait for all, report all."""
        peers = await self.neighbours.with_tag(WORKER)
        await self.monitor.publish("coordination.started", task=text, peer_count=len(peers))
        results = await self.neighbours.ask_all(
            peers, WORKER, f"Task from {self.server}: {text}", hop=task.hop, seconds=ANSWER_SECONDS
        )
        answers = sum(result.answered for result in results)
        await self.monitor.publish("coordination.complete", task=text, responses_received=answers)
        report = [self.says(f"Coordinated task across {len(peers)} servers, received {answers} responses")]
        report += (f"- {one.peer}: {'' if one.answered else 'no answer: '}{one.text}" for one in results)
        return "\n".join(report)


@dataclass
class Worker(Role):
    """Does what a coordinator hands out, and counts."""

    specialty: str
    monitor: Monitor
    done: int = 0

    words = ("task from",)
    tag = WORKER

    async def answer(self, text: str, task: TaskContext) -> str:
        """Do it."""
        self.done += 1
        await self.monitor.publish("task.completed", worker=self.name, task_number=self.done, task=text[:50])
        return self.says(f"({self.specialty}) completed task #{self.done}")


@dataclass
class Courier(Role):
    """Passes a text on along a way: "forward Server-B Server-C: hello"."""

    words = ("forward",)

    async def answer(self, text: str, task: TaskContext) -> str:
        """Ask the first on the way, who asks the next."""
        way, _, message = text.partition(" ")[2].partition(":")
        following, *further = way.split() or [""]
        rest = f"forward {' '.join(further)}: {message.strip()}" if further else message.strip()
        # A text may go in circles. What is passed on too often is refused by the node that it comes to.
        result = await self.neighbours.ask(following, rest, hop=task.hop, seconds=ANSWER_SECONDS)
        return self.says(f"forwarded to {following}: {result.text}")
