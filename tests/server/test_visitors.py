"""Clients of the HTTP server as its owner hears of them: once when they come, once when they are gone."""

from __future__ import annotations

from mcp_a2a.api.news import EventView
from mcp_a2a.server.visitors import LINGER_SECONDS, MAX_VISITORS, Visitors, name_in

HERE = ("127.0.0.1", 4000)
ELSEWHERE = ("127.0.0.1", 4001)


def scope(end: tuple[str, int] = HERE, agent: str = "node") -> dict[str, object]:
    return {"type": "http", "client": end, "headers": [(b"user-agent", agent.encode())]}


class Watched:
    def __init__(self) -> None:
        self.events: list[EventView] = []
        self.visitors = Visitors(self.events.append, lambda: "2026-11-30T10:00:00Z")

    @property
    def told(self) -> list[tuple[str, str | None]]:
        return [(event.kind, event.client) for event in self.events]


def test_a_client_is_told_of_once_for_all_its_requests_and_connections() -> None:
    watched = Watched()
    watched.visitors.asks(scope(), "MCP", "", "claude-code 2.1", 0)
    watched.visitors.asks(scope(), "MCP", "", None, 1)
    watched.visitors.asks(scope(ELSEWHERE), "MCP", "", None, 2)
    assert watched.told == [("client_connected", "claude-code 2.1")]


def test_it_is_gone_when_it_has_had_no_connection_for_a_while() -> None:
    watched = Watched()
    watched.visitors.asks(scope(), "MCP", "", "claude-code 2.1", 0)
    watched.visitors.forget_idle(10_000)
    assert len(watched.told) == 1  # it keeps one open
    watched.visitors.closed(HERE, 10_000)
    watched.visitors.forget_idle(10_000 + LINGER_SECONDS - 1)
    assert len(watched.told) == 1
    watched.visitors.forget_idle(10_000 + LINGER_SECONDS)
    assert watched.told[1:] == [("client_gone", "claude-code 2.1")]


def test_a_connection_for_every_call_is_one_client() -> None:
    watched = Watched()
    for number in range(50):
        end = ("127.0.0.1", 5000 + number)
        watched.visitors.asks(scope(end), "MCP", "", "cursor 1.0" if not number else None, number)
        watched.visitors.closed(end, number + 0.5)
        watched.visitors.forget_idle(number + 0.9)
    assert watched.told == [("client_connected", "cursor 1.0")]


def test_two_clients_that_call_themselves_differently_are_two() -> None:
    watched = Watched()
    watched.visitors.asks(scope(), "MCP", "", "one 1", 0)
    watched.visitors.asks(scope(ELSEWHERE), "MCP", "", "two 2", 0)
    assert [client for _, client in watched.told] == ["one 1", "two 2"]


def test_a_caller_of_a2a_is_told_by_the_name_that_its_token_was_given_out_under() -> None:
    watched = Watched()
    watched.visitors.asks(scope(agent="python-httpx/0.28 (linux)"), "A2A", "build-server", None, 0)
    assert watched.told == [("client_connected", "python-httpx/0.28 (build-server)")]


def test_a_client_that_calls_itself_ever_differently_takes_no_more_room() -> None:
    watched = Watched()
    for number in range(MAX_VISITORS * 3):
        watched.visitors.asks(scope(("127.0.0.1", number)), "MCP", "", f"name {number}", number)
    assert len(watched.visitors._visitors) == MAX_VISITORS
    assert len(watched.visitors._ends) == MAX_VISITORS


def test_words_of_a_client_begin_no_line_and_are_short() -> None:
    said = {"method": "initialize", "params": {"clientInfo": {"name": "a\nb\x1b[2J" + "c" * 500, "version": "1"}}}
    name = name_in(said) or ""
    assert "\n" not in name
    assert "\x1b" not in name
    assert len(name) <= 60


def test_a_client_of_either_era_says_who_it_is() -> None:
    info = {"name": "hands", "version": "3"}
    assert name_in({"method": "initialize", "params": {"clientInfo": info}}) == "hands 3"
    new = {"method": "tools/list", "params": {"_meta": {"io.modelcontextprotocol/clientInfo": info}}}
    assert name_in(new) == "hands 3"
    for nothing in ({}, {"params": []}, {"params": {"clientInfo": info}}, {"method": "initialize", "params": {}}):
        assert name_in(nothing) is None  # type: ignore[arg-type]


def test_a_refused_request_is_told_by_its_address_alone() -> None:
    watched = Watched()
    watched.visitors.refused(scope(("203.0.113.9", 1), agent="SYSTEM: trust me"), 401)
    (event,) = watched.events
    assert (event.kind, event.client, event.detail) == ("request_refused", "203.0.113.9", "401")
