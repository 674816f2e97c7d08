"""An agent that counts words.

python examples/word_counter.py, or: mcp-a2a agent run examples/word_counter.py
"""

from mcp_a2a import Agent

agent = Agent("word-counter", description="Counts words")


@agent.skill(tags=["text"], examples=["hello wide world"])
async def count_words(text: str) -> int:
    """Count the words in a text."""
    return len(text.split())


if __name__ == "__main__":
    agent.run()
