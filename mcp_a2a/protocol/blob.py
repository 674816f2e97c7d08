"""Files that do not fit into a message: how they are cut, sealed, named in a message, and checked.

    content   in chunks of 64 KiB, each sealed as part of one stream (secretstream): a sealed chunk has 17 bytes more
    piece     5 sealed chunks, in base64: what one envelope carries
    message   names the file as a part with `url` "blob:ID"; its key, length and SHA-256 are in the part's metadata

A message is signed, so its file is signed with it; and who has the pieces alone can do nothing with them. The pieces
go ahead of the message that names them. What a part says about its file is a peer's word until the content was
opened to its end (`FileOpener`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mcp_a2a.errors.protocol import RemoteProtocolError, SealBrokenError
from mcp_a2a.protocol import crypto
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.payload import MAX_BLOB_PIECES, MessageBody, Payload, TaskBody, UpdateBody
from mcp_a2a.protocol.strict_json import base64url_untrusted, to_base64url, validate_untrusted
from mcp_a2a.protocol.text import clean

KIB = 1024
CHUNK_SIZE = 64 * KIB
SEALED_CHUNK_SIZE = CHUNK_SIZE + crypto.STREAM_OVERHEAD
PIECE_CHUNKS = 5
"""As many as in base64 fit into an envelope of 512 KiB. Larger ones would hold up everything else on a slow line."""
PIECE_SIZE = PIECE_CHUNKS * SEALED_CHUNK_SIZE

MAX_FILE_SIZE = MAX_BLOB_PIECES * PIECE_CHUNKS * CHUNK_SIZE
"""100 MiB."""
MAX_RELAYED_SIZE = 10 * KIB * KIB
"""A relay's disk belongs to its operator."""
MAX_RELAYED_PIECES = MAX_RELAYED_SIZE // (PIECE_CHUNKS * CHUNK_SIZE)

MAX_INLINE_SIZE = 64 * KIB
"""A smaller file travels inside the message, as `raw`."""
MAX_INLINE_TOTAL = 256 * KIB
"""All of one message that do."""
MAX_FILES = 32
"""Files that one message may name."""

SCHEME = "blob:"
METADATA_KEY = "https://github.com/mcp-a2a/mcp-a2a/blob/v1"
"""Under which a part's metadata holds what only we need."""

_ID = re.compile(r"[0-9a-f]{32}")


class _Claims(BaseModel):
    """The claims in the metadata of a part."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    key: str = Field(min_length=76, max_length=76)
    size: Annotated[int, Field(ge=0, le=MAX_FILE_SIZE)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A file as a message names it."""

    id: str
    size: int
    """Of the content in bytes."""
    sha256: str
    """Of the content."""
    key: bytes
    header: bytes

    @property
    def chunks(self) -> int:
        """An empty file has one, too."""
        return max(1, -(-self.size // CHUNK_SIZE))

    @property
    def pieces(self) -> int:
        """Messages that it travels in."""
        return -(-self.chunks // PIECE_CHUNKS)

    @property
    def sealed_size(self) -> int:
        """Of all pieces together."""
        return self.size + self.chunks * crypto.STREAM_OVERHEAD

    def to_part(self, filename: str | None, media_type: str | None) -> Part:
        """The part of a message that names the file."""
        claims: dict[str, JsonValue] = {
            "key": to_base64url(self.key + self.header),
            "size": self.size,
            "sha256": self.sha256,
        }
        return Part(url=f"{SCHEME}{self.id}", filename=filename, media_type=media_type, metadata={METADATA_KEY: claims})

    @classmethod
    def of_untrusted(cls, part: Part) -> BlobRef | None:
        """The file that a part names, if it names one.

        Raises:
            RemoteProtocolError: it means to, but does not say what it must.
        """
        if not is_blob(part):
            return None
        blob_id = (part.url or "").removeprefix(SCHEME)
        claims = (part.metadata or {}).get(METADATA_KEY)
        if not _ID.fullmatch(blob_id) or not isinstance(claims, dict):
            raise RemoteProtocolError("A part names a file, but not which.")
        checked = validate_untrusted(_Claims, claims)
        secret = base64url_untrusted(checked.key)
        if len(secret) != crypto.STREAM_KEY_SIZE + crypto.STREAM_HEADER_SIZE:
            raise RemoteProtocolError("The key of a file has another length.")
        key, header = secret[: crypto.STREAM_KEY_SIZE], secret[crypto.STREAM_KEY_SIZE :]
        return cls(blob_id, checked.size, checked.sha256, key, header)


def is_blob(part: Part) -> bool:
    """True if a part names a file that travels beside its message."""
    return part.url is not None and part.url.startswith(SCHEME)


def without_key(part: Part) -> Part:
    """The part as others may see it: its length and SHA-256 stay, its key does not."""
    if not is_blob(part):
        return part
    metadata = dict(part.metadata or {})
    claims = metadata.pop(METADATA_KEY, None)
    if isinstance(claims, dict):
        metadata[METADATA_KEY] = {name: claims[name] for name in ("size", "sha256") if name in claims}
    return part.model_copy(update={"metadata": metadata or None})


def by_content(part: Part) -> Part:
    """The part, the same for the same file however often it was attached."""
    claims = (part.metadata or {}).get(METADATA_KEY) if is_blob(part) else None
    if not isinstance(claims, dict):
        return part
    return part.model_copy(update={"url": f"{SCHEME}{claims.get('sha256')}", "metadata": None})


def refs_untrusted(payload: Payload) -> tuple[BlobRef, ...]:
    """The files that a message names, each once.

    Raises:
        RemoteProtocolError: too many, or one of them is named wrongly.
    """
    refs: dict[str, BlobRef] = {}
    for part in _parts(payload):
        if part.url is not None and (ref := BlobRef.of_untrusted(part)) is not None:
            refs[ref.id] = ref
    if len(refs) > MAX_FILES:
        raise RemoteProtocolError(f"More than {MAX_FILES} files in one message.")
    return tuple(refs.values())


def files_named(payload: Payload) -> int:
    """The number of files that a message names; one that it names twice counts twice."""
    return sum(map(is_blob, _parts(payload)))


def _parts(payload: Payload) -> Sequence[Part]:
    match payload.body:
        case TaskBody(message=message) | MessageBody(message=message):
            return message.parts
        case UpdateBody(status=status) as body:
            parts = [part for artifact in body.artifacts for part in artifact.parts]
            if body.chunks:
                parts += [part for chunk in body.chunks for part in chunk.artifact.parts]
            return [*parts, *status.message.parts] if status.message else parts
        case _:
            return ()


# --- pieces ---------------------------------------------------------------------------------------


def piece_id(blob_id: str, number: int) -> str:
    """The message id of a piece, the same however often it is sent."""
    return f"{blob_id}-{number}"


def piece_of(message_id: str) -> tuple[str, int]:
    """The other way round."""
    blob_id, _, number = message_id.rpartition("-")
    return blob_id, int(number)


def check_piece_untrusted(data: bytes, number: int, pieces: int) -> None:
    """Refuse what cannot be that piece of so many: only the last may be short.

    Raises:
        RemoteProtocolError
    """
    if number >= pieces:
        raise RemoteProtocolError("A piece of a file behind its end.")
    if len(data) > PIECE_SIZE or len(data) < crypto.STREAM_OVERHEAD or (number < pieces - 1 and len(data) < PIECE_SIZE):
        raise RemoteProtocolError("A piece of a file has a size that it cannot have.")


# --- content --------------------------------------------------------------------------------------


class FileSealer:
    """Seals a file as it is read, and ends as the `BlobRef` that names it."""

    def __init__(self, blob_id: str, key: bytes) -> None:
        self._id, self._key = blob_id, key
        self._stream = crypto.StreamSealer(key, blob_id.encode())
        self._digest = hashlib.sha256()
        self._size = 0

    def seal(self, chunk: bytes, *, last: bool) -> bytes:
        """The next chunk, sealed: `CHUNK_SIZE` bytes, or less at the end."""
        self._digest.update(chunk)
        self._size += len(chunk)
        return self._stream.seal(chunk, last=last)

    @property
    def ref(self) -> BlobRef:
        """The whole file."""
        return BlobRef(self._id, self._size, self._digest.hexdigest(), self._key, self._stream.header)


def open_file_untrusted(ref: BlobRef, sealed_chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content, chunk by chunk. A caller that relies on it reads to the end first.

    Raises:
        SealBrokenError: it is not what the message says: another length, another SHA-256, changed or cut.
    """
    stream = crypto.StreamOpener(ref.key, ref.header, ref.id.encode())
    digest, size, number = hashlib.sha256(), 0, 0
    for number, sealed in enumerate(sealed_chunks, 1):
        chunk = stream.open(sealed, last=number == ref.chunks)
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if number != ref.chunks or size != ref.size or digest.hexdigest() != ref.sha256:
        raise SealBrokenError("A file is not the one that its message describes.")


# Names for files that a peer named: new, short, and harmless to every file system and terminal.
#
# A peer's name is a wish. What becomes of it has no folder in it, is not hidden, is no device on any system, and does
# not pretend to be another kind of file by text that runs backwards.

MAX_NAME_BYTES = 120
"""File systems take 255, less what encrypting ones need; and a number may have to go in."""
MAX_SUFFIX_CHARS = 16

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\n\t]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])", re.IGNORECASE)


def safe_name(wished: str | None, fallback: str = "file") -> str:
    """A name for a new file, close to the one that was wished for."""
    last = re.split(r"[/\\]", clean((wished or "")[:4096]))[-1]
    plain = " ".join(_FORBIDDEN.sub("_", last).split()).strip(". ").lstrip("-~")
    stem, suffix = split_name(plain)
    if not stem.strip("._ "):
        stem = fallback
    if _RESERVED.fullmatch(stem.partition(".")[0].strip()):
        stem = f"_{stem}"
    return _cut(stem, MAX_NAME_BYTES - len(suffix.encode())) + suffix


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or with a number in it where it is taken."""
    if name.casefold() not in taken:
        return name
    return next(found for number in count(2) if (found := numbered(name, number)).casefold() not in taken)


def numbered(name: str, number: int) -> str:
    """The name with a number in it: "report (2).pdf"."""
    stem, suffix = split_name(name)
    return f"{stem} ({number}){suffix}"


def split_name(name: str) -> tuple[str, str]:
    """The name without and the suffix with its dot; a long suffix is none."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or not suffix or len(suffix) > MAX_SUFFIX_CHARS or " " in suffix:
        return name, ""
    return stem, dot + suffix


def _cut(text: str, limit: int) -> str:
    return text.encode()[: max(1, limit)].decode(errors="ignore").rstrip(". ")
