"""The page about the architecture names files that exist, and the rules that are checked."""

from __future__ import annotations

import re

import pytest

from tests.docs.architecture import PAGE, ROOT, filled

TEXT = PAGE.read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"(?:mcp_a2a|transports|tests)/[\w/]*(?:\.py)?", TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_each_file_of_the_page_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_rules_about_imports_are_those_of_the_configuration() -> None:
    assert filled(TEXT) == TEXT, "python -m tests.docs.architecture writes them anew"


def test_each_package_of_the_product_is_on_the_page() -> None:
    packages = {f"mcp_a2a/{init.parent.name}/" for init in (ROOT / "mcp_a2a").glob("*/__init__.py")}
    assert packages - set(re.findall(r"`(mcp_a2a/\w+/)`", TEXT)) == set()
