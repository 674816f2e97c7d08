"""The specification of the wire protocol names what the code has: labels, frames, codes, fields, numbers."""

from __future__ import annotations

import re

import pytest

from mcp_a2a.node.delivery.reasons import FILE_LOST, REFUSALS, RELAY_REFUSALS, TOO_LARGE_FOR_RELAY
from mcp_a2a.protocol.blob import CHUNK_SIZE, MAX_FILE_SIZE, METADATA_KEY, PIECE_SIZE
from mcp_a2a.protocol.control import LINK_VERSION, MAX_FRAME, MAX_TEXT_FRAME, ByeCode
from mcp_a2a.protocol.envelope import MAX_ENVELOPE, MAX_PAYLOAD
from mcp_a2a.protocol.frames import CONTROL_FRAMES, Row
from mcp_a2a.protocol.payload import BODIES, MAX_TIME, Payload
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS
from mcp_a2a.protocol.strict_json import MAX_MEMBERS, MAX_STRING_BYTES
from mcp_a2a_transports.relay.questions import FAILURES, TICKET_FAILURES
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/protocol.md").read_text()
WORDS = frozenset(re.findall(r"`([a-z_]+)`", PAGE)) | frozenset(re.findall(r'"t":"([a-z]+)"', PAGE))

LOCAL = frozenset({"name"})
"""Labels of what never leaves a machine."""

BY_OUR_OWN_HAND = frozenset({TOO_LARGE_FOR_RELAY, FILE_LOST, "too_many_open"})
"""Codes that no peer of this version sends: a sender settles with them by itself."""


def labels(text: str) -> set[str]:
    return set(re.findall(r"mcp-a2a/(v\d/[a-z-]+)\\0", text))


def test_each_label_of_a_signature_or_a_key_is_on_the_page_and_no_other() -> None:
    code = "".join(file.read_text() for file in (ROOT / "mcp_a2a/protocol").rglob("*.py"))
    assert labels(code) - {f"v1/{name}" for name in LOCAL} == labels(PAGE)


@pytest.mark.parametrize("row", CONTROL_FRAMES, ids=lambda row: row.name)
def test_each_kind_of_frame_is_on_the_page_with_its_fields(row: Row) -> None:
    assert row.name in WORDS
    assert [name for _, name, _ in row.fields if name not in WORDS and f'"{name}"' not in PAGE] == []


@pytest.mark.parametrize("code", ByeCode)
def test_each_reason_to_close_a_link_is_on_the_page(code: ByeCode) -> None:
    assert code.value in WORDS


@pytest.mark.parametrize("code", sorted({*REFUSALS, *RELAY_REFUSALS, *FAILURES, *TICKET_FAILURES} - BY_OUR_OWN_HAND))
def test_each_code_of_a_refusal_is_on_the_page(code: str) -> None:
    assert code in WORDS


def test_each_field_of_a_payload_and_of_its_bodies_is_on_the_page() -> None:
    fields = {field.alias or name for name, field in Payload.model_fields.items()}
    fields |= {name for body in BODIES.values() for name in body.model_fields}
    assert {*fields, *BODIES} - WORDS == set()


SIZES = (MAX_ENVELOPE, MAX_PAYLOAD, MAX_FRAME, MAX_TEXT_FRAME, MAX_STRING_BYTES, CHUNK_SIZE, PIECE_SIZE, MAX_FILE_SIZE)


@pytest.mark.parametrize("number", [*SIZES, MAX_MEMBERS, MAX_TIME, MAX_LIFETIME_SECONDS])
def test_each_limit_is_on_the_page(number: int) -> None:
    assert f"{number:,}" in PAGE or str(number) in PAGE


def test_the_page_has_the_version_of_the_link_and_the_name_of_the_metadata() -> None:
    assert f'"v":{LINK_VERSION},' in PAGE
    assert METADATA_KEY in PAGE
