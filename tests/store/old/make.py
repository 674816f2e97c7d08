"""Makes `schema-4.sql`: the database of a node of commit 79c7c58, with every kind of row. Not run by the tests.

    git archive 79c7c58 | tar -x -C OLD
    cd OLD && PYTHONPATH=.:transports PYTHON .../tests/store/old/make.py > .../tests/store/old/schema-4.sql

The same with 365b7cb made `schema-18.sql`; there the class of a task is `mcp_a2a.store.records.TaskRecord`.

What nodes of then do by themselves is done by them: bob has tasks of alice and for her, and a letter of a stranger is
held. What takes a relay, a network or an agent at a URL, and each state beside each delivery, is stored by the
functions of then. The keys are made of the names, and worth nothing.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import anyio
from mcp_a2a.exchange import A2ASendRequest
from mcp_a2a.node.desk import SELF
from mcp_a2a.views import (
    AnswerRequest,
    CancelRequest,
    CheckInboxRequest,
    FileArg,
    ReplyRequest,
    SendTaskRequest,
    TaskErrorView,
)

from mcp_a2a.protocol.model import (
    Artifact,
    ArtifactChunk,
    Delivery,
    Message,
    Part,
    Role,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
)
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.blobs import BlobRow, begin_in, mark_piece
from mcp_a2a.store.journal import OutboxRow, PeerRow, mark_stored, pending_outbox, put_outbox, save_peer
from mcp_a2a.store.networks import MemberRow, save_member, save_sync
from mcp_a2a.store.records import insert_task
from mcp_a2a.store.web import WebRow, mark_told, put_push, put_web_context, put_web_letter, save_web_agent
from tests.node.world import World, acquainted, card_of

URL = "https://agent.example/.well-known/agent-card.json"
HOOK = "https://hook.example/"


def said(text: str, role: Role = Role.USER) -> Message:
    return Message(message_id=f"m-{text}", role=role, parts=(Part(text=text),))


def chunk(text: str, *, append: bool = True) -> ArtifactChunk:
    return ArtifactChunk(artifact=Artifact(artifact_id="out", parts=(Part(text=text),)), append=append)


def a_task(name: str, **more: object) -> Task:
    now = time.time()
    state = more.get("state", TaskState.SUBMITTED)
    assert isinstance(state, TaskState)
    values: dict[str, object] = {
        "id": f"task-{name}", "direction": "sent", "peer": World(Path()).did("alice"), "peer_name": "alice",
        "skill": None, "context_id": "ctx", "hop": 0, "state": state, "delivery": Delivery.DELIVERED, "seq_out": 0,
        "seq_in": 0, "attempts": 0, "holder": None, "worker": False, "lease_until": None,
        "messages": (said(f"do {name}"),), "status": TaskStatus(state=state, timestamp="2026-11-21T12:00:00.100Z"),
        "artifacts": (), "error": None, "tried": (), "chosen": None, "created": now, "updated": now, **more,
    }  # fmt: skip
    return Task(**values)  # type: ignore[arg-type]


async def live(world: World) -> None:  # noqa: PLR0915  one history, told in order
    """What nodes do by themselves."""
    world.make_own("alice", "bob")
    async with world.person("bob", "sing") as bob:
        async with world.person("alice", "sing") as alice, world.person("carol") as carol:
            await acquainted(alice, bob)
            await acquainted(carol, bob)
            await carol.api.send_task(SendTaskRequest(agent="bob", message="let me in", wait_seconds=30))

            async def asked(request: str, answer: str, **more: object) -> str:
                """A task of alice, answered by bob."""
                task = await alice.api.send_task(SendTaskRequest(agent="bob", message=request, wait_seconds=0))
                inbox = await bob.api.check_inbox(CheckInboxRequest(wait_seconds=30, limit=1))
                values = {"task_id": inbox.items[0].task_id, "status": answer, "text": f"{request}: {answer}", **more}
                await bob.api.answer_task(AnswerRequest(**values))  # type: ignore[arg-type]
                return str(task.task_id)

            for text, answer in (("one", "completed"), ("two", "failed"), ("three", "rejected")):
                await asked(text, answer)
            await asked("four", "completed", direct=True)
            await asked("which", "input_required")
            await asked("login", "auth_required")
            await asked(
                "stream", "working", text=None, chunks=(chunk("a ", append=False), chunk("b "), chunk("c ")), streamed=0
            )
            withdrawn = await alice.api.send_task(SendTaskRequest(agent="bob", message="not this", wait_seconds=0))
            await bob.api.check_inbox(CheckInboxRequest(wait_seconds=30, limit=1))
            await alice.api.cancel_task(CancelRequest(task_id=withdrawn.task_id))
            await alice.api.send_task(SendTaskRequest(agent="bob", message="waits", wait_seconds=0))

            answers = {"five": "completed", "why": "input_required", "on": "working", "never": "working"}
            tasks = {}
            for text, answer in answers.items():
                sent = SendTaskRequest(agent="alice", message=text, wait_seconds=0, idempotency_key=f"key-{text}")
                tasks[text] = await bob.api.send_task(sent)
                inbox = await alice.api.check_inbox(CheckInboxRequest(wait_seconds=30, limit=1))
                streamed = {"chunks": (chunk("x ", append=False),), "streamed": 0} if text == "on" else {"text": text}
                values = {"task_id": inbox.items[0].task_id, "status": answer, **streamed}
                await alice.api.answer_task(AnswerRequest(**values))  # type: ignore[arg-type]
            await anyio.sleep(1)
        # Alice is away: what bob says to her waits.
        await bob.api.reply_to_task(ReplyRequest(task_id=tasks["why"].task_id, message="because", wait_seconds=0))
        await bob.api.cancel_task(CancelRequest(task_id=tasks["never"].task_id))
        await bob.api.send_task(
            SendTaskRequest(agent="alice", message="when you are back", wait_seconds=0, idempotency_key="key-back")
        )
        file = world.folder / "notes.txt"
        file.write_text("some notes " * 20)
        await bob.api.send_task(
            SendTaskRequest(agent="alice", message="read", wait_seconds=0, files=(FileArg(path=str(file)),))
        )
        inbox = await bob.api.check_inbox(CheckInboxRequest(wait_seconds=5, limit=1))
        await bob.api.answer_task(
            AnswerRequest(task_id=inbox.items[0].task_id, status="working", text="soon", holder="client")
        )
        asked_by = A2ASendRequest(agent=SELF, message=said("for a client"), idempotency_key="key-c")
        own = await bob.api.a2a_send(asked_by)
        assert own.task is not None
        config = TaskPushNotificationConfig(url=HOOK, id="hook")
        await bob.node.context.database.write(
            lambda c: put_push(c, config.model_copy(update={"task_id": own.task.id}))  # type: ignore[union-attr]
        )
        await anyio.sleep(1)


def stored(connection: sqlite3.Connection) -> None:
    """What takes more of a world than this one has."""
    lease = {"holder": "worker-1", "worker": True, "lease_until": time.time() + 5, "attempts": 2}
    answer = (Artifact(artifact_id="result", name="result", parts=(Part(text="made"), Part(data={"n": 4}))),)
    for direction in ("sent", "received"):
        for state in TaskState:
            for delivery in Delivery if direction == "sent" else (Delivery.DELIVERED,):
                name = f"{direction}-{state.name}-{delivery.name}".lower().replace("_", "")
                error = TaskErrorView(code="refused", message="It refused.") if delivery == Delivery.REFUSED else None
                more = lease if direction == "received" and state == TaskState.WORKING else {}
                done = answer if state == TaskState.COMPLETED else ()
                insert_task(
                    connection,
                    a_task(
                        name, direction=direction, state=state, delivery=delivery, error=error, artifacts=done, **more
                    ),
                )
    now = time.time()
    client = {"peer": "caller:client", "peer_name": "client", "caller": "client", "hop": 1}
    insert_task(connection, a_task("client", direction="received", **client))
    insert_task(connection, a_task("url", peer=URL, peer_name="web", state=TaskState.WORKING, remote="theirs-1"))
    insert_task(connection, a_task("url-new", peer=URL, peer_name="web", delivery=Delivery.QUEUED))
    insert_task(connection, a_task("chosen", skill="sing", chosen="alice: it is near", tried=("carol: refused",)))
    put_web_letter(connection, "task-url-new", "message", "m-do url-new", now)
    put_web_letter(connection, "task-url", "cancel", "", now)
    put_web_context(connection, URL, "ctx", "their-ctx")
    agent = WebRow(
        url=URL, name="web", card=card_of("web", "sing"), origin="typed", headers={"x-key": "k"}, last_seen=now
    )
    save_web_agent(connection, agent)
    world = World(Path())
    save_member(connection, MemberRow(world.did("network"), world.did("carol"), "wss://relay.example/", now + 9e6))
    save_sync(connection, world.did("network"), "wss://relay.example/", 7, 9)
    for name, trust in (("dave", "trusted"), ("eve", "blocked")):
        save_peer(connection, PeerRow(world.did(name), name, trust=trust, addresses=("192.0.2.1:9000",)))
    put_push(connection, TaskPushNotificationConfig(url=HOOK, id="told", task_id="task-received-completed-delivered"))
    mark_told(connection, "task-received-completed-delivered", "told")
    half = BlobRow(
        "in", world.did("alice"), "half", "task-received-submitted-delivered", 3, 3_000_000, bytes(1), None, now
    )
    begin_in(connection, half)
    mark_piece(connection, half, 1)
    whole = BlobRow("out", "", "whole", "task-sent-submitted-queued", 1, 9, bytes([1]), "0" * 64, now)
    begin_in(connection, whole)
    piece = OutboxRow(1, "whole-0", world.did("dave"), "task-sent-submitted-queued", 1, "blob", b"", now, now + 9e5)
    put_outbox(connection, piece)
    first = next(row for row in pending_outbox(connection) if row.type == "task")
    mark_stored(connection, first.n, "wss://relay.example/", bytes(16))


def later(connection: sqlite3.Connection) -> None:
    """Rows of the tables that came after 79c7c58."""
    rows: dict[str, tuple[object, ...]] = {
        "consents": (URL, "text", "allowed", time.time()),
        "damaged": (1, "tasks", "its JSON ends early", '{"id": "task-torn"}', "2026-11-30T12:00:00Z"),
    }
    known = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    for table in rows.keys() & known:
        connection.execute(f"INSERT INTO {table} VALUES({','.join('?' * len(rows[table]))})", rows[table])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        anyio.run(live, world)
        with sqlite3.connect(Path(folder) / "bob" / "node.db") as connection:
            stored(connection)
            later(connection)
            connection.commit()
            sys.stdout.write(f"-- {int(time.time())}: a node of an earlier commit\n")
            for line in connection.iterdump():
                sys.stdout.write(line + os.linesep)
            sys.stdout.write(f"PRAGMA user_version={connection.execute('PRAGMA user_version').fetchone()[0]};\n")


main()
