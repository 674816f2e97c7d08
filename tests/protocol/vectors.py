"""Third-party test vectors, which are not part of this repository."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import JsonValue

FOLDER = Path(os.environ.get("MCP_A2A_VECTORS", Path(__file__).parents[2].parent / "shared" / "vectors"))


def read_vectors(name: str) -> JsonValue:
    """The content of one file of vectors; the test is skipped where it is absent."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"{path} is absent; set MCP_A2A_VECTORS to the folder that holds {name}")
    content: JsonValue = json.loads(path.read_text())
    return content
