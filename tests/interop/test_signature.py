"""Signatures of cards, ours and those of the official SDK, as each other sees them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import anyio
import pytest

from mcp_a2a.a2a.client_card import card_of
from mcp_a2a.errors.web import CardError
from mcp_a2a.protocol.signed_card import verify_card
from tests.a2a.conftest import serving
from tests.interop.conftest import python_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).parent / "programs" / "signature_1.py"

TOKEN = "t" * 40


async def test_the_sdk_verifies_our_card_and_we_verify_its(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    python = python_with(request.config.cache, "1")
    async with serving(tmp_path, token=TOKEN) as served:  # so that there are security schemes in the card
        finished = await anyio.run_process([str(python), str(PROGRAM), served.url], stderr=subprocess.PIPE, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    seen = json.loads(finished.stdout)
    assert seen["verified"] == "behaving"
    theirs = verify_card(seen["signed"])
    assert str(theirs.key) == seen["did"]
    assert card_of(theirs.card, "http://127.0.0.1:1/").name == "sdk-agent"
    with pytest.raises(CardError):
        verify_card({**seen["signed"], "name": "eve"})
