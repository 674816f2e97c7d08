"""Times as A2A spells them: ISO 8601 in UTC, with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(at: float) -> str:
    """The text of a time in seconds since the epoch."""
    return iso_of(datetime.fromtimestamp(at, UTC))


def iso_of(at: datetime) -> str:
    """The text of a time in UTC."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_iso_untrusted(text: str | None) -> datetime | None:
    """A time of ISO 8601 that says its zone, in UTC; None for any other text."""
    try:
        at = datetime.fromisoformat(text or "")
        return None if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
