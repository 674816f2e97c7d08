"""What is wrong with JSON that another program wrote, in the words of JSON instead of Python's."""

from __future__ import annotations

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
    "too_short": "it has too few items",
}


def plainly(kind: str, message: str) -> str:
    """A fault that pydantic found, by its kind or else in its message, to stand in a sentence."""
    said = _PLAIN.get(kind, message.removeprefix("Value error, "))
    return f"{said[:1].lower()}{said[1:]}"
