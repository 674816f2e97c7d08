"""`mcp-a2a` and `python -m mcp_a2a`: decides between server and command before anything heavy is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mcp_a2a.cli.options import (
    ALLOW_STRANGERS,
    SERVER_OPTIONS,
    Options,
    UsageError,
    check_environment,
    split,
    unicode_words,
)
from mcp_a2a.interrupts import end_at_interrupt
from mcp_a2a.secrecy import keep_memory_private
from mcp_a2a.streams import open_standard_streams


def main() -> None:
    """The console script.

    Raises:
        SystemExit: always.
    """
    end_at_interrupt()
    keep_memory_private(os.environ)
    open_standard_streams()
    raise SystemExit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command line; the exit code it ends with."""
    try:
        check_environment(os.environ)
        options, words = split(unicode_words(argv))
    except UsageError as error:
        from mcp_a2a.cli.failure import report_failure  # noqa: PLC0415  a server needs none of it
        from mcp_a2a.cli.output import Output  # noqa: PLC0415  as above

        plain = Options(json="--json" in argv, color="--no-color" not in argv and not os.environ.get("NO_COLOR"))
        return report_failure(Output(plain), UsageError(f"{error} See mcp-a2a --help"))
    if words in (["--version"], ["-V"]):
        words = ["version"]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if _is_server(words):
        return _serve(options, words)
    return _command(options, words)


def _is_server(words: Sequence[str]) -> bool:
    """True if a server is asked for, or nothing is and a program is at the other end of the pipe."""
    if "_MCP_A2A_COMPLETE" in os.environ:
        return False  # a shell asks what could come next
    if not words:
        return not sys.stdin.isatty()
    first = words[0].partition("=")[0]
    return first in ("serve", *SERVER_OPTIONS) and not {"-h", "--help"} & set(words)


def _serve(options: Options, words: Sequence[str]) -> int:
    words = words[1:] if words[:1] == ["serve"] else words
    settings: dict[str, object] = dict(options.settings)
    if ALLOW_STRANGERS in words:
        settings["allow_strangers"] = True
    words = [word for word in words if word != ALLOW_STRANGERS]
    has_pipes = sys.platform != "win32" and not (os.isatty(0) or os.isatty(1))
    try:
        if not words and has_pipes:
            from mcp_a2a.cli.fronting import serve_pipe  # noqa: PLC0415  a command needs none of it

            serve_pipe(settings, options.verbosity)
        else:
            _serve_without_front(settings, options, words)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  the top: everything becomes a sentence here
        from mcp_a2a.cli.failure import report_failure  # noqa: PLC0415  as above
        from mcp_a2a.cli.output import Output  # noqa: PLC0415  as above

        # On a pipe stdout belongs to the protocol, also when there is nothing to say on it.
        return report_failure(Output(replace(options, json=options.json and bool(words))), error)
    return 0


def _serve_without_front(settings: Mapping[str, object], options: Options, words: Sequence[str]) -> None:
    from mcp_a2a.cli import serving  # noqa: PLC0415  a command needs none of it
    from mcp_a2a.cli.session import set_up_logging  # noqa: PLC0415  as above
    from mcp_a2a.config import load_settings  # noqa: PLC0415  as above

    set_up_logging(options.verbosity)
    listening = serving.parse(words)
    serving.serve(load_settings(settings), listening, options)


def _command(options: Options, words: Sequence[str]) -> int:
    from mcp_a2a.cli.app import run_cli  # noqa: PLC0415  a server needs none of it
    from mcp_a2a.cli.exits import own_this_process  # noqa: PLC0415  as above

    own_this_process()

    return run_cli(options, words or ["status"])


if __name__ == "__main__":
    main()
