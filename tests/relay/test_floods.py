"""Whatever one client sends, a relay goes on serving the others, and its memory stays where it was."""

from __future__ import annotations

import json
import os
import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import anyio
import anyio.abc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.protocol.control import Bye, Delivered, Refused, Role, Stored
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Handshake, Side, Target
from mcp_a2a.protocol.pending_connections import WAIT_SECONDS
from tests.protocol.clear import ClearRelaySession
from tests.relay.guest import Door, Guest, envelope, open_door, person
from tests.relay.process import MIB, RelayProcess, relay_process

WORDS = ["challenge", "hello", "welcome", "delivered", "stored", "held", "refused", "bundle", "ping", "pong", "bye",
         "watch", "presence", "find", "found", "check", "offer", "claim", "claimed", "done", "failed"]  # fmt: skip
WRONG: list[object] = [None, [], {}, "x", -1, 1.5, True, "f" * 32, ["f" * 32], [None], 2**60, "\u202e\0"]
FIELDS = ["n", "id", "ids", "marks", "sig", "did", "net", "code", "epoch", "since", "sealed", "uses", "expires",
          "bundle", "v", "nonce", "networks", "retry_after", "online", "on", "off", "rev"]  # fmt: skip

GARBAGE: dict[str, str | bytes] = {
    "null": "null",
    "an array": "[]",
    "a number": "42",
    "a string": '"ping"',
    "nothing": "",
    "no kind": "{}",
    "a kind that is null": '{"t":null}',
    "a kind that is an array": '{"t":["ping"]}',
    "not JSON": "{t:1",
    "NaN": '{"t":"ping","n":NaN}',
    "a key twice": '{"t":"ping","n":1,"n":2}',
    "a surrogate": '{"t":"ping","n":"\\ud800"}',
    "an abyss": '{"t":"ping","n":' + "[" * 20_000 + "]" * 20_000 + "}",
    "a text that is too long": '{"t":"' + "x" * 70_000 + '"}',
    "an empty envelope": b"",
    "random bytes": os.urandom(1712),
    "a header alone": b"A2E\x01" + bytes(60),
    "an envelope of an odd size": b"A2E\x01" + bytes(1000),
    "a listing of an odd size": b"A2L\x01" + bytes(1000),
    "a receipt for nothing": '{"t":"delivered","marks":[],"sig":"' + "0" * 128 + '"}',
    "a receipt for too many": '{"t":"delivered","marks":[' + ",".join(['"' + "0" * 96 + '"'] * 300) + '],"sig":"'
    + "0" * 128 + '"}',
}  # fmt: skip


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One relay for all of this, so that what one test leaves behind the next would meet."""
    with relay_process(tmp_path_factory.mktemp("relay"), rate=1e9, burst=10**6, rate_mib=1e5) as relay:
        yield relay


async def serves(door: Door) -> None:
    """A message from one honest client to another, in a moment."""
    with anyio.fail_after(30):
        alice, bob = await door.enter(), await door.enter()
        sealed = envelope(bob.peer)
        await alice.send(sealed)
        assert await bob.take() == sealed
        await alice.answer_to(sealed, Delivered)
        await alice.cut()
        await bob.cut()


async def to_the_end(guest: Guest) -> list[object]:
    """What is said until the connection ends."""
    frames = []
    with anyio.fail_after(30), suppress(ConnectionError):
        while (frame := await guest.receive()) is not None:
            frames.append(frame)
    return frames


async def told_a_stranger(door: Door, frame: str | bytes) -> list[object]:
    """What is said to a client that has proven nothing, until the connection ends."""
    socket, said = await door.knock(), []
    await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
    with anyio.fail_after(30), suppress(ConnectionError):
        while (message := await socket.receive()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            said.append(decode_untrusted(message.data))
    return said


@pytest.mark.parametrize("what", GARBAGE)
@pytest.mark.parametrize("proven", [False, True])
async def test_garbage_ends_its_own_connection_with_a_word(relay: RelayProcess, what: str, proven: bool) -> None:  # noqa: FBT001
    async with open_door(relay.port) as door:
        if proven:
            guest = await door.enter()
            await guest.send(GARBAGE[what])
            said = await to_the_end(guest)
        else:
            said = await told_a_stranger(door, GARBAGE[what])
        assert isinstance(said[-1], Bye), said
        await serves(door)


async def test_frames_with_missing_and_wrong_fields_never_hurt_anybody_else(relay: RelayProcess) -> None:
    async with open_door(relay.port) as door:
        bystander = await door.enter()
        for word in WORDS:
            for field in FIELDS[:: 1 + len(word) % 3]:
                wrong = WRONG[(len(word) * 7 + len(field)) % len(WRONG)]
                guest = await door.enter(bystander.who)
                await guest.send(json.dumps({"t": word, field: wrong}))
                await guest.cut()
        await serves(door)


# --- below the link protocol ----------------------------------------------------------------------

UPGRADE = (
    b"GET /link HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
BELOW: dict[str, bytes] = {
    "silence": b"",
    "half a request": UPGRADE[:40],
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00" + os.urandom(200),
    "an endless header": b"GET /link HTTP/1.1\r\nX: " + b"x" * 100_000,
    "endless headers": b"GET /link HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
    "a body that never comes": b"POST /link HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
    "an upgrade and nothing else": UPGRADE,
    "a frame without a mask": UPGRADE + b"\x82\x05hello",
    "a reserved opcode": UPGRADE + b"\x83\x80\0\0\0\0",
    "a reserved bit": UPGRADE + b"\xc2\x80\0\0\0\0",
    "a ping of WebSocket": UPGRADE + b"\x89\x80\0\0\0\0",
    "a close of WebSocket": UPGRADE + b"\x88\x80\0\0\0\0",
    "text that is not UTF-8": UPGRADE + b"\x81\x82\0\0\0\0\xff\xff",
    "a frame of 64 MiB, announced": UPGRADE + b"\x82\xff" + struct.pack(">Q", 64 * MIB) + b"\0\0\0\0" + bytes(1000),
    "a frame of 2**63 bytes, announced": UPGRADE + b"\x82\xff" + struct.pack(">Q", 2**63 - 1) + b"\0\0\0\0",
    "endless pieces of a frame": UPGRADE + b"\x02\x81\0\0\0\0x" + b"\x00\x81\0\0\0\0x" * 5000,
}


@pytest.mark.slow
async def test_what_is_no_websocket_or_a_bad_one_is_ended_in_time(relay: RelayProcess) -> None:
    """All at once: what is silent is waited for, and that takes its time."""
    ended: set[str] = set()

    async def attack(what: str) -> None:
        async with await anyio.connect_tcp("127.0.0.1", relay.port) as stream:
            with suppress(anyio.BrokenResourceError):
                await stream.send(BELOW[what])
            with anyio.move_on_after(8) as patience, suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()
            if not patience.cancelled_caught:
                ended.add(what)

    async def drip() -> None:
        """A byte now and then is no way to stay."""
        async with await anyio.connect_tcp("127.0.0.1", relay.port) as stream:
            with anyio.fail_after(WAIT_SECONDS + 3), suppress(anyio.BrokenResourceError):
                for byte in UPGRADE[:60]:
                    await stream.send(bytes([byte]))
                    await anyio.sleep(0.3)
                return
            ended.add("a byte at a time")

    async with open_door(relay.port) as door, anyio.create_task_group() as attacks:
        attacks.start_soon(drip)
        for what in BELOW:
            attacks.start_soon(attack, what)
            await serves(door)
    assert ended == {*BELOW, "a byte at a time"}


async def test_two_thousand_connections_that_prove_nothing_keep_nobody_out(relay: RelayProcess) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2500 if hard == resource.RLIM_INFINITY else min(2500, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    before = relay.memory
    streams: list[anyio.abc.SocketStream] = []

    async def connect() -> None:
        with suppress(OSError):
            stream = await anyio.connect_tcp("127.0.0.1", relay.port)
            streams.append(stream)
            with suppress(anyio.BrokenResourceError):
                await stream.send(UPGRADE)

    async with open_door(relay.port) as door:
        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(connect)
            await serves(door)
        assert relay.memory - before < 64 * MIB
        for stream in streams:
            await stream.aclose()
        await serves(door)
    assert len(streams) == 2000


async def test_two_thousand_members_of_nothing_may_be_here_at_once(relay: RelayProcess) -> None:
    before = relay.memory
    who = [person() for _ in range(40)]
    async with open_door(relay.port) as door:
        for one in who:
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(door.enter, one)
        await serves(door)
        assert relay.memory - before < 32 * MIB


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_hundred_thousand_deposits_to_keys_that_nobody_has_leave_nothing(tmp_path: Path) -> None:
    with relay_process(tmp_path, rate=1e9, burst=10**7, rate_mib=1e6) as relay:
        async with open_door(relay.port) as door:
            alice = await door.enter()
            bob = await door.enter()
            await bob.leave()
            await alice.submit(envelope(bob.peer), Stored)  # so that everything before it is on disk, too
            prefix = envelope(alice.peer, body=624 - 64)

            async def flood(count: int) -> None:
                for _ in range(count // 100):
                    for _ in range(100):
                        # Any 32 bytes are a key to a relay that knows none of them, if they are written as one.
                        key = os.urandom(31) + b"\x01"
                        await alice.send(prefix[:4] + key + prefix[36:44] + os.urandom(16) + prefix[60:])
                    for _ in range(100):
                        frame = await alice.receive()
                        assert isinstance(frame, Refused)
                        assert frame.code == "no_mailbox"

            await flood(2_000)
            memory, rows = relay.memory, relay.rows
            await flood(100_000)
            assert relay.memory - memory <= 10 * MIB
            assert relay.rows == rows


# --- one session, fuzzed --------------------------------------------------------------------------


class Deaf:
    """A service that does nothing, so that only the session itself is tried."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


FIELD_VALUES = st.sampled_from(WRONG) | st.text(max_size=40) | st.integers() | st.binary(max_size=40).map(bytes.hex)


@settings(max_examples=300)
@given(
    st.lists(
        st.binary(max_size=2000)
        | st.text(max_size=200)
        | st.builds(
            lambda word, fields: json.dumps({"t": word, **fields}),
            st.sampled_from(WORDS),
            st.dictionaries(st.sampled_from(FIELDS), FIELD_VALUES, max_size=6),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_a_session_takes_any_frame_or_raises_what_peers_may_cause_and_then_says_goodbye(
    frames: list[str | bytes],
    opened: bool,  # noqa: FBT001
) -> None:
    me, relay_key = PEOPLE
    listener = Handshake(Side.LISTENER, relay_key.identity, relay_key.ring.current, bytes(32), Target(role=Role.RELAY))
    session = ClearRelaySession(Deaf(), listener, 0.0)
    if opened:
        dialler = Handshake(Side.DIALLER, me.identity, me.ring.current, bytes(32), Target(role=Role.RELAY))
        step = dialler.receive_untrusted(decode_untrusted(session.heard()[0]))
        session.receive_frame_untrusted(encode(step.reply), 0.0)  # type: ignore[union-attr]
        assert session.peer == me.peer
    try:
        for frame in frames:
            session.receive_frame_untrusted(frame, 1.0)
    except RemoteProtocolError:
        assert session.is_closed
        assert isinstance(decode_untrusted(session.heard()[-1]), Bye)


PEOPLE = (person(), person())
