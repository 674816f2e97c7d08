"""Artifacts that grow: whatever the pieces, what comes out is what was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Part
from mcp_a2a.protocol.task.artifacts import grow, replace

NAMES = st.sampled_from(["a", "b"])
PARTS = st.one_of(
    st.text(max_size=5).map(lambda text: Part(text=text)),
    st.integers().map(lambda number: Part(data=number)),
    st.text(max_size=3).map(lambda text: Part(text=text, media_type="text/markdown")),
)
CHUNKS = st.lists(
    st.builds(
        lambda name, parts, append: ArtifactChunk(
            artifact=Artifact(artifact_id=name, parts=tuple(parts)), append=append
        ),
        NAMES,
        st.lists(PARTS, min_size=1, max_size=3),
        st.booleans(),
    ),
    max_size=12,
)


def chunk(name: str, text: str, *, append: bool) -> ArtifactChunk:
    return ArtifactChunk(artifact=Artifact(artifact_id=name, parts=(Part(text=text),)), append=append)


@given(CHUNKS, st.integers(min_value=0, max_value=12))
def test_it_does_not_matter_in_how_many_steps_chunks_come(chunks: list[ArtifactChunk], cut: int) -> None:
    assert grow(grow((), chunks[:cut]), chunks[cut:]) == grow((), chunks)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=20))
def test_texts_that_continue_each_other_are_one_text(texts: list[str]) -> None:
    (artifact,) = grow((), [chunk("a", text, append=True) for text in texts])
    assert artifact.parts == (Part(text="".join(texts)),)


@given(CHUNKS)
def test_data_is_never_joined_and_never_lost(chunks: list[ArtifactChunk]) -> None:
    appended = [each.model_copy(update={"append": True}) for each in chunks]
    numbers = [part.data for artifact in grow((), appended) for part in artifact.parts if part.text is None]
    sent = [part.data for each in appended for part in each.artifact.parts if part.text is None]
    assert sorted(numbers) == sorted(sent)  # type: ignore[type-var]


def test_a_chunk_that_does_not_append_begins_its_artifact_anew() -> None:
    grown = grow((), [chunk("a", "old", append=False), chunk("b", "b", append=False), chunk("a", "new", append=False)])
    assert [(each.artifact_id, each.parts[0].text) for each in grown] == [("a", "new"), ("b", "b")]


def test_a_whole_artifact_takes_the_place_of_the_one_with_its_id() -> None:
    grown = grow((), [chunk("a", "part", append=False), chunk("b", "b", append=False)])
    whole = Artifact(artifact_id="a", name="result", parts=(Part(text="all"),))
    assert replace(grown, [whole]) == (whole, grown[1])
