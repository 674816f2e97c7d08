"""The fields of remedies as a person at a terminal reads them: commands in the place of tools."""

from __future__ import annotations

WORDS = {
    "Call": "Run",
    "discover": "mcp-a2a discover",
    "get_task_status": "mcp-a2a task",
    "list_tasks": "mcp-a2a tasks",
    "cancel_task": "mcp-a2a cancel",
    "send_task": "mcp-a2a send",
    "reply_to_task": "mcp-a2a answer",
    "check_inbox": "mcp-a2a inbox",
    "answer_task": "mcp-a2a answer",
    "Allow": "You may allow it",
    "allow": "you may allow it",
    "decline": 'Decline it: mcp-a2a answer {id} --status rejected "REASON"',
    "name_folder": "Name another folder.",
    "name_one": "Name one to decide about it",
    "other_folder": "or allow another folder with MCP_A2A_FILE_ROOTS (separated by {separator!r}), or send it",
    "send_by_skill": 'Send it to the best agent that has it: mcp-a2a send --skill {typed} "TEXT"',
    "want_sent": "If you want it sent",
}
