"""An agent that writes a haiku about anything, without any understanding of it.

python examples/haiku.py, or: mcp-a2a agent run examples/haiku.py
"""

import hashlib
from collections.abc import Iterator

from mcp_a2a import Agent

FIRST = ("{topic}, at daybreak", "The path to {topic}", "Old pond, and {topic}")
SECOND = ("a frog forgets why it jumped", "the wind turns another page", "snow falls on what was not said")
THIRD = ("Silence, then the rain.", "Only the moon stays.", "And the tea grows cold.")

agent = Agent("haiku", description="Writes haiku")


@agent.skill(id="write-haiku", tags=["poetry"], examples=["autumn rain"])
def write_haiku(topic: str) -> Iterator[str]:
    """Write a haiku about a topic."""
    yield "counting syllables"
    topic = " ".join(topic.split())[:40] or "nothing"
    seed = hashlib.sha256(topic.encode()).digest()
    lines = [verse[byte % len(verse)] for verse, byte in zip((FIRST, SECOND, THIRD), seed, strict=False)]
    yield "\n".join(lines).format(topic=topic)


if __name__ == "__main__":
    agent.run()
