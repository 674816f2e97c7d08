"""Finds the agent in a Python file, for `mcp-a2a agent run FILE.py[:NAME]`."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mcp_a2a.agent.definition import Agent
from mcp_a2a.agent.service import slug
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.protocol.naming import shown_name

# What a file that is being loaded said: functions decorated without an agent, and which agent it runs.


class AgentRuns(BaseException):
    """Ends the loading of a file that called `agent.run()`, for that call never returns."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent.name)
        self.agent = agent


class Registry:
    """The state of loading; one per process."""

    def __init__(self) -> None:
        self.loose = Agent("functions")
        self._loading = False

    @contextmanager
    def loading(self, name: str) -> Iterator[Agent]:
        """Collect loose skills into an agent of this name, and let no agent run by itself."""
        self.loose, self._loading = Agent(name), True
        try:
            yield self.loose
        finally:
            self._loading = False

    def runs(self, agent: Agent) -> None:
        """`agent.run()` was called.

        Raises:
            AgentRuns: by a file that is being loaded.
        """
        if self._loading:
            raise AgentRuns(agent)

    def whole(self, agent: Agent, module: str) -> Agent:
        """The agent, where its file has no skills that it leaves out. Those that the file imports may be left out.

        Raises:
            ConfigurationError: it has some.
        """
        offered = {one.id for one in agent.skills}
        left_out = [one.id for one in self.loose.skills if one.module == module and one.id not in offered]
        if not left_out:
            return agent
        raise ConfigurationError(
            f"There are skills that belong to no agent: {', '.join(left_out)}.",
            f"The file defines the agent {agent.name}: decorate them with its `skill`, or define no agent.",
        )


registry = Registry()


if TYPE_CHECKING:
    skill = registry.loose.skill
else:

    def skill(*function: object, **notes: object) -> object:
        """Make a function a skill of the agent that `mcp-a2a agent run FILE.py` runs; see `Agent.skill`."""
        return registry.loose.skill(*function, **notes)


def load_agent(target: str) -> Agent:
    """The agent that a file defines: the named one, the one it runs, or the only one.

    A file that only has functions decorated with `mcp_a2a.skill` is an agent named after the file.

    Raises:
        ConfigurationError: no such file, the file fails, it does not say which agent, or has skills that none offers.
    """
    path, name = _split(target)
    module = _prepare(path)
    with registry.loading(shown_name(slug(path.stem))) as loose:
        try:
            _execute(module, path)
        except AgentRuns as runs:
            if name is None:
                return registry.whole(runs.agent, module.__name__)
    found = _only(module, loose, path) if name is None else _named(module, name, path)
    return registry.whole(found, module.__name__)


def _split(target: str) -> tuple[Path, str | None]:
    file, colon, name = target.rpartition(":")
    named = bool(colon) and name.isidentifier()
    path = Path(file if named else target)
    # Whether it can be read is asked first: to look at a file in a folder that this user may not enter raises.
    if path.suffix != ".py" or not os.access(path, os.R_OK) or not path.is_file():
        raise ConfigurationError(
            f"There is no Python file {str(path)!r} that this user can read.",
            Remedy("Name one that defines an agent: mcp-a2a agent run FILE.py, or FILE.py:NAME."),
        )
    return path, name if named else None


def _prepare(path: Path) -> ModuleType:
    name = f"mcp_a2a_agent_{slug(path.stem).replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ConfigurationError(f"{path} cannot be loaded.", "Is it a Python file?")
    module = importlib.util.module_from_spec(spec)
    # As for a script: it may import its neighbours, and its hints are looked up in its module.
    sys.path.insert(0, str(path.parent.absolute()))
    sys.modules[name] = module
    return module


def _execute(module: ModuleType, path: Path) -> None:
    try:
        if module.__spec__ is not None and module.__spec__.loader is not None:
            module.__spec__.loader.exec_module(module)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{path} failed while it was loaded{_place(error, path)}: {type(error).__name__}: {error}.",
            f"Fix it; python {path} shows the full traceback.",
        ) from error


def _place(error: Exception, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno})"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" (line {lines[-1]})" if lines else ""


def _named(module: ModuleType, name: str, path: Path) -> Agent:
    found = getattr(module, name, None)
    if isinstance(found, Agent):
        return found
    agents = _agents(module)
    listed = f"It defines: {', '.join(agents)}." if agents else "It defines none."
    raise ConfigurationError(f"{path} has no agent called {name!r}.", listed)


def _only(module: ModuleType, loose: Agent, path: Path) -> Agent:
    agents = _agents(module)
    if loose.skills and not agents:
        return loose
    if len(agents) == 1:
        return next(iter(agents.values()))
    if not agents:
        raise ConfigurationError(
            f"{path} defines no agent.",
            'Decorate a function: from mcp_a2a import skill; @skill; or make one: Agent("name").',
        )
    raise ConfigurationError(
        f"{path} defines several agents: {', '.join(agents)}.",
        Remedy("Name one: mcp-a2a agent run {agent}", agent=shlex.quote(f"{path}:{next(iter(agents))}")),
    )


def _agents(module: ModuleType) -> dict[str, Agent]:
    """The agents by the names they have in the file, each once."""
    found: dict[str, Agent] = {}
    for name, value in vars(module).items():
        if isinstance(value, Agent) and value not in found.values():
            found[name] = value
    return found
