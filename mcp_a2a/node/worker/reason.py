"""The reason in an error of a skill."""

from __future__ import annotations

from mcp_a2a.protocol.unicode import unicode_text

MAX_CHARS = 10_000
"""Of what an error says: a whole page that some server answered with would itself be too large to be sent."""


def reason_of(error: BaseException) -> str:
    """The reason in an error of a skill, as a sentence for the sender of its task. Never raises."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return f"The skill ended its process with {int(error.code or 0)}."
    try:
        said = unicode_text(str(error))
    except BaseException:  # noqa: BLE001  a skill's exception may fail to describe itself, and in any way
        said = ""
    if len(said) > MAX_CHARS:
        said = f"{said[:MAX_CHARS]}…"
    said = said or type(error).__name__
    return f"The skill ended its process: {said}" if isinstance(error, SystemExit) else said
