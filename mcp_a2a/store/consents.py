"""What a person answered when asked whether something may be sent to an agent, by the agent's key or URL."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

Subject = Literal["text", "files"]
ConsentAnswer = Literal["allowed", "declined"]

_ANSWERS: dict[str, ConsentAnswer] = {"allowed": "allowed", "declined": "declined"}


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """One answer, and when it was given (seconds since the epoch)."""

    verdict: ConsentAnswer
    at: float


def find_consent(connection: sqlite3.Connection, agent: str, subject: Subject) -> ConsentRow | None:
    """The answer about an agent, if a person has given one."""
    row = connection.execute(
        "SELECT verdict, at FROM consents WHERE agent=? AND subject=?", (agent, subject)
    ).fetchone()
    return ConsentRow(_ANSWERS[row[0]], float(row[1])) if row is not None and row[0] in _ANSWERS else None


def save_consent(
    connection: sqlite3.Connection, agent: str, subject: Subject, verdict: ConsentAnswer, at: float
) -> None:
    """Keep an answer; it replaces the one before."""
    connection.execute("INSERT OR REPLACE INTO consents VALUES (?,?,?,?)", (agent, subject, verdict, at))


def forget_consents(connection: sqlite3.Connection, agent: str) -> None:
    """Drop every answer about an agent: the next send asks again."""
    connection.execute("DELETE FROM consents WHERE agent=?", (agent,))
