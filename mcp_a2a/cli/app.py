"""The commands, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
import typer.main

from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.failure import of_home, report_failure, tell_interrupted
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
    epilog="Every command takes these options, before or after its name. Without a command, mcp-a2a on a pipe is the "
    "MCP server that an assistant starts."
)
def global_options(
    home: Annotated[str | None, typer.Option(metavar="DIR", help="Data folder (keys, inbox, database).")] = None,
    identity: Annotated[
        str | None, typer.Option(metavar="NAME", help="Identity to use; each has its own key and inbox.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name that other agents see.")] = None,
    no_mdns: Annotated[bool, typer.Option("--no-mdns", help="Turn off discovery on the LAN.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only answers and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what happens; -vv shows more.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Do not use colors.")] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Use ASCII for arrows, marks and ellipses.")] = False,
    listen: Annotated[
        str | None,
        typer.Option(metavar="[HOST]:PORT", help="Serve MCP and A2A over HTTP. More: mcp-a2a serve --help"),
    ] = None,
) -> None:
    """Declared for the help; `options.split` has read them before."""


def _check_dashes(words: Sequence[str]) -> None:
    # Without the dashes an option of the program would be taken for one of ours.
    if list(words[:2]) == ["agent", "exec"] and "--" not in words and not {"-h", "--help"} & set(words):
        raise UsageError("Put the program after two dashes: mcp-a2a agent exec --name rev --skill reverse -- rev")


def run_cli(options: Options, words: Sequence[str]) -> int:
    """Run a command; the exit code it ends with. Whatever happens, a person reads a sentence, never a traceback."""
    session = Session(options, Output(options))
    set_up_logging(options.verbosity, session.output)
    try:
        _check_dashes(words)
        code = typer.main.get_command(app).main(
            args=list(words), prog_name="mcp-a2a", obj=session, standalone_mode=False
        )
    except Exception as error:  # noqa: BLE001  the top: everything becomes a sentence here
        return report_failure(session.output, of_home(session, error))
    finally:
        session.output.progress("")
    code = code if isinstance(code, int) else Exit.DONE
    if code == Exit.INTERRUPTED:
        tell_interrupted(session)
    return code
