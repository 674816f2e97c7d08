"""Where to listen, and by which names one may be called there."""

# ruff: noqa: S104  to bind to all interfaces is what is tested

from __future__ import annotations

import socket

import pytest

from mcp_a2a.errors.machine import ConfigurationError, PortInUseError
from mcp_a2a.server import address
from mcp_a2a.server.address import Listen, names_of, url_of


@pytest.mark.parametrize(
    ("text", "host", "port", "local"),
    [
        (":3000", "127.0.0.1", 3000, True),
        ("127.0.0.1:3000", "127.0.0.1", 3000, True),
        ("localhost:0", "127.0.0.1", 0, True),
        ("[::1]:3000", "::1", 3000, True),
        ("::1:3000", "::1", 3000, True),
        ("0.0.0.0:3000", "0.0.0.0", 3000, False),
        ("*:3000", "0.0.0.0", 3000, False),
        ("[::]:3000", "::", 3000, False),
        ("192.168.1.5:80", "192.168.1.5", 80, False),
    ],
)
def test_an_address_is_read_as_people_write_it(text: str, host: str, port: int, local: bool):  # noqa: FBT001
    listen = Listen.parse(text)
    assert (listen.host, listen.port, listen.local) == (host, port, local)


@pytest.mark.parametrize(
    "text", ["", "3000", ":", ":http", ":70000", "example.com:3000", "1.2.3:4", "a:b:c", ":-1", ":٣"]
)
def test_anything_else_is_refused_with_a_sentence(text: str):
    with pytest.raises(ConfigurationError, match=r"listen on.*(Write it as|Use 127)"):
        Listen.parse(text)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_a_star_is_every_address_in_both_families_on_one_port():
    bound = Listen.parse("*:0").bind_all()
    try:
        port = bound[0].getsockname()[1]
        assert [one.getsockname()[:2] for one in bound] == [("0.0.0.0", port), ("::", port)][: len(bound)]
        assert url_of(*bound) == url_of(bound[0])
    finally:
        for one in bound:
            one.close()


def test_where_there_is_ipv6_alone_its_address_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(address, "seen_address", {"::": "fd00::2"}.get)
    bound = Listen.parse("*:0").bind_all()
    try:
        assert url_of(*bound).startswith("http://[fd00::2]:" if len(bound) > 1 else "http://127.0.0.1:")
    finally:
        for one in bound:
            one.close()


def test_a_zone_is_understood_where_one_listens():
    listen = Listen.parse("[FE80:0::1%lo]:3000")
    assert (listen.host, listen.local) == ("fe80::1%lo", False)


def test_a_free_port_is_found():
    with Listen("127.0.0.1", 0).bind() as bound:
        assert url_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize("out", ["192.168.1.5", None])
def test_who_listens_everywhere_is_reached_as_others_see_it(out: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(address, "seen_address", lambda _: out)
    with Listen("0.0.0.0", 0).bind() as bound:
        assert url_of(bound) == f"http://{out or '127.0.0.1'}:{bound.getsockname()[1]}"


def test_a_port_in_use_is_said_to_be():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"127.0.0.1:{port} is already in use"):
            Listen("127.0.0.1", port).bind()


def test_an_address_of_another_machine_is_said_to_be_wrong():
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1:3000"):
        Listen("192.0.2.1", 3000).bind()


@pytest.mark.parametrize(
    ("host", "port", "names"),
    [
        ("127.0.0.1", 3000, {"127.0.0.1:3000", "localhost:3000", "[::1]:3000"}),
        ("::1", 3000, {"127.0.0.1:3000", "localhost:3000", "[::1]:3000"}),
        ("::ffff:127.0.0.1", 3000, {"127.0.0.1:3000", "localhost:3000", "[::1]:3000"}),
        ("192.168.1.5", 3000, {"192.168.1.5:3000"}),
        ("192.168.1.5", 80, {"192.168.1.5:80", "192.168.1.5"}),
        ("fe80::1%eth0", 3000, {"[fe80::1]:3000"}),
    ],
)
def test_a_server_has_the_name_of_its_address_and_no_other(host: str, port: int, names: set[str]):
    assert names_of(host, port) == names
