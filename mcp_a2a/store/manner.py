"""How much of an identity its own process showed to others: a process that stands in shows no more."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from mcp_a2a.store.database import Database
from mcp_a2a.store.journal import get_meta, set_meta

MANNER = "manner"
"""Under this name it is remembered."""


@dataclass(frozen=True, slots=True)
class Manner:
    """Where it was seen, and where it listened."""

    mdns: bool
    networks: bool
    link_host: str


_MANNER = TypeAdapter(Manner)


def keep_manner(database: Database, manner: Manner) -> None:
    """Remember it, where it is another than before."""
    text = _MANNER.dump_json(manner).decode()
    if database.read(lambda connection: get_meta(connection, MANNER)) != text:
        database.enqueue_lazily(lambda connection: set_meta(connection, MANNER, text))


def kept_manner(database: Database) -> Manner | None:
    """What was remembered; None of an identity that has not run since there is such a note."""
    kept = database.read(lambda connection: get_meta(connection, MANNER))
    try:
        return _MANNER.validate_json(kept) if kept else None
    except ValidationError:
        return None
