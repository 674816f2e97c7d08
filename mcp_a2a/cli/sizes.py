"""Files as people read of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mcp_a2a.protocol.text import preview

if TYPE_CHECKING:
    from mcp_a2a.api.files import FileView

KIB, MIB = 1024, 1024 * 1024


def file_lines(files: Iterable[FileView]) -> list[str]:
    """What came, in a line each."""
    lines = []
    for file in files:
        facts = [size(file.size), preview(file.media_type, 40) if file.media_type else "", "" if file.here else "gone"]
        if file.size is None:
            facts = ["on the web (--json shows the URL)"]
        lines.append("   ".join(filter(None, (preview(file.name, 80), *facts))))
    return lines


def size(count: int | None) -> str:
    """A number of bytes for people."""
    if count is None:
        return ""
    if count < KIB:
        return f"{count} B"
    return f"{count / KIB:.0f} KiB" if count < MIB else f"{count / MIB:.1f} MiB"
