"""The remedy of an error, as a value that each surface words for itself."""

from __future__ import annotations

from collections.abc import Mapping

FOR_A_MODEL = {
    "Allow": "A person may allow it, and then it can be used",
    "allow": "a person may allow it",
    "decline": "Decline it with answer_task and status rejected.",
    "name_folder": "Your user may name another folder with MCP_A2A_DOWNLOADS.",
    "name_one": "Name one to have your user asked about it",
    "other_folder": "or your user allows another folder with MCP_A2A_FILE_ROOTS (separated by {separator!r}), or "
    "sends it",
    "send_by_skill": "Call send_task_by_skill with the skill {skill!r}; the best agent that has it takes the task.",
    "want_sent": "If your user wants it sent, they can do it in a terminal",
}
"""The fields that a model reads in other words than their names: it may not do alone what its user decides."""


class Remedy:
    """A step of the owner of this node, or of a model that works for them, against an error.

    It is for them alone, unless it is `plain`: it names tools, commands or agents of this node.

    Attributes:
        text: a sentence with fields, as of `str.format`. A field is a value, or what surfaces call by different names:
            a tool by its name (`{list_tasks}`), the verb before it (`{Call}`), or a key of `FOR_A_MODEL`.
        values: the values of fields, which are never read as fields themselves.
        is_plain: the text has no fields, and a reader on another machine can do what it says.
    """

    __slots__ = ("is_plain", "text", "values")

    def __init__(self, text: str, /, **values: str) -> None:
        self.text, self.values, self.is_plain = text, values, False

    def worded(self, words: Mapping[str, str]) -> str:
        """The sentence in the words of a surface; what they lack is called by its own name."""
        if self.is_plain:
            return self.text
        known = {name: said.format_map(_Fields(self.values)) for name, said in words.items()}
        return self.text.format_map(_Fields(known | self.values))


def plain(text: str) -> Remedy:
    """A remedy for a reader anywhere."""
    remedy = Remedy(text)
    remedy.is_plain = True
    return remedy


class _Fields(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return name
