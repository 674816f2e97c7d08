"""Other numbers of delivery for a test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcp_a2a.node.delivery import patience


def set_patience(patch: pytest.MonkeyPatch, **numbers: object) -> None:
    """Give nodes that meet from now on these numbers (`patience.Patience`), beside those that were set before."""
    patch.setattr(patience, "SEALED", replace(patience.SEALED, **numbers))  # type: ignore[arg-type]
