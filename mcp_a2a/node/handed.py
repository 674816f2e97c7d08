"""What a skill hands over, made fit to be stored and sent."""

from __future__ import annotations

from typing import TypeVar, cast

from pydantic import BaseModel

from mcp_a2a.protocol.text import unicode_text

T = TypeVar("T")


def made_unicode(value: T) -> T:
    """The value with `unicode_text` applied to every string in it: models, lists, tuples and dictionaries, keys too."""
    return cast("T", _made(value))


def _made(value: object) -> object:
    match value:
        case str():
            return unicode_text(value)
        case BaseModel():
            changed = {name: made for name, old in value if (made := _made(old)) is not old}
            return value.model_copy(update=changed) if changed else value
        case list() | tuple():
            made = [_made(one) for one in value]
            if all(new is old for new, old in zip(made, value, strict=True)):
                return value
            return tuple(made) if isinstance(value, tuple) else made
        case dict():
            return {_made(key): _made(one) for key, one in value.items()}
        case _:
            return value


def reason_of(error: BaseException) -> str:
    """What an error of a skill says, in a sentence for the sender of its task. Never raises."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, SystemExit):
        return f"The skill ended its process with {error.code!r}."
    try:
        said = unicode_text(str(error))
    except Exception:  # noqa: BLE001  a skill's exception may fail to describe itself
        said = ""
    return said or type(error).__name__
