"""Why a task did not succeed, as the record of a task keeps it and every view shows it.

A module of its own: views are imported before the first answer, and the task brings its cryptography with it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mcp_a2a.protocol.untrusted import Fact, PeerText


class ErrorDetail(BaseModel):
    """Why a task did not succeed, and what can be done.

    `payload.TaskFailure` is what of it an agent sends to the other side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: PeerText
    message: PeerText
    hint: Fact = ""
    retryable: bool = False
