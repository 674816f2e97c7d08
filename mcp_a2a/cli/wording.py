"""Errors and next steps are worded for assistants; a person at a terminal reads the commands instead."""

from __future__ import annotations

import re

COMMANDS = {
    "discover": "mcp-a2a discover",
    "get_agent": "mcp-a2a show",
    "send_task": "mcp-a2a send",
    "send_task_by_skill": "mcp-a2a send --skill",
    "get_task_status": "mcp-a2a task",
    "reply_to_task": "mcp-a2a answer",
    "cancel_task": "mcp-a2a cancel",
    "list_tasks": "mcp-a2a tasks",
    "check_inbox": "mcp-a2a inbox",
    "answer_task": "mcp-a2a answer",
    "accept_contact": "mcp-a2a trust",
}
"""The command of each tool."""

_CALL = re.compile(r"\b[Cc]all (?=({})\b)".format("|".join(COMMANDS)))
_TOOL = re.compile(r"(?<![-\w`])({})\b(?!`)".format("|".join(name for name in COMMANDS if "_" in name)))


def for_people(text: str) -> str:
    """The text with tools replaced by the commands that do the same."""
    text = _CALL.sub(lambda match: f"{'Run' if match[0][0] == 'C' else 'run'} ", text)
    text = re.sub(r"\b([Rr]un) discover\b", r"\1 mcp-a2a discover", text)
    return _TOOL.sub(lambda match: COMMANDS[match[1]], text)
