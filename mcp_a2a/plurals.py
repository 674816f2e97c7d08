"""Numbers of things in a sentence: one function says "1 task" and "2 tasks", and nothing says "task(s)"."""

from __future__ import annotations


def many(count: int, one: str, more: str = "") -> str:
    """A number with its noun: "1 agent", "2,000 agents"; `more` is a plural that is not made with an s."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
