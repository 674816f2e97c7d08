"""Errors of requests to A2A agents, in sentences, each retryable or not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pydantic import JsonValue

from mcp_a2a.a2a.client_parts import Fields, parse
from mcp_a2a.a2a.faults import Kind
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.web import WebAnswerError, WebError, WebFailedError, WebRefusedError
from mcp_a2a.protocol.text import preview
from mcp_a2a.web_ports import AUTH, AnswerLostError, NotNowError

REASONS = {kind.value.rpc: kind.value.reason for kind in Kind if -32009 <= kind.value.rpc <= -32001}
REASONS[Kind.METHOD_NOT_FOUND.value.rpc] = Kind.METHOD_NOT_FOUND.value.reason
"""A2A 5.4."""

_LOST_TASK = re.compile(
    r"\b(?:unknown task|no such task|no task (?:with|for|by|of|named|found)\b|task_?not_?found"
    r"|(?:could not|couldn't|cannot|can't|unable to) find (?:the |this |a |any )?task\b"
    r"|task\b.{0,80}\b(?:not found|does not exist|doesn't exist)"
    r"|task\s+\S{1,80}\s+(?:has expired|is unknown|no longer exists|is gone))",
    re.IGNORECASE | re.DOTALL,
)
"""Messages of agents, with codes of their own, about a task that they do not have."""
_PASSING = frozenset({408, 425, 429, 502, 503, 504, 507, 511, 521, 522, 523, 529})
"""HTTP statuses that say "not now", whatever else is said; some are those of proxies that many agents stand behind."""
_PASSING_REASONS = frozenset({"UNAVAILABLE", "OVERLOADED", "RESOURCE_EXHAUSTED", "STORAGE_FULL"})
_NOT_DONE = frozenset({501, 505, 506, 508, 510})
"""HTTP statuses of a server that says of itself that it cannot do this at all."""
_FAILED_REASONS = frozenset({"INVALID_AGENT_RESPONSE", "INTERNAL", "INTERNAL_ERROR", "UNKNOWN", "DATA_LOSS"})
_ABOUT_REQUESTS = frozenset({-32700, -32600, -32602})
"""JSON-RPC 5.1: what is wrong with a request, beside what `REASONS` has."""


def check_answer(url: str, status: int, media_type: str, body: bytes, *, later: float = 0.0) -> JsonValue:
    """The JSON of an answer that is no error. `later`: seconds after which the agent wants to be asked again.

    Raises:
        WebRefusedError, WebFailedError, WebAnswerError, AnswerLostError, NotNowError
    """
    value, trouble = _parsed(body)
    error = _error_in(value, status)
    if error is None and 400 <= status < 500 and media_type == "text/plain" and body.strip():
        error = {"message": body.decode("utf-8", "replace")}
    if status in _PASSING:
        raise _not_now(url, error, status, later)
    if status >= 500 and error is None and status not in _NOT_DONE:
        raise AnswerLostError(f"{url} answered with HTTP {status}.", "Try again later.")
    if error is not None or status >= 400:
        raise refusal(url, error or {}, status, later=later)
    if trouble:
        raise wrong(url, WebAnswerError(trouble))
    if value is _NO_JSON:
        raise wrong(url, WebAnswerError(f"it answered with {_described(media_type, body)}"))
    if status >= 300:
        raise wrong(url, WebAnswerError(f"it answered with HTTP {status}"))
    return _result(url, value)


_MEND = "Its owner must mend that, or the address is not that of an agent."
_NO_JSON: JsonValue = object()  # type: ignore[assignment]  # what no JSON is


def _parsed(body: bytes) -> tuple[JsonValue, str]:
    """The JSON of a body, and the fault that keeps it from being read, unless it is no JSON at all."""
    try:
        value = parse(body)
    except json.JSONDecodeError:
        return _NO_JSON, ""
    except ValueError as error:
        return _NO_JSON, f"its JSON cannot be read: {error}"
    # A batch of one, as some answer a single request.
    return (value[0] if isinstance(value, list) and len(value) == 1 else value), ""


_NOUNS = frozenset({"status", "state", "parts", "task", "message", "artifacts"})
"""Members of an answer without an envelope."""


def _result(url: str, value: JsonValue) -> JsonValue:
    """The result in the envelope of JSON-RPC, if there is one; some agents leave its version out."""
    if isinstance(value, dict) and ("jsonrpc" in value or ("result" in value and not _NOUNS & value.keys())):
        if "result" not in value:
            raise wrong(url, WebAnswerError("its answer has neither a result nor an error"))
        return value["result"]
    return value


def check_event(url: str, data: str) -> JsonValue:
    """The JSON of an event of a stream, which may be an error too.

    Raises:
        WebRefusedError, WebFailedError, WebAnswerError, NotNowError
    """
    value, trouble = _parsed(data.encode())
    if value is _NO_JSON:
        raise wrong(url, WebAnswerError(trouble or "an event of its stream is not JSON"))
    error = _error_in(value, 200)
    if error is not None:
        raise refusal(url, error, 200)
    return _result(url, value)


def names_no_agent(status: int, body: bytes) -> bool:
    """True if a server of ours says that it has no agent of this name: then no other one of it is meant."""
    error = _error_in(_parsed(body)[0], status)
    return error is not None and _reason(error, status) == "AGENT_NOT_FOUND"


def wrong(url: str, error: WebAnswerError) -> WebAnswerError:
    """An unreadable answer, as a sentence about the agent."""
    return WebAnswerError(f"{url} does not speak A2A: {error.message}.", _MEND)


def refusal(url: str, error: Fields, status: int, *, later: float = 0.0) -> WebError:
    """The agent's word that it will not, that it failed, or that it cannot now."""
    reason, code = _reason(error, status), _number(error.get("code"))
    if status < 300 and code is not None and 400 <= code < 600:
        status = code  # some have HTTP's numbers where JSON-RPC has its own
    said = _quoted(_message(error))
    if status in (401, 403) or reason in (AUTH, "PERMISSION_DENIED"):
        return WebRefusedError(
            f"{url} requires a login (HTTP {status}){said}.",
            Remedy("Give it a credential: mcp-a2a peers add {url} --token-stdin", url=url),
            AUTH,
        )
    if status in _PASSING or reason in _PASSING_REASONS:
        return _not_now(url, error, status, later)
    if _has_failed(code, status, reason):
        return WebFailedError(
            f"{url} failed{said}." if said else f"{url} failed, and gave no reason (HTTP {status}).",
            "It may have done part of it. Send it again, unless it is harmful to do that part twice.",
        )
    if not said:
        what, hint = _UNSAID.get(status, (f"it gave no reason (HTTP {status})", _ASK))
        return WebRefusedError(f"{url} refused: {what}.", hint, reason)
    return WebRefusedError(f"{url} refused{said}.", "Change the request, or ask another agent.", reason)


_ASK = "Check the address, or ask its owner."
_UNSAID = {
    402: ("it requires payment (HTTP 402)", "Ask its owner."),
    404: ("there is nothing at this address", _ASK),
    410: ("what was at this address is gone (HTTP 410)", _ASK),
    413: ("the message is too large for it (HTTP 413)", "Send less, or smaller files."),
    415: ("it does not take this kind of content (HTTP 415)", "Send text, or ask its owner."),
}
"""The meaning of HTTP statuses without a body that says more, and the next step."""


def _not_now(url: str, error: Fields | None, status: int, later: float) -> NotNowError:
    said = _quoted(_message(error))
    return NotNowError(f"{url} answered with HTTP {status}{said}.", "Try again later.", seconds=later)


def _has_failed(code: int | None, status: int, reason: str) -> bool:
    """True if the agent broke over a request that may be good, rather than refused it."""
    if reason in _FAILED_REASONS or code in _ABOUT_REQUESTS or reason in REASONS.values():
        return reason in _FAILED_REASONS
    if code is not None and -32768 <= code <= -32000:
        return True  # -32603, and what servers name as they like (JSON-RPC 2.0 5.1)
    return (status >= 500 and status not in _NOT_DONE) or status < 300


def _error_in(value: JsonValue, status: int) -> Fields | None:
    """The error in an answer, of whatever make: JSON-RPC, REST, problem details, FastAPI."""
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    whole = "result" not in value
    if isinstance(error, dict) and (whole or any(error.values())):  # some print all members, empty ones too
        return error
    for said in (error, value.get("errors")):
        if whole and isinstance(said, str | list) and said:
            return {"message": said}
    if "detail" in value and not {"id", "result", "task", "message"} & value.keys():
        return {"message": value["detail"]}
    if status >= 400 and whole:
        told = next((value[name] for name in ("message", "title", "reason") if value.get(name)), None)
        return None if told is None else {"message": told}
    return None


def _reason(error: Fields, status: int) -> str:
    code = _number(error.get("code"))
    if code in REASONS:
        return REASONS[code]
    details = error.get("details", error.get("data"))
    for item in details if isinstance(details, list) else []:
        if isinstance(item, dict) and isinstance(item.get("reason"), str):
            return str(item["reason"])
    if any(map(_LOST_TASK.search, _said(error))):
        return "TASK_NOT_FOUND"
    named = error.get("status")
    if isinstance(named, str):
        return named
    return _BY_STATUS.get(status, "")


_BY_STATUS = {
    401: AUTH, 404: "NOT_FOUND", 405: "METHOD_NOT_FOUND", 410: "NOT_FOUND", 501: "UNSUPPORTED_OPERATION",
}  # fmt: skip


def _number(value: JsonValue) -> int | None:
    """A code, also where it is written as a text or with a point."""
    try:
        return int(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None


def _message(error: Fields | None) -> str:
    """The message of an error, in whichever member it is."""
    return next(_said(error or {}), "")


def _said(error: Fields) -> Iterator[str]:
    """All that it says: some have the reason beside a message that says nothing."""
    said = (_words(error.get(name)) for name in ("message", "data", "details"))
    return (preview(one, 500) for one in said if one)


def _words(value: JsonValue) -> str:
    match value:
        case str():
            return value.strip()
        case list():  # FastAPI's, among others
            return "; ".join(filter(None, map(_words, value[:5])))
        case {"msg": str(msg), "loc": list(loc)}:
            return f"{'.'.join(map(str, loc))}: {msg}"
        case {"message": str(said)} | {"msg": str(said)} | {"text": str(said)}:
            return said.strip()
        case dict() if value:
            return json.dumps(value, ensure_ascii=False)
        case _:
            return ""


def _quoted(said: str) -> str:
    return f": {said.rstrip('.')}" if said else ""


def _described(media_type: str, body: bytes) -> str:
    if not body.strip():
        return "nothing"
    if "html" in media_type or body.lstrip()[:1] == b"<":
        return "a web page"
    return f"{media_type or 'something'} that is not JSON"
