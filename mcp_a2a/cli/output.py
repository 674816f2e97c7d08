"""Where words go: answers to stdout, everything else to stderr, and with `--json` one object and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from pydantic import BaseModel, JsonValue

from mcp_a2a.cli.options import Options
from mcp_a2a.cli.wording import for_people
from mcp_a2a.errors import McpA2AError
from mcp_a2a.views import DiscoverView

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDE = 200
"""Columns of a table that nobody's terminal limits: a line per row, for `grep`."""


def structured(view: BaseModel) -> dict[str, JsonValue]:
    """A view as the MCP tool returns it: unset fields left out, but a list of agents always says why it is empty."""
    fields: dict[str, JsonValue] = view.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(view, DiscoverView):
        fields.setdefault("reason", None)
    return fields


class Output:
    """The two streams of a command, as its options want them."""

    def __init__(self, options: Options, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.options = options
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._progressing = False

    @property
    def interactive(self) -> bool:
        """Whether a person watches what is not the answer."""
        return self._stderr.isatty() and self.options.verbosity >= 0 and not self.options.json

    def show(self, view: BaseModel, human: Callable[[], None]) -> None:
        """The answer: as JSON, or as `human` tells it."""
        self.show_fields(structured(view), human) if self.options.json else human()

    def show_fields(self, fields: Mapping[str, JsonValue], human: Callable[[], None]) -> None:
        """The same for an answer that no view describes."""
        if not self.options.json:
            human()
            return
        self.line(json.dumps(fields, ensure_ascii=False))

    def line(self, text: str) -> None:
        """A line of the answer."""
        _write(self._stdout, text + "\n")

    def rich(self, *renderables: RenderableType) -> None:
        """A part of the answer that has form."""
        console = self._console(self._stdout)
        for renderable in renderables:
            console.print(renderable)

    def note(self, text: str) -> None:
        """Something to know beside the answer."""
        if self.options.verbosity >= 0:
            _write(self._stderr, text + "\n")

    def progress(self, text: str) -> None:
        """A line that the next one replaces, where a person watches. An empty one removes it."""
        if self.interactive and (text or self._progressing):
            self._progressing = bool(text)
            _write(self._stderr, f"\r\x1b[K{text}")

    def error(self, error: McpA2AError, code: str | None = None) -> None:
        """Why there is no answer: what was tried, and what to do."""
        if self.options.json:
            fields = {
                "code": code or error.code,
                "message": error.message,
                "hint": error.hint,
                "retryable": error.retryable,
            }
            self.line(json.dumps({"error": fields}, ensure_ascii=False))
            return
        _write(self._stderr, for_people("\n".join(filter(None, (error.message, error.hint)))) + "\n")

    def _console(self, stream: TextIO) -> Console:
        from rich.console import Console  # noqa: PLC0415  a tenth of a second that `--json` need not spend

        return Console(
            file=stream,
            no_color=not self.options.color,
            highlight=False,
            markup=False,
            emoji=False,
            width=None if stream.isatty() else WIDE,
        )


def _write(stream: TextIO, text: str) -> None:
    # A terminal or file with a narrow encoding shows a question mark rather than nothing.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
