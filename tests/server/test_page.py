"""A person who opens the server's address in a browser, or with curl, reads what it is; no program ever does."""

from __future__ import annotations

import pytest

from mcp_a2a.server.page import page, wants_page

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def asked(accept: str | None, agent: str = "node", method: str = "GET", path: str = "/mcp") -> dict[str, object]:
    headers = [(b"user-agent", agent.encode())]
    headers += [(b"accept", accept.encode())] if accept is not None else []
    return {"type": "http", "method": method, "path": path, "headers": headers, "server": ("127.0.0.1", 3000)}


@pytest.mark.parametrize(
    ("request_", "is_person"),
    [
        (asked(BROWSER, "Mozilla/5.0"), True),
        (asked("*/*", "curl/8.5.0"), True),
        (asked(None, "curl/8.5.0"), True),
        (asked("text/event-stream", "curl/8.5.0"), False),
        (asked("application/json, text/event-stream"), False),
        (asked("text/event-stream"), False),
        (asked("*/*", "python-requests/2.32"), False),
        (asked(None), False),
        (asked(BROWSER, "Mozilla/5.0", method="POST"), False),
    ],
)
def test_a_person_is_told_from_a_program_by_what_is_accepted(request_: dict[str, object], *, is_person: bool) -> None:
    assert wants_page(request_) is is_person


def test_the_page_names_the_urls_to_give_away_and_runs_nothing() -> None:
    response = page(asked(BROWSER), "https://agents.example", mcp=True)
    text = bytes(response.body).decode()
    assert "https://agents.example/mcp" in text
    assert "<script" not in text
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in response.headers


def test_an_origin_with_markup_in_it_is_text() -> None:
    assert "<b>" not in bytes(page(asked(BROWSER), "https://<b>x</b>", mcp=True).body).decode()


def test_curl_gets_plain_text() -> None:
    response = page(asked("*/*", "curl/8"), "http://127.0.0.1:3000", mcp=False)
    assert response.headers["content-type"].startswith("text/plain")
    assert b"/mcp" not in response.body
