"""The commands, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
import typer.main

from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.failure import report_failure, tell_interrupted
from mcp_a2a.cli.options import Options, UsageError
from mcp_a2a.cli.output import Output
from mcp_a2a.cli.session import Session, set_up_logging
from mcp_a2a.cli.table import Commands

app = typer.Typer(
    name="mcp-a2a",
    cls=Commands,
    help="A phone book and a mailbox for AI agents: find them, send them sealed tasks, get the answers.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=True,
    pretty_exceptions_enable=False,
)


@app.callback(
    epilog="These options are accepted before and after every command, and each has a variable: MCP_A2A_HOME, "
    "MCP_A2A_IDENTITY, MCP_A2A_NAME, MCP_A2A_NO_MDNS, MCP_A2A_JSON, MCP_A2A_NO_COLOR, MCP_A2A_QUIET, MCP_A2A_VERBOSE. "
    "Without a command, mcp-a2a on a pipe is the MCP server that an assistant starts."
)
def global_options(
    home: Annotated[str | None, typer.Option(metavar="DIR", help="Data folder: keys, inbox, database.")] = None,
    identity: Annotated[str | None, typer.Option(metavar="NAME", help="Which identity: one key, one inbox.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What to be called; a label, no identity.")] = None,
    no_mdns: Annotated[bool, typer.Option("--no-mdns", help="Do not look around on the LAN.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only answers and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="What happens; -vv also how.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours (as NO_COLOR).")] = False,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST]:PORT", help="Serve MCP and A2A over HTTP: mcp-a2a --listen :3000  (more: serve --help)."
        ),
    ] = None,
) -> None:
    """Declared for the help; `options.split` has read them before."""


def _check_dashes(words: Sequence[str]) -> None:
    # Without the dashes an option of the program would be taken for one of ours.
    if list(words[:2]) == ["agent", "exec"] and "--" not in words and not {"-h", "--help"} & set(words):
        raise UsageError("Put the program behind two dashes: mcp-a2a agent exec --name rev --skill reverse -- rev")


def run_cli(options: Options, words: Sequence[str]) -> int:
    """Run a command; the exit code it ends with. Whatever happens, a person reads a sentence, never a traceback."""
    set_up_logging(options.verbosity)
    session = Session(options, Output(options))
    try:
        _check_dashes(words)
        code = typer.main.get_command(app).main(
            args=list(words), prog_name="mcp-a2a", obj=session, standalone_mode=False
        )
    except Exception as error:  # noqa: BLE001  the top: everything becomes a sentence here
        return report_failure(session.output, error)
    code = code if isinstance(code, int) else Exit.DONE
    if code == Exit.INTERRUPTED:
        tell_interrupted(session)
    return code
