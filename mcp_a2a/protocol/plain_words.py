"""Faults of JSON that another program wrote, in the words of JSON instead of Python's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mcp_a2a.errors import without_secrets
from mcp_a2a.plurals import many
from mcp_a2a.protocol.text import preview

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

MAX_SHOWN = 60
"""Characters of a value that is quoted."""

_PLAIN = {
    "missing": "it is required",
    "tuple_type": "it should be a list",
    "list_type": "it should be a list",
    "dict_type": "it should be an object",
    "model_type": "it should be an object",
    "model_attributes_type": "it should be an object",
    "string_type": "it should be a text",
    "float_type": "it should be a number",
    "float_parsing": "it should be a number",
    "int_type": "it should be a whole number",
    "int_parsing": "it should be a whole number",
    "int_from_float": "it should be a whole number",
    "bool_type": "it should be true or false",
    "bool_parsing": "it should be true or false",
    "none_required": "it should be null",
    "finite_number": "it should be a finite number",
    "extra_forbidden": "there is no such field",
    "int_parsing_size": "it is too large a number",
    "recursion_loop": "it contains itself",
    "string_pattern_mismatch": "it does not have the right form",
}
_SIDES = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_OURS = ("value_error", "assertion_error")
"""Kinds whose message was written here."""
_BOUNDS = {
    "too_short": ("least", "min_length"),
    "string_too_short": ("least", "min_length"),
    "too_long": ("most", "max_length"),
    "string_too_long": ("most", "max_length"),
}


def plainly(fault: ErrorDetails) -> str:
    """A fault that pydantic found, by its kind or else in its message, to stand in a sentence."""
    kind = fault["type"]
    if kind in _BOUNDS:
        side, bound = _BOUNDS[kind]
        number = fault.get("ctx", {})[bound]
        what = "character" if isinstance(fault["input"], str) else "item"
        return f"it should have at {side} {many(number, what)}"
    if kind in _SIDES:
        side, bound = _SIDES[kind]
        limit = fault.get("ctx", {})[bound]
        return f"it should be {side} {limit:.15g}" if isinstance(limit, int | float) else f"it should be {side} {limit}"
    if kind in ("literal_error", "enum"):
        return f"it should be {str(fault.get('ctx', {})['expected']).replace(chr(39), '')}"
    if kind in _OURS:
        said = fault["msg"].partition(", ")[2]
        return f"{said[:1].lower()}{said[1:]}"
    return _PLAIN.get(kind, "it is not valid")


def faults_of(error: ValidationError) -> str:
    """Each value that is wrong, why, and what it is, without a secret in it."""
    return "; ".join(map(_fault, error.errors(include_url=False)))


def _fault(fault: ErrorDetails) -> str:
    where = place_of(fault)
    given = "" if fault["type"] == "missing" else f" (got {preview(_written(fault['input']), MAX_SHOWN)})"
    return f"{where}: {plainly(fault)}{given}"


def place_of(fault: ErrorDetails) -> str:
    """The place of a fault in the JSON: names and numbers, joined by dots."""
    return ".".join(str(step) for step in fault["loc"] if not _is_type(step))


def _is_type(step: str | int) -> bool:
    """True if a step of a path is a name of Python's for a choice of types, and no part of the JSON."""
    return isinstance(step, str) and bool(set(step) & set("[]()<>"))


def _written(value: object) -> str:
    return without_secrets(json.dumps(value, ensure_ascii=False, default=str))
