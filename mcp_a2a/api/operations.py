"""The operations of a node as data, so that a wire can carry them by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType, ModuleType

from mcp_a2a.api import a2a, agents, diagnostics, files, inbox, networks, news, status, tasks
from mcp_a2a.api.request import Request
from mcp_a2a.api.view import View

SUBJECTS = (agents, status, networks, diagnostics, files, tasks, inbox, news, a2a)
"""The modules whose questions a node answers."""


def _questions_of(subject: ModuleType) -> Iterator[type[Request[View]]]:
    """The questions that a module defines; a base that several of them share names no operation."""
    for value in vars(subject).values():
        if isinstance(value, type) and issubclass(value, Request) and "operation" in vars(value):
            yield value


def operations_of(*subjects: ModuleType) -> Mapping[str, type[Request[View]]]:
    """The questions that modules define, by the names of their operations.

    Raises:
        TypeError: two questions have one name.
    """
    found: dict[str, type[Request[View]]] = {}
    for subject in subjects:
        for kind in _questions_of(subject):
            if found.setdefault(kind.operation, kind) is not kind:
                raise TypeError(f"{kind.operation} is {found[kind.operation].__name__} and {kind.__name__}")
    return MappingProxyType(found)


OPERATIONS = operations_of(*SUBJECTS)
"""Every question that a node answers, by the name of its operation. `answer_of` has the answer."""
