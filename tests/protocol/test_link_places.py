"""Who has a link with a listener that is full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.protocol.link_places import (
    MAX_PLACES,
    MAX_STRANGERS,
    MAX_STRANGERS_PER_HOST,
    Place,
    PlaceDecision,
    Standing,
    find_place,
)

IN = PlaceDecision(admitted=True)
OUT = PlaceDecision(admitted=False)
STRANGER, MEMBER, TRUSTED, OWN = Standing


def strangers(*hosts: str) -> list[Place]:
    return [Place(STRANGER, host) for host in hosts]


def test_one_host_of_strangers_has_eight_places_and_another_its_own() -> None:
    links = strangers(*["bad"] * (MAX_STRANGERS_PER_HOST - 1))
    assert find_place(links, Place(STRANGER, "bad")) == IN
    links += strangers("bad")
    assert find_place(links, Place(STRANGER, "bad")) == OUT
    assert find_place(links, Place(STRANGER, "good")) == IN
    assert find_place(links, Place(MEMBER, "bad")) == IN, "a member behind the same address"
    here = strangers(*["127.0.0.1"] * MAX_STRANGERS_PER_HOST)
    assert find_place(here, Place(STRANGER, "127.0.0.1")) == IN, "this machine is no host among others"


def test_strangers_have_sixteen_places_and_a_new_host_gets_one_of_the_host_with_most() -> None:
    links = [*strangers(*["a"] * 7), *strangers(*["b"] * 8)]
    assert find_place(links, Place(STRANGER, "c")) == IN
    links += strangers("c")
    assert len(links) == MAX_STRANGERS
    assert find_place(links, Place(STRANGER, "d")) == PlaceDecision(admitted=True, leaves=7), "the oldest of b"
    each = strangers(*(f"host-{number}" for number in range(16)))
    assert find_place(each, Place(STRANGER, "d")) == PlaceDecision(admitted=True, leaves=0)
    assert find_place(each, Place(STRANGER, "host-3")) == OUT


def test_who_is_known_gets_the_place_of_who_is_less_known_when_all_are_taken() -> None:
    members = [Place(MEMBER, "office")] * (MAX_PLACES - 1)
    assert find_place(members, Place(MEMBER, "x")) == IN
    full = [*members, Place(STRANGER, "bad")]
    for standing in (MEMBER, TRUSTED):
        assert find_place(full, Place(standing, "x")) == PlaceDecision(admitted=True, leaves=MAX_PLACES - 1)
    assert find_place([*members, members[0]], Place(MEMBER, "x")) == OUT
    assert find_place([*members, members[0]], Place(TRUSTED, "x")) == PlaceDecision(admitted=True, leaves=0)
    assert find_place([*members, members[0]], Place(STRANGER, "x")) == OUT


@given(st.lists(st.tuples(st.sampled_from(Standing), st.sampled_from(["a", "b", "c", "127.0.0.1"])), max_size=300))
def test_own_agents_always_get_in_and_others_take_no_more_than_there_is(
    arrivals: list[tuple[Standing, str]],
) -> None:
    links: list[Place] = []
    for standing, host in arrivals:
        newcomer = Place(standing, host)
        verdict = find_place(links, newcomer)
        if standing is OWN:
            assert verdict == IN
        if verdict.leaves is not None:
            assert links[verdict.leaves].standing <= standing
            assert links.pop(verdict.leaves).standing is not OWN
        if verdict.admitted:
            links.append(newcomer)
        assert sum(place.standing is not OWN for place in links) <= MAX_PLACES
        assert sum(place.standing is STRANGER for place in links) <= MAX_STRANGERS
