"""Updates that wait behind a slow relay are made into one, and the recipient learns from it all that it would have."""

from __future__ import annotations

from dataclasses import replace as changed

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_a2a.node.delivery.merging import MAX_MERGED_CHUNKS, merge_updates
from mcp_a2a.protocol.blob import MAX_FILES, BlobRef, refs_untrusted
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Part, TaskState, TaskStatus
from mcp_a2a.protocol.payload import Payload, UpdateBody
from mcp_a2a.protocol.task.artifacts import grow, replace
from mcp_a2a.store.journal import OutboxRow
from tests.protocol.people import ALICE, BOB

NOW = 1_790_000_000.0


def artifact(name: str, text: str) -> Artifact:
    return Artifact(artifact_id=name, parts=(Part(text=text),))


def row(number: int, body: UpdateBody) -> OutboxRow:
    payload = Payload(
        type="update", id=f"{number:032x}", from_=ALICE.peer_id, to=BOB.peer_id, task="task-" + "a" * 26, seq=number,
        created=NOW, expires=NOW + 3600, body=body,
    )  # fmt: skip
    return OutboxRow(
        number, payload.id, str(BOB.peer_id), payload.task, number, "update", payload.to_bytes(), NOW, NOW + 3600
    )


def body(*texts: str, streamed: int, attempt: int = 1, state: TaskState = TaskState.WORKING) -> UpdateBody:
    chunks = tuple(ArtifactChunk(artifact=artifact("a", text), append=True) for text in texts)
    return UpdateBody(status=TaskStatus(state=state), chunks=chunks, streamed=streamed, attempt=attempt)


def read(row: OutboxRow) -> UpdateBody:
    payload = Payload.parse_untrusted(row.payload)
    assert (payload.id, payload.seq) == (row.id, row.seq)
    assert isinstance(payload.body, UpdateBody)
    return payload.body


def test_a_stream_becomes_one_update_with_all_of_its_chunks_and_its_end() -> None:
    rows = [row(number, body(f"{number},", streamed=number)) for number in range(1, 41)]
    rows.append(row(41, body(streamed=40, state=TaskState.COMPLETED)))
    (merged,) = merge_updates(rows)
    assert (merged.row.n, merged.absorbed) == (41, tuple(rows[:-1]))
    said = read(merged.row)
    assert (said.status.state, said.streamed, len(said.chunks)) == (TaskState.COMPLETED, 40, 40)
    (grown,) = grow((), said.chunks)
    assert grown.parts[0].text == "".join(f"{number}," for number in range(1, 41))


def test_what_must_stay_apart_stays_apart() -> None:
    new_attempt = [row(1, body("x", streamed=1)), row(2, body("y", streamed=1, attempt=2))]
    gap = [row(1, body("x", streamed=1)), row(2, body("z", streamed=3))]
    whole = [
        row(1, body("x", streamed=1).model_copy(update={"artifacts": (artifact("a", "anew"),)})),
        row(2, body("y", streamed=2)),
    ]
    unreadable = [row(1, body("x", streamed=1)), changed(row(2, body("y", streamed=2)), payload=b"{}")]
    large = [row(number, body("x" * 120_000, streamed=number)) for number in range(1, 12)]
    told_anew = [row(1, body(streamed=0).model_copy(update={"whole": 0})), row(2, body("y", streamed=1))]
    assert not any(map(merge_updates, (new_attempt, gap, whole, unreadable, told_anew)))
    assert all(len(merged.row.payload) <= 1024 * 1024 for merged in merge_updates(large))
    assert sum(len(read(merged.row).chunks) for merged in merge_updates(large)) <= 11


def test_so_many_chunks_are_in_one_message_and_the_next_begins_another() -> None:
    rows = [row(number, body("x", streamed=number)) for number in range(1, MAX_MERGED_CHUNKS + 3)]
    assert [len(read(merged.row).chunks) for merged in merge_updates(rows)] == [MAX_MERGED_CHUNKS, 2]


def test_no_more_files_are_in_one_message_than_its_recipient_takes() -> None:
    def with_file(number: int) -> UpdateBody:
        ref = BlobRef(f"{number:032x}", 100_000, "0" * 64, bytes(32), bytes(24))
        drawn = Artifact(artifact_id="a", parts=(ref.to_part(f"{number}.png", "image/png"),))
        chunk = ArtifactChunk(artifact=drawn, append=True)
        return body(streamed=number).model_copy(update={"chunks": (chunk,)})

    rows = [row(number, with_file(number)) for number in range(1, MAX_FILES + 4)]
    named = [refs_untrusted(Payload.parse_untrusted(merged.row.payload)) for merged in merge_updates(rows)]
    assert [len(refs) for refs in named] == [MAX_FILES, 3]


@st.composite
def lives(draw: st.DrawFn) -> list[UpdateBody]:
    """What a worker says about one task: chunks, whole artifacts, new attempts."""
    said, streamed, attempt = [], 0, 1
    for number in range(draw(st.integers(1, 12))):
        if draw(st.integers(0, 7)) == 0:
            attempt, streamed = attempt + 1, 0
        names = draw(st.lists(st.sampled_from("abc"), max_size=3))
        chunks = tuple(
            ArtifactChunk(artifact=artifact(name, f"{name}{number}{at} "), append=draw(st.booleans()))
            for at, name in enumerate(names)
        )
        whole = tuple(artifact(name, f"whole {number}") for name in draw(st.sets(st.sampled_from("abc"), max_size=1)))
        streamed += len(chunks)
        said.append(
            UpdateBody(
                status=TaskStatus(state=TaskState.WORKING),
                artifacts=whole,
                chunks=chunks,
                streamed=streamed,
                attempt=attempt,
            )
        )
    return said


def heard(bodies: list[UpdateBody]) -> tuple[dict[str, tuple[Part, ...]], int, int]:
    """What a recipient has at the end: the artifacts, how many chunks of which attempt."""
    artifacts: tuple[Artifact, ...] = ()
    streamed = attempt = 0
    for said in bodies:
        if said.attempt > attempt:
            attempt, streamed, artifacts = said.attempt, 0, ()
        before = said.streamed - len(said.chunks)
        assert before <= streamed, "a gap"
        artifacts = grow(artifacts, said.chunks[streamed - before :])
        streamed = max(streamed, said.streamed)
        artifacts = replace(artifacts, said.artifacts)
    return {one.artifact_id: one.parts for one in artifacts}, streamed, attempt


@settings(max_examples=200)
@given(lives(), st.data())
def test_a_recipient_of_merged_updates_has_what_it_would_have_of_all(
    said: list[UpdateBody], data: st.DataObject
) -> None:
    rows = [row(number, one) for number, one in enumerate(said, start=1)]
    first = data.draw(st.integers(0, len(rows)))  # what went out before the relay was slow
    waiting = {one.n: one for one in rows[first:]}
    for merged in merge_updates(rows[first:]):
        for old in merged.absorbed:
            del waiting[old.n]
        waiting[merged.row.n] = merged.row
    sent = [*rows[:first], *waiting.values()]
    assert sorted(waiting) == list(waiting), "in their order"
    assert heard([read(one) for one in sent]) == heard(said)
