"""Whom a relay serves."""

from __future__ import annotations

import pytest

from mcp_a2a.protocol.admission import Admission
from mcp_a2a.protocol.control import ByeCode
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.network import Network
from tests.protocol.people import ALICE

KEY = ALICE.peer_id
SHOP, HOME = Network(b"s" * 32).id, Network(b"h" * 32).id


@pytest.mark.parametrize(
    ("closed", "admitted", "revoked", "networks", "objection"),
    [
        (False, [], [], [], None),
        (False, [], [KEY], [], ByeCode.REVOKED),
        (False, [], [SHOP], [SHOP], ByeCode.REVOKED),
        (False, [], [SHOP], [SHOP, HOME], None),
        (False, [], [SHOP], [], None),
        (True, [], [], [], ByeCode.NOT_ADMITTED),
        (True, [KEY], [], [], None),
        (True, [SHOP], [], [SHOP], None),
        (True, [SHOP], [], [HOME], ByeCode.NOT_ADMITTED),
        (True, [SHOP], [HOME], [HOME, SHOP], None),
        (True, [], [SHOP], [SHOP], ByeCode.REVOKED),
        (True, [SHOP], [KEY], [SHOP], ByeCode.REVOKED),
        (True, [KEY], [SHOP], [SHOP], None),
    ],
)
def test_who_is_served(
    closed: bool,  # noqa: FBT001  a row of the table
    admitted: list[PeerId],
    revoked: list[PeerId],
    networks: list[PeerId],
    objection: ByeCode | None,
) -> None:
    admission = Admission(closed=closed)
    for member in admitted:
        admission.admit(member)
    for member in revoked:
        admission.revoke(member)
    assert admission.objection(KEY, networks) is objection


def test_the_last_word_of_the_operator_counts() -> None:
    admission = Admission(closed=True)
    admission.admit(KEY)
    admission.revoke(KEY)
    assert admission.objection(KEY, []) is ByeCode.REVOKED
    admission.admit(KEY)
    assert admission.objection(KEY, []) is None
    assert (admission.admitted, admission.revoked) == (1, 0)
