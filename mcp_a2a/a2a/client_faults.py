"""What went wrong when an A2A agent was asked, in sentences; and whether asking again may help."""

from __future__ import annotations

import re

from pydantic import JsonValue

from mcp_a2a.a2a.client_json import Fields, parse
from mcp_a2a.errors import WebAnswerError, WebError, WebRefusedError
from mcp_a2a.protocol.text import preview
from mcp_a2a.web_ports import AnswerLostError

REASONS = {
    -32001: "TASK_NOT_FOUND",
    -32002: "TASK_NOT_CANCELABLE",
    -32003: "PUSH_NOTIFICATION_NOT_SUPPORTED",
    -32004: "UNSUPPORTED_OPERATION",
    -32005: "CONTENT_TYPE_NOT_SUPPORTED",
    -32006: "INVALID_AGENT_RESPONSE",
    -32007: "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
    -32008: "EXTENSION_SUPPORT_REQUIRED",
    -32009: "VERSION_NOT_SUPPORTED",
    -32601: "METHOD_NOT_FOUND",
}
"""A2A 5.4."""

AUTH = "UNAUTHENTICATED"
_LOST_TASK = re.compile(
    r"\b(?:unknown task|no such task|task\b.{0,80}\b(?:not found|does not exist))", re.IGNORECASE | re.DOTALL
)
"""What agents say with codes of their own, of a task that they do not have."""
_PASSING = frozenset({408, 425, 429, 502, 503, 504})
"""HTTP statuses that say "not now", whatever else is said."""


def check_answer(url: str, status: int, media_type: str, body: bytes) -> JsonValue:
    """The JSON of an answer that is no error.

    Raises:
        WebRefusedError, WebAnswerError, AnswerLostError, WebError
    """
    value = _parsed(body)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # a batch of one, as some answer a single request
    error = _error_in(value)
    if status in _PASSING:
        raise WebError(f"{url} answered with HTTP {status}{_quoted(_message(error))}.", "It may be able to later.")
    if status >= 500 and error is None:
        raise AnswerLostError(f"{url} answered with HTTP {status}.", "It may be able to later.")
    if error is not None or status >= 400:
        raise refusal(url, error or {}, status)
    if value is _NO_JSON:
        raise WebAnswerError(f"{url} does not speak A2A: it answered with {_described(media_type, body)}.", _MEND)
    if status >= 300:
        raise WebAnswerError(f"{url} does not speak A2A: it answered with HTTP {status}.", _MEND)
    return _result(url, value)


_MEND = "Its owner must mend that, or the address is not that of an agent."
_NO_JSON: JsonValue = object()  # type: ignore[assignment]  # what no JSON is


def _parsed(body: bytes) -> JsonValue:
    try:
        return parse(body)
    except ValueError:
        return _NO_JSON


_NOUNS = frozenset({"status", "state", "parts", "task", "message", "artifacts"})
"""What an answer without an envelope has."""


def _result(url: str, value: JsonValue) -> JsonValue:
    """What is in the envelope of JSON-RPC, if it is in one; some leave its version out."""
    if isinstance(value, dict) and ("jsonrpc" in value or ("result" in value and not _NOUNS & value.keys())):
        if "result" not in value:
            raise WebAnswerError(f"{url} does not speak A2A: its answer has neither a result nor an error.", _MEND)
        return value["result"]
    return value


def check_event(url: str, data: str) -> JsonValue:
    """The JSON of an event of a stream, which may be an error too.

    Raises:
        WebRefusedError, WebAnswerError
    """
    value = _parsed(data.encode())
    if value is _NO_JSON:
        raise WebAnswerError(f"{url} does not speak A2A: an event of its stream is no JSON.", _MEND)
    error = _error_in(value)
    if error is not None:
        raise refusal(url, error, 200)
    return _result(url, value)


def wrong(url: str, error: WebAnswerError) -> WebAnswerError:
    """What a reader could make nothing of, as a sentence about the agent."""
    return WebAnswerError(f"{url} does not speak A2A: {error.message}.", _MEND)


def refusal(url: str, error: Fields, status: int) -> WebRefusedError:
    """The agent's word that it will not."""
    reason = _reason(error, status)
    said = _quoted(_message(error))
    if status in (401, 403) or reason in (AUTH, "PERMISSION_DENIED"):
        return WebRefusedError(
            f"{url} wants to know who calls (HTTP {status}){said}.",
            f"Give it a credential: mcp-a2a peers add {url} --token-stdin",
            AUTH,
        )
    if not said:
        what = "there is nothing at this address" if status == 404 else f"it gave no reason (HTTP {status})"
        return WebRefusedError(f"{url} refused: {what}.", "Check the address, or ask its owner.", reason)
    return WebRefusedError(f"{url} refused{said}.", "Change the request, or ask another agent.", reason)


def _error_in(value: JsonValue) -> Fields | None:
    """The error in an answer, of whatever make: JSON-RPC, REST, problem details, FastAPI."""
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error and "result" not in value:
        return {"message": error}
    if "detail" in value and not {"id", "result", "task", "message"} & value.keys():
        return {"message": value["detail"] if isinstance(value["detail"], str) else str(value["detail"])}
    return None


def _reason(error: Fields, status: int) -> str:
    code = error.get("code")
    if isinstance(code, int) and code in REASONS:
        return REASONS[code]
    details = error.get("details", error.get("data"))
    for item in details if isinstance(details, list) else []:
        if isinstance(item, dict) and isinstance(item.get("reason"), str):
            return str(item["reason"])
    if _LOST_TASK.search(_message(error)):
        return "TASK_NOT_FOUND"
    named = error.get("status")
    if isinstance(named, str):
        return named
    return {401: AUTH, 404: "NOT_FOUND", 405: "METHOD_NOT_FOUND", 501: "UNSUPPORTED_OPERATION"}.get(status, "")


def _message(error: Fields | None) -> str:
    said = (error or {}).get("message")
    return preview(said, 500) if isinstance(said, str) else ""


def _quoted(said: str) -> str:
    return f": {said.rstrip('.')}" if said else ""


def _described(media_type: str, body: bytes) -> str:
    if not body.strip():
        return "nothing"
    if "html" in media_type or body.lstrip()[:1] == b"<":
        return "a web page"
    return f"{media_type or 'something'} that is no JSON"
