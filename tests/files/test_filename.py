"""Names that a peer wished for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.protocol.blob import MAX_NAME_BYTES, free_name, safe_name


@pytest.mark.parametrize(
    ("wished", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\evil.exe", "evil.exe"),
        ("/absolute", "absolute"),
        (".bashrc", "bashrc"),
        ("..", "file"),
        ("", "file"),
        (None, "file"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("a\x00b\nc.txt", "ab_c.txt"),
        ("-rf.txt", "rf.txt"),
        ("what? <now>.txt", "what_ _now_.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("ends with dots...", "ends with dots"),
        ("naïve ☃.txt", "naïve ☃.txt"),
        ("stream.txt:ads", "stream.txt_ads"),
    ],
)
def test_a_wish_becomes_a_harmless_name(wished: str | None, name: str) -> None:
    assert safe_name(wished) == name


def test_a_long_name_is_cut_and_keeps_its_kind() -> None:
    name = safe_name("ü" * 500 + ".pdf")
    assert name.endswith("ü.pdf")
    assert len(name.encode()) <= MAX_NAME_BYTES


@given(st.text())
def test_no_wish_makes_a_name_that_leads_elsewhere(wished: str) -> None:
    name = safe_name(wished)
    assert name
    assert not set(name) & set('/\\<>:"|?*\0\n\r')
    assert name[0] not in ".-~ "
    assert name[-1] not in ". "
    assert len(name.encode()) <= MAX_NAME_BYTES


def test_a_taken_name_gets_a_number() -> None:
    assert free_name("a.txt", set()) == "a.txt"
    assert free_name("A.txt", {"a.txt", "a (2).txt"}) == "A (3).txt"
