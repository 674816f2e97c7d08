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


_TO_YOU = (
    ("a person may allow it, and then it can be used:", "you may allow it:"),
    ("a person may allow it:", "you may allow it:"),
    ("A person may allow it, and then it can be used:", "You may allow it:"),
    ("or your user allows another folder", "or allow another folder"),
    ("Your user may name another folder with MCP_A2A_DOWNLOADS.", "Name another folder."),
    ("If your user wants it sent, they can do it in a terminal:", "If you want it sent:"),
    ("Your user, or you where you have a shell, can read all of it:", "Read all of it:"),
)
"""Next steps that a model passes on to its user, as the user reads them."""


def for_people(text: str) -> str:
    """The text with tools replaced by the commands that do the same."""
    text = _CALL.sub(lambda match: f"{'Run' if match[0][0] == 'C' else 'run'} ", text)
    text = re.sub(r"\b([Rr]un) discover\b", r"\1 mcp-a2a discover", text)
    for said, instead in _TO_YOU:
        text = text.replace(said, instead)
    return _TOOL.sub(lambda match: COMMANDS[match[1]], text)
