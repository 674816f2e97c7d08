"""The commands, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer
import typer.main

from mcp_a2a.cli import (
    agents,
    allowing,
    callers,
    files,
    finding,
    forgetting,
    machine,
    mailbox,
    networks,
    reach,
    relays,
    repairing,
    serving,
    serving_options,
    tasking,
)
from mcp_a2a.cli.examples import epilog, help_of
from mcp_a2a.cli.exits import Exit
from mcp_a2a.cli.failure import report_failure, tell_interrupted
from mcp_a2a.cli.options import Options, UsageError
from mcp_a2a.cli.output import Output
from mcp_a2a.cli.session import Session, session_of, set_up_logging

app = typer.Typer(
    name="mcp-a2a",
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
) -> None:
    """Declared for the help; `options.split` has read them before."""


def serve(
    context: typer.Context,
    listen: Annotated[str | None, typer.Option(metavar="[HOST]:PORT", help="Serve HTTP there.")] = None,
    public_url: serving_options.PublicUrl = None,
    card: serving_options.CardStyle = "dual",
    tls_cert: serving_options.TlsCert = None,
    tls_key: serving_options.TlsKey = None,
    behind_proxy: serving_options.BehindProxy = False,
    a2a_push: serving_options.Push = False,
    token: serving_options.AskToken = False,
    show_token: serving_options.ShowToken = False,
    grpc_listen: serving_options.GrpcListen = None,
    allow_strangers: serving_options.AllowStrangers = False,
) -> None:
    """Serve MCP to an assistant: on stdin and stdout, or with --listen at http://HOST:PORT/mcp.

    With --listen also A2A: your own agent at http://HOST:PORT/, every agent behind this node at /a/NAME/. Without a
    host only programs of this user on this machine are served; all others, and there those behind a proxy or a tunnel,
    need the token that is printed when it is made, and kept beside the identity.
    """
    where = serving.listening(
        listen,
        urls=public_url,
        card=card,
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind_proxy=behind_proxy,
        push=a2a_push,
        token=token,
        show_token=show_token,
        grpc=grpc_listen,
    )
    serving.serve(session_of(context).settings(allow_strangers=allow_strangers or None), where)


def demo(context: typer.Context) -> None:
    """Start two agents and an MCP server, send tasks from end to end, and clean up. Takes some seconds."""
    from mcp_a2a.cli.demo import run_demo  # noqa: PLC0415  the MCP client takes half a second to import

    run_demo(session_of(context))


COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (  # type: ignore[explicit-any]  # each has its own options
    ("serve", serve),
    ("demo", demo),
    ("discover", finding.discover),
    ("show", finding.show),
    ("send", tasking.send),
    ("task", tasking.show_task),
    ("tasks", tasking.list_tasks),
    ("save", files.save),
    ("cancel", tasking.cancel),
    ("forget", forgetting.forget),
    ("inbox", mailbox.inbox),
    ("answer", mailbox.answer),
    ("allow", allowing.allow),
    ("trust", finding.trust),
    ("block", finding.block),
    ("invite", networks.invite),
    ("join", networks.join),
    ("networks", networks.networks),
    ("leave", networks.leave),
    ("rotate", networks.rotate),
    ("ping", reach.ping),
    ("netcheck", reach.netcheck),
    ("id", machine.show_id),
    ("list", machine.list_identities),
    ("status", machine.status),
    ("repair", repairing.repair),
    ("version", machine.version),
)

for _name, _command in COMMANDS:
    app.command(_name, help=help_of(_command), epilog=epilog(_name))(_command)
app.add_typer(finding.peers, name="peers", epilog=epilog("peers"))
app.add_typer(callers.callers, name="callers", epilog=epilog("callers"))
app.add_typer(agents.agents, name="agent")
app.add_typer(relays.relay, name="relay")


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
