"""The values of `docs/vectors` are what this implementation comes to, and what it reads (docs/protocol.md)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from mcp_a2a.errors.networks import TicketError
from mcp_a2a.errors.protocol import RemoteProtocolError, SealBrokenError
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.blob import BlobRef, open_file_untrusted
from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import UnknownFrame
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.network import Network, open_invitation_untrusted
from mcp_a2a.protocol.payload import BODIES, Payload
from mcp_a2a.protocol.receipt import receipt_is_valid, verdict_is_valid
from mcp_a2a.protocol.ticket import Ticket
from tests.docs.pages import ROOT
from tests.protocol.make_vectors import FIXED, FOLDER, Values, text_of
from tests.protocol.people import ALICE, BOB


def read(name: str) -> Values:
    values: Values = json.loads((FOLDER / f"{name}.json").read_text())
    return values


VECTORS = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize("name", FIXED)
def test_the_values_follow_from_the_keys_and_secrets_of_their_file(name: str) -> None:
    assert text_of(FIXED[name]()) == (FOLDER / f"{name}.json").read_text()


def test_the_specification_names_each_file_of_vectors() -> None:
    page = (ROOT / "docs/protocol.md").read_text()
    assert [path.name for path in FOLDER.iterdir() if f"(vectors/{path.name})" not in page] == []


@pytest.mark.parametrize("did", VECTORS["identity"]["refused_dids"])
def test_another_spelling_of_a_key_is_refused(did: str) -> None:
    with pytest.raises(RemoteProtocolError):
        PeerId.parse_untrusted(did)


@pytest.mark.parametrize("key", VECTORS["identity"]["refused_keys"])
def test_a_key_of_low_order_is_refused(key: str) -> None:
    with pytest.raises(RemoteProtocolError):
        PeerId(bytes.fromhex(key))


@pytest.mark.parametrize("bundle", VECTORS["bundle"]["bundles"], ids=lambda one: f"suite {one['suite']}")
def test_a_bundle_is_read_as_it_was_written(bundle: dict[str, str]) -> None:
    assert KeyBundle.parse_untrusted(bundle["text"]).to_text() == bundle["text"]


@pytest.mark.parametrize("text", VECTORS["frames"]["frames"])
def test_a_frame_is_read_as_it_was_written(text: str) -> None:
    frame = decode_untrusted(text.encode())
    assert encode(frame) == text  # type: ignore[arg-type]  # each of them is a control frame


@pytest.mark.parametrize("text", VECTORS["frames"]["ignored"])
def test_what_a_later_version_adds_to_a_frame_is_ignored(text: str) -> None:
    frame = decode_untrusted(text.encode())
    assert isinstance(frame, UnknownFrame) or encode(frame) == '{"t":"ping","n":1}'  # type: ignore[arg-type]


@pytest.mark.parametrize("text", VECTORS["frames"]["refused"])
def test_a_frame_that_lacks_what_it_must_have_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_untrusted(text.encode())


def test_receipts_and_verdicts_are_valid_for_their_postmarks_alone() -> None:
    values = VECTORS["receipt"]
    marks = [bytes.fromhex(mark) for mark in values["receipt"]["marks"]]
    signature = bytes.fromhex(values["receipt"]["signature"])
    assert receipt_is_valid(BOB.peer_id, marks, signature)
    assert not receipt_is_valid(BOB.peer_id, marks[:1], signature)
    for verdict in values["verdicts"]:
        signed = bytes.fromhex(verdict["signature"])
        assert verdict_is_valid(BOB.peer_id, marks[0], verdict["verdict"], signed)
        assert not verdict_is_valid(BOB.peer_id, marks[1], verdict["verdict"], signed)


def test_there_is_a_payload_of_each_type_that_is_read_as_it_was_written() -> None:
    texts = VECTORS["payload"]["payloads"]
    assert [Payload.parse_untrusted(text.encode()).to_bytes().decode() for text in texts] == texts
    sealed = {case["name"].rpartition(" ")[2] for case in VECTORS["messages"]["cases"] if "of type" in case["name"]}
    assert {Payload.parse_untrusted(text.encode()).type for text in texts} | sealed >= set(BODIES)


def test_an_advert_is_read_as_it_was_written() -> None:
    assert Advert.parse_untrusted(VECTORS["payload"]["advert"]).to_text() == VECTORS["payload"]["advert"]


def test_an_invitation_and_a_directory_entry_open_with_what_their_network_has() -> None:
    values = VECTORS["network"]
    network = Network(bytes.fromhex(values["secret"]))
    invitation, listed = values["invitation"], bytes.fromhex(values["listing"]["wire"])
    token, sealed = bytes.fromhex(invitation["token"]), bytes.fromhex(invitation["sealed"])
    assert open_invitation_untrusted(token, sealed) == network
    assert (
        Listing.parse_untrusted(listed).open_untrusted(network.directory_key).to_text() == values["listing"]["advert"]
    )
    withdrawn = Listing.parse_untrusted(bytes.fromhex(values["withdrawal"]["wire"]))
    assert (withdrawn.is_withdrawal, withdrawn.is_signed, withdrawn.peer) == (True, True, ALICE.peer_id)


@pytest.mark.parametrize("ticket", VECTORS["ticket"]["tickets"], ids=lambda one: one["network"])
def test_a_ticket_says_what_its_line_says(ticket: dict[str, object]) -> None:
    read_back = Ticket.parse_untrusted(str(ticket["text"]).upper())
    assert (read_back.network, str(read_back.owner), list(read_back.relays)) == (
        ticket["network"],
        ticket["owner"],
        ticket["relays"],
    )


@pytest.mark.parametrize("line", VECTORS["ticket"]["refused"])
def test_a_line_that_is_no_ticket_is_refused(line: str) -> None:
    with pytest.raises(TicketError):
        Ticket.parse_untrusted(line)


def changed(chunks: list[bytes]) -> list[list[bytes]]:
    """Files that are not this one: a chunk left out, one more, one changed."""
    last = bytearray(chunks[-1])
    last[0] ^= 1
    return [chunks[:-1], [*chunks, chunks[-1]], [*chunks[:-1], bytes(last)]]


@pytest.mark.parametrize("file", VECTORS["file"]["files"], ids=lambda one: f"{one['size']} bytes")
def test_a_file_opens_with_the_key_of_its_part_and_whole(file: dict[str, object]) -> None:
    size, chunks = file["size"], [base64.b64decode(chunk) for chunk in file["chunks"]]  # type: ignore[attr-defined]
    assert isinstance(size, int)
    ref = BlobRef.of_untrusted(Part.model_validate(file["part"]))
    assert ref is not None
    assert b"".join(open_file_untrusted(ref, chunks)) == bytes(number % 251 for number in range(size))
    opened: Callable[[list[bytes]], list[bytes]] = lambda some: list(open_file_untrusted(ref, some))  # noqa: E731
    for other in changed(chunks):
        with pytest.raises(SealBrokenError):
            opened(other)
