"""How a file is cut, sealed, named and checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import RemoteProtocolError, SealBrokenError
from mcp_a2a.protocol.blob import (
    CHUNK_SIZE,
    MAX_FILE_SIZE,
    METADATA_KEY,
    PIECE_CHUNKS,
    PIECE_SIZE,
    BlobRef,
    FileSealer,
    check_piece_untrusted,
    open_file_untrusted,
    piece_id,
    piece_of,
    without_key,
)
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.payload import MAX_BLOB_CHARS
from mcp_a2a.protocol.strict_json import to_base64url

ID = "0123456789abcdef" * 2


def sealed(content: bytes) -> tuple[BlobRef, list[bytes]]:
    sealer = FileSealer(ID, bytes(32))
    chunks = [content[start : start + CHUNK_SIZE] for start in range(0, len(content), CHUNK_SIZE)] or [b""]
    out = [sealer.seal(chunk, last=number == len(chunks)) for number, chunk in enumerate(chunks, 1)]
    return sealer.ref, out


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, PIECE_CHUNKS * CHUNK_SIZE + 1])
def test_a_sealed_file_opens_to_the_same_bytes(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    ref, chunks = sealed(content)
    assert b"".join(open_file_untrusted(ref, chunks)) == content
    assert sum(map(len, chunks)) == ref.sealed_size
    assert len(chunks) == ref.chunks
    assert ref.pieces == -(-ref.chunks // PIECE_CHUNKS)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda chunks: chunks[:-1],
        lambda chunks: chunks[::-1],
        lambda chunks: [*chunks, chunks[-1]],
        lambda chunks: [chunks[0], chunks[0], *chunks[1:]],
        lambda chunks: [bytes([chunks[0][0] ^ 1]) + chunks[0][1:], *chunks[1:]],
        lambda chunks: [b"", *chunks],
        lambda chunks: [],
    ],
)
def test_a_file_that_lost_a_piece_or_was_changed_does_not_open(spoil) -> None:
    ref, chunks = sealed(bytes(3 * CHUNK_SIZE))
    with pytest.raises(SealBrokenError):
        list(open_file_untrusted(ref, spoil(chunks)))


def test_a_file_that_is_not_the_one_described_does_not_pass() -> None:
    ref, chunks = sealed(b"content")
    for lie in (BlobRef(ID, ref.size, "0" * 64, ref.key, ref.header), BlobRef(ID, 6, ref.sha256, ref.key, ref.header)):
        with pytest.raises(SealBrokenError):
            list(open_file_untrusted(lie, chunks))


def test_a_part_names_its_file_and_nobody_else_sees_the_key() -> None:
    ref, _ = sealed(b"content")
    part = ref.to_part("report.pdf", "application/pdf")
    assert BlobRef.of_untrusted(Part.model_validate_json(part.to_json())) == ref
    shown = without_key(part)
    assert (shown.url, shown.filename) == (f"blob:{ID}", "report.pdf")
    assert shown.metadata == {METADATA_KEY: {"size": 7, "sha256": ref.sha256}}


def test_other_parts_name_no_file() -> None:
    assert BlobRef.of_untrusted(Part(text="blob:")) is None
    assert BlobRef.of_untrusted(Part(url="https://files.example/x")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"key": "short"},
        {"key": to_base64url(bytes(55)) + "A"},
        {"size": -1},
        {"size": MAX_FILE_SIZE + 1},
        {"size": True},
        {"size": "7"},
        {"sha256": "A" * 64},
        {"sha256": None},
    ],
)
def test_a_part_with_a_wrong_description_is_refused(change: dict[str, object]) -> None:
    ref, _ = sealed(b"content")
    claims = {"key": to_base64url(ref.key + ref.header), "size": ref.size, "sha256": ref.sha256, **change}
    with pytest.raises(RemoteProtocolError):
        BlobRef.of_untrusted(Part.model_validate({"url": f"blob:{ID}", "metadata": {METADATA_KEY: claims}}))


@pytest.mark.parametrize("url", ["blob:", "blob:../../etc/passwd", f"blob:{ID}0", f"blob:{ID.upper()}"])
def test_a_part_with_a_wrong_id_is_refused(url: str) -> None:
    ref, _ = sealed(b"content")
    with pytest.raises(RemoteProtocolError):
        BlobRef.of_untrusted(ref.to_part(None, None).model_copy(update={"url": url}))


def test_only_the_last_piece_is_short() -> None:
    check_piece_untrusted(bytes(PIECE_SIZE), 0, 2)
    check_piece_untrusted(bytes(17), 1, 2)
    for data, number, pieces in (
        (bytes(17), 0, 2),
        (bytes(PIECE_SIZE + 1), 0, 2),
        (bytes(16), 1, 2),
        (bytes(17), 2, 2),
    ):
        with pytest.raises(RemoteProtocolError):
            check_piece_untrusted(data, number, pieces)


def test_the_largest_piece_fits_into_its_message() -> None:
    assert len(to_base64url(bytes(PIECE_SIZE))) <= MAX_BLOB_CHARS


@given(st.integers(0, 319))
def test_the_id_of_a_piece_tells_which_it_is(number: int) -> None:
    assert piece_of(piece_id(ID, number)) == (ID, number)
