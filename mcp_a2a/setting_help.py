"""The help of a setting, in the annotation of the setting: `rate: Annotated[float, Told("Per minute")] = 5`.

The tables of settings are plain data, so that a line of help imports no library that checks values.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Told:
    """The option of a setting.

    Attributes:
        about: what it does. Without a full stop, the default follows in brackets; else it stands where `{default}` is.
        metavar: the placeholder of the value.
        flags: the names of a switch, if they are not `--NAME`.
    """

    about: str
    metavar: str | None = None
    flags: str | None = None
