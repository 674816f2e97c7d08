"""The settings that a front reads by itself are those that the node would read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcp_a2a.config import Settings, load_settings
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.front.plain import _CHECKS, read_plain


def test_every_setting_is_one_that_the_front_can_judge() -> None:
    assert set(_CHECKS) == set(Settings.model_fields)


GOOD: list[tuple[dict[str, object], dict[str, str]]] = [
    ({}, {}),
    ({"home": "/srv/a", "identity": "work_1", "mdns": False}, {}),
    ({"allow_strangers": True}, {"MCP_A2A_HOME": "/srv/b c"}),
    ({}, {"MCP_A2A_IDENTITY": "x", "MCP_A2A_NAME": "Anna B", "MCP_A2A_HOP": "2", "MCP_A2A_ALLOW_STRANGERS": "yes"}),
    ({}, {"MCP_A2A_FILE_ROOTS": "/srv/a:/srv/b:", "MCP_A2A_DOWNLOADS": "/srv/d", "MCP_A2A_ACCEPT": "anyone"}),
    ({}, {"MCP_A2A_LINK_PORT": "0", "MCP_A2A_LEASE_SECONDS": "1.5", "MCP_A2A_MDNS": "0", "MCP_A2A_IDENTITY": ""}),
    ({"name": "Zoë"}, {"MCP_A2A_HOME": "~/a", "MCP_A2A_FILE_ROOTS": "~/docs:~", "MCP_A2A_DOWNLOADS": "~/in"}),
    ({"identity": "flag"}, {"MCP_A2A_IDENTITY": "variable", "MCP_A2A_UNKNOWN": "?"}),
]
ODD: list[tuple[dict[str, object], dict[str, str]]] = [
    ({"identity": "No Good"}, {}),
    ({"name": "a\u202eb"}, {}),
    ({"name": "x" * 33}, {}),
    ({"name": "self"}, {}),
    ({}, {"MCP_A2A_NAME": "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"[:20]}),
    ({"home": ""}, {}),
    ({}, {"MCP_A2A_HOME": "relative"}),
    ({}, {"MCP_A2A_HOME": "/srv/$X"}),
    ({}, {"MCP_A2A_HOP": "-1"}),
    ({}, {"MCP_A2A_LINK_PORT": "65536"}),
    ({}, {"MCP_A2A_ACCEPT": "everybody"}),
    ({}, {"MCP_A2A_MDNS": "perhaps"}),
    ({}, {"MCP_A2A_LEASE_SECONDS": "0"}),
    ({}, {"MCP_A2A_LEASE_SECONDS": "inf"}),
    ({}, {"MCP_A2A_LEASE_SECONDS": "1000000000000"}),
    ({}, {"MCP_A2A_DOWNLOADS": "there"}),
]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    for name in list(os.environ):
        if name.upper().startswith("MCP_A2A_") or name == "XDG_DATA_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return {"HOME": str(tmp_path)}


@pytest.mark.parametrize(("flags", "variables"), GOOD)
def test_what_it_reads_is_what_the_node_reads(
    flags: dict[str, object], variables: dict[str, str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    plain, settings = read_plain(flags, environ | variables), load_settings(flags)
    assert plain is not None
    assert plain.folder == settings.folder
    assert (plain.allow_strangers, plain.hop) == (settings.allow_strangers, settings.hop)
    assert plain.file_roots == tuple(map(str, settings.file_roots))
    assert plain.downloads == (None if settings.downloads is None else str(settings.downloads))


@pytest.mark.parametrize(("flags", "variables"), ODD)
def test_what_may_not_be_taken_is_left_to_the_node_that_refuses_it(
    flags: dict[str, object], variables: dict[str, str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read_plain(flags, environ | variables) is None
    with pytest.raises(ConfigurationError):
        load_settings(flags)


def test_an_account_without_a_home_folder_and_a_variable_in_two_spellings_are_left_to_the_node() -> None:
    assert read_plain({}, {}) is None
    assert read_plain({"home": "/srv"}, {"MCP_A2A_IDENTITY": "a", "mcp_a2a_identity": "b"}) is None
