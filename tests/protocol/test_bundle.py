from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError, UnknownKeyError
from mcp_a2a.protocol.bundle import (
    KEEP_SECRET_SECONDS,
    MAX_BUNDLE_BYTES,
    ROTATE_AFTER_SECONDS,
    VALID_SECONDS,
    KeyBundle,
    KeyRing,
    key_id,
)
from mcp_a2a.protocol.crypto import KemSecret
from mcp_a2a.protocol.strict_json import to_base64url
from tests.protocol.people import (
    ALICE,
    BOB,
    NOW,
    Dice,
    flip,
    ring_of,
    ring_with_suite,
    secret_of,
)

DAY = 86_400


def changed(bundle: KeyBundle, **fields: object) -> str:
    """The bundle's text with other fields, not signed again."""
    content: dict[str, object] = json.loads(bundle.to_text())
    return json.dumps(content | fields)


# --- what is published ----------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [1, 2])
def test_a_bundle_survives_being_written_and_read(suite: int) -> None:
    bundle = ring_with_suite(BOB, suite).current

    assert KeyBundle.parse_untrusted(bundle.to_text()) == bundle
    assert bundle.suite == suite
    assert bundle.peer == BOB.peer_id
    assert len(bundle.to_text()) < MAX_BUNDLE_BYTES // 2


def test_a_bundle_is_usable_for_seven_days_and_before_by_a_clock_that_is_behind() -> None:
    bundle = ring_of(BOB).current

    assert bundle.usable(NOW - 30 * DAY)
    assert bundle.usable(NOW + VALID_SECONDS - 1)
    assert not bundle.usable(NOW + VALID_SECONDS)


def test_a_clock_that_is_ahead_for_a_moment_drops_no_secret_and_leaves_a_ring_that_can_be_used() -> None:
    ring = ring_of(BOB)
    first = ring.current
    ring.handle_timeout(NOW + DAY, Dice(b"second"))
    kids = [first.kid, ring.current.kid]

    ring.handle_timeout(NOW + 366 * DAY, Dice(b"ahead"), stamp=NOW + 366 * DAY, aged=NOW + DAY + 60)
    ring.handle_timeout(NOW + DAY + 120, Dice(b"right"), stamp=NOW + DAY + 120, aged=NOW + DAY + 120)

    for kid in kids:
        ring.secret_for(kid)
    assert ring.current.not_before == NOW + DAY + 120
    later = NOW + 2 * DAY + KEEP_SECRET_SECONDS
    ring.handle_timeout(later, Dice(b"later"))
    for kid in kids:
        with pytest.raises(UnknownKeyError):
            ring.secret_for(kid)


def test_only_a_newer_bundle_of_the_same_peer_supersedes_one() -> None:
    ring = ring_of(BOB)
    old = ring.current
    ring.handle_timeout(NOW + DAY, Dice(b"new"))
    new = ring.current

    assert new.supersedes(old)
    assert not old.supersedes(new)
    assert not new.supersedes(new)
    assert not replace(new, peer=ALICE.peer_id).supersedes(old)


@pytest.mark.parametrize(
    "fields",
    [
        {"did": str(ALICE.peer_id)},
        {"seq": 7},
        {"not_before": 1},
        {"not_after": int(NOW) + DAY},
        {"kem_pk": to_base64url(secret_of(ALICE, 2).public_key)},
        {"kid": "00" * 8},
        {"sig": to_base64url(bytes(64))},
        {"sig": ""},
        {"suite": 1},
        {"suite": 3},
        {"v": 2},
        {"v": True},
        {"seq": -1},
        {"seq": "7"},
        {"seq": 2**53},
        {"seq": 1.0},
        {"kem_pk": "not base64url!"},
        {"kem_pk": None},
        {"did": "did:web:example.org"},
    ],
    ids=str,
)
def test_a_bundle_that_was_changed_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError):
        KeyBundle.parse_untrusted(changed(ring_of(BOB).current, **fields))


def test_a_field_that_is_not_known_yet_is_ignored() -> None:
    bundle = ring_of(BOB).current

    assert KeyBundle.parse_untrusted(changed(bundle, later="field")) == bundle


def test_a_bundle_that_claims_a_longer_life_is_refused_though_its_peer_signed_it() -> None:
    bundle = KeyBundle.sign(BOB, secret_of(BOB, 1), seq=1, now=NOW)
    for not_after in (bundle.not_after + 1, bundle.not_before, bundle.not_before - 1):
        draft = replace(bundle, not_after=not_after)
        signed = replace(draft, signature=BOB.sign(b"mcp-a2a/v1/bundle\0", draft._signed_bytes()))
        with pytest.raises(RemoteProtocolError, match="7 days"):
            KeyBundle.parse_untrusted(signed.to_text())


def test_a_signed_key_that_cannot_be_sealed_to_is_refused() -> None:
    kid = key_id(1, bytes(32))
    draft = replace(ring_with_suite(BOB, 1).current, public_key=bytes(32), kid=kid)
    signed = replace(draft, signature=BOB.sign(b"mcp-a2a/v1/bundle\0", draft._signed_bytes()))

    with pytest.raises(RemoteProtocolError, match="cannot be sealed to"):
        KeyBundle.parse_untrusted(signed.to_text())


def test_more_than_four_kibibytes_are_not_read() -> None:
    bundle = ring_of(BOB).current
    padding = MAX_BUNDLE_BYTES - len(changed(bundle, pad=""))

    assert KeyBundle.parse_untrusted(changed(bundle, pad="x" * padding)) == bundle
    with pytest.raises(RemoteProtocolError, match="4,096"):
        KeyBundle.parse_untrusted(changed(bundle, pad="x" * (padding + 1)))


BUNDLE_BYTES = ring_of(BOB).current.to_text().encode()


@given(st.text())
def test_no_text_raises_anything_but_a_protocol_error(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        KeyBundle.parse_untrusted(text)


@given(st.integers(0, len(BUNDLE_BYTES) * 8 - 1))
def test_a_flipped_bit_is_refused_or_means_the_same(bit: int) -> None:
    text = flip(BUNDLE_BYTES, bit).decode(errors="replace")
    try:
        bundle = KeyBundle.parse_untrusted(text)
    except RemoteProtocolError:
        return

    assert bundle.to_text().encode() == BUNDLE_BYTES


def test_a_cut_bundle_is_refused() -> None:
    text = BUNDLE_BYTES.decode()

    for length in range(0, len(text), 7):
        with pytest.raises(RemoteProtocolError):
            KeyBundle.parse_untrusted(text[:length])


# --- what is kept ---------------------------------------------------------------------------------


def test_a_ring_makes_its_first_key_when_it_is_first_asked_for_the_time() -> None:
    ring = KeyRing(BOB)

    with pytest.raises(LocalProtocolError):
        _ = ring.current
    assert ring.next_timeout() <= NOW
    assert ring.handle_timeout(NOW, Dice(b"first"))
    assert ring.current.usable(NOW)
    assert not ring.handle_timeout(NOW, Dice(b"again"))


def test_a_key_is_rotated_after_24_hours_and_its_number_is_the_time() -> None:
    ring = ring_of(BOB)
    first = ring.current

    assert ring.next_timeout() == NOW + ROTATE_AFTER_SECONDS
    assert not ring.handle_timeout(NOW + ROTATE_AFTER_SECONDS - 1, Dice(b"early"))
    assert ring.handle_timeout(NOW + ROTATE_AFTER_SECONDS, Dice(b"due"))
    assert ring.current.seq == int(NOW + ROTATE_AFTER_SECONDS)
    assert ring.current.kid != first.kid
    assert ring.current.supersedes(first)


def test_a_ring_from_a_backup_is_not_behind_what_was_published_since() -> None:
    ring = ring_of(BOB)
    backup = ring.dump()
    for day in range(1, 5):
        ring.handle_timeout(NOW + day * DAY, Dice(bytes([day])))
    restored = KeyRing.load(BOB, backup)
    assert restored.handle_timeout(NOW + 4 * DAY + 1, Dice(b"restored"))
    assert restored.current.supersedes(ring.current)


def test_a_key_that_follows_one_of_a_clock_that_was_ahead_has_a_higher_number() -> None:
    ring = ring_of(BOB)
    ring.handle_timeout(NOW + 400 * DAY, Dice(b"ahead"))
    ahead = ring.current
    ring.handle_timeout(NOW + DAY, Dice(b"right"))
    assert ring.current.supersedes(ahead)


def test_a_secret_is_dropped_eight_days_after_its_successor_was_published() -> None:
    ring = ring_of(BOB)
    first = ring.current
    published = NOW + ROTATE_AFTER_SECONDS
    for day in range(1, 9):
        ring.handle_timeout(NOW + day * DAY, Dice(bytes([day])))

    assert ring.next_timeout() == published + KEEP_SECRET_SECONDS == NOW + 9 * DAY
    ring.handle_timeout(published + KEEP_SECRET_SECONDS - 1, Dice(b"before"))
    assert ring.secret_for(first.kid).public_key == first.public_key
    assert ring.handle_timeout(published + KEEP_SECRET_SECONDS, Dice(b"after"))
    with pytest.raises(UnknownKeyError):
        ring.secret_for(first.kid)


def test_nine_days_and_an_hour_later_nothing_stored_holds_the_secret() -> None:
    ring = ring_of(BOB)
    seed = ring.secret_for(ring.current.kid).seed
    assert to_base64url(seed) in ring.dump()

    for hour in range(9 * 24 + 2):
        ring.handle_timeout(NOW + hour * 3600, Dice(b"hour" + hour.to_bytes(2)))

    assert to_base64url(seed) not in ring.dump()
    assert len(ring._kept) == 9


def test_a_node_that_slept_for_a_month_keeps_its_last_secret_for_eight_days_more() -> None:
    ring = ring_of(BOB)
    last = ring.current
    awake = NOW + 30 * DAY

    ring.handle_timeout(awake, Dice(b"awake"))

    assert ring.current.usable(awake)
    assert ring.secret_for(last.kid).public_key == last.public_key
    assert ring.next_timeout() == awake + DAY


def test_a_key_made_while_the_clock_was_ahead_is_replaced() -> None:
    ring = ring_of(BOB, now=NOW + 365 * DAY)
    future = ring.current

    assert ring.handle_timeout(NOW, Dice(b"corrected"))
    assert ring.current.usable(NOW)
    assert ring.current.supersedes(future)


def test_a_node_that_lost_its_ring_does_not_look_rolled_back() -> None:
    ring = ring_of(BOB)
    for day in range(1, 100):
        ring.handle_timeout(NOW + day * DAY, Dice(day.to_bytes(2)))

    fresh = ring_of(BOB, now=NOW + 100 * DAY)

    assert fresh.current.supersedes(ring.current)


def test_a_ring_of_a_weaker_suite_is_rotated_at_once_and_still_opens() -> None:
    ring = ring_with_suite(BOB, 1)
    weak = ring.current

    assert ring.handle_timeout(NOW + 1, Dice(b"stronger"))
    assert ring.current.suite == 2
    assert ring.secret_for(weak.kid).suite == 1


def test_a_ring_survives_being_stored() -> None:
    ring = ring_of(BOB)
    ring.handle_timeout(NOW + DAY, Dice(b"second"))

    loaded = KeyRing.load(BOB, ring.dump())

    assert loaded.current == ring.current
    assert loaded.dump() == ring.dump()
    assert loaded.next_timeout() == ring.next_timeout()


def test_another_identitys_or_a_damaged_ring_is_not_loaded() -> None:
    text = ring_of(BOB).dump()
    content = json.loads(text)
    content["keys"][0]["secret"] = to_base64url(bytes(32))

    for identity, damaged in [
        (ALICE, text),
        (BOB, text[:-5]),
        (BOB, "{}"),
        (BOB, json.dumps(content)),
        (BOB, text.replace('"secret": "', '"secret": "AAAA')),
        (BOB, text.replace(str(BOB.peer_id), str(ALICE.peer_id))),
    ]:
        with pytest.raises(LocalProtocolError):
            KeyRing.load(identity, damaged)


def test_the_key_id_depends_on_suite_and_key() -> None:
    secret = KemSecret(1, b"s" * 32)

    assert len(key_id(1, secret.public_key)) == 8
    assert key_id(1, secret.public_key) != key_id(1, bytes(32))
    with pytest.raises(RemoteProtocolError):
        key_id(2, secret.public_key)
