"""The one place where failures become sentences and exit codes."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from typer.exceptions import TyperException

from mcp_a2a.cli.exits import Exit, exit_of_error
from mcp_a2a.cli.options import SERVER_OPTIONS, UsageError, no_such_option
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.text import clean

if TYPE_CHECKING:
    from pydantic import ValidationError

    from mcp_a2a.cli.output import Output
    from mcp_a2a.cli.session import Session

_TOO_MANY = re.compile(r"Got unexpected extra argument(?:\(s\)|s)? \((.*)\)", re.DOTALL)
"""The command-line library's words about extra arguments."""

DETAILS_FILE = "mcp-a2a-error.txt"

_RESULT_IS_KEPT = "The command itself succeeded. See the result with mcp-a2a tasks, or write it somewhere else."

_OURS = (FileNotFoundError, FileExistsError)
"""Errors of a file in the data folder that are no refusal: then it is we who did not expect them."""

_REQUESTS = ("Request", "FileArg")
"""Ends of the names of requests to a node (`api`): a value that does not fit in one was typed."""


def report_failure(output: Output, error: Exception) -> int:
    """Say why there is no answer; the exit code of that."""
    match error:
        case OSError() if output.give_up(error):
            return _lost(output, error)
        case McpA2AError():
            output.error(error)
            return exit_of_error(error)
        case TyperException() | UsageError():
            output.error(_usage(error), code="usage")
            return Exit.USAGE
        case _:
            from pydantic import ValidationError

            from mcp_a2a.system_limits import limit_behind

            if isinstance(error, ValidationError) and error.title.endswith(_REQUESTS):
                output.error(_invalid(error), code="usage")
                return Exit.USAGE
            if (limit := limit_behind(error)) is not None:
                output.error(limit)
                return exit_of_error(limit)
            output.error(_unexpected(output, error), code="internal")
            return Exit.UNEXPECTED


def of_home(session: Session, error: Exception) -> Exception:
    """An error, in our words where the system refuses the data folder: each command meets that at another place."""
    if not isinstance(error, OSError) or isinstance(error, _OURS) or not isinstance(error.filename, str):
        return error
    try:
        home = session.home()
    except McpA2AError:
        return error
    path = Path(error.filename)
    if not path.is_relative_to(home):
        return error
    from mcp_a2a.store.disk import refused

    within = [one for one in reversed(path.parents) if one.is_relative_to(home)]
    return refused(next((one for one in within if not os.access(one, os.R_OK | os.X_OK)), home), error)


def _lost(output: Output, error: OSError) -> int:
    if not isinstance(error, BrokenPipeError):  # who closed the pipe has read enough
        output.error(output.lost(error, _RESULT_IS_KEPT))
    return Exit.UNEXPECTED


def _usage(error: TyperException | UsageError) -> McpA2AError:
    if isinstance(error, UsageError):
        return ConfigurationError(str(error))
    context = getattr(error, "ctx", None)
    wrong = getattr(error, "option_name", None)
    if isinstance(wrong, str) and wrong.startswith("--") and hasattr(error, "possibilities"):
        own = [name for one in context.command.get_params(context) for name in one.opts] if context else []
        root = () if getattr(context, "parent", None) else SERVER_OPTIONS
        said = no_such_option(wrong, (*own, *root))
    else:
        said = _wrong_value(error) or _TOO_MANY.sub(r"Too many arguments: \1", error.format_message())
    command = str(getattr(context, "command_path", "mcp-a2a"))
    if context is not None and said == "Missing command.":
        said = f"Missing command. There are: {', '.join(context.command.list_commands(context))}."
    return ConfigurationError(said, f"For help: {command} --help")


def _wrong_value(error: TyperException) -> str | None:
    """The fault of an option's value, in plain words; None for another error."""
    from pydantic import ValidationError

    from mcp_a2a.protocol.plain_words import plainly

    cause, parameter = error.__cause__ or error.__context__, getattr(error, "param", None)
    if not isinstance(cause, ValidationError) or parameter is None:
        return None
    fault = cause.errors(include_url=False)[0]
    name = str(parameter.get_error_hint()).replace("'", "")
    return f"{name} cannot be {str(fault['input'])[:80]!r}: {plainly(fault)}."


def _invalid(error: ValidationError) -> McpA2AError:
    from mcp_a2a.protocol.plain_words import faults_of

    return ConfigurationError(f"This is not valid. {faults_of(error)}.", "For help: mcp-a2a --help")


def _unexpected(output: Output, error: Exception) -> McpA2AError:
    """Report a bug of ours: the traceback goes into a file, for the maintainers."""
    story = "".join(traceback.format_exception(error))
    if output.options.verbosity > 1:
        sys.stderr.write(clean(story))
    where = _keep(story)
    return McpA2AError(
        f"Something unexpected happened in mcp-a2a: {type(error).__name__}: {error}.",
        f"The details are in {where} (-vv prints them). Please report them." if where else "-vv prints the details.",
    )


def _keep(story: str) -> Path | None:
    try:
        handle, name = tempfile.mkstemp(prefix="mcp-a2a-", suffix=f"-{DETAILS_FILE}")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(story)
    except OSError:
        return None
    return Path(name)


def tell_interrupted(session: Session) -> None:
    """Ctrl-C: what goes on without us, and how to get back to it."""
    from mcp_a2a.cli.render import SHOWN_ID

    session.output.progress("")
    if session.task_id is None:
        session.output.interrupted("Interrupted.")
    else:
        session.output.note(f"\nThe task goes on. Follow it: mcp-a2a task {session.task_id[-SHOWN_ID:]} --follow")
