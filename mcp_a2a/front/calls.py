"""The call of a client that is being served, as its front counts lines."""

from __future__ import annotations

from contextvars import ContextVar

call_name: ContextVar[str | None] = ContextVar("call_name", default=None)
"""One that no other call has, and the same when the call is told to a later session."""

call_age: ContextVar[float] = ContextVar("call_age", default=0.0)
"""Seconds since it came: a call that waited for its session has less time left."""
