"""The node of an identity in a process that only stands in for its own."""

from __future__ import annotations

from pathlib import Path

from mcp_a2a.composition import _node, _node_of
from mcp_a2a.config import Settings
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a.store.folder import keep_name
from mcp_a2a.store.journal import OutboxRow, put_outbox
from tests.node.world import card_of

QUIET = {"mdns": False, "link_host": "127.0.0.1"}


def other(home: Path, **more: object) -> Settings:
    """The settings of the process that stands in, which says nothing of the identity that it stands in for."""
    return Settings.model_validate({"home": home, "identity": "other", "name": "Other", "accept": "anyone", **more})


async def test_it_shows_the_card_that_the_identity_showed_last_by_the_name_that_is_kept(tmp_path: Path) -> None:
    own = Settings.model_validate({"home": tmp_path, "identity": "rev", **QUIET})
    async with _node(own, card_of("rev", "reverse")) as node:
        did = node.context.me
    standing = Settings.model_construct(home=tmp_path, identity="rev", **QUIET)
    async with _node(standing, None, stands_in=True) as node:
        assert (node.context.me, node.own_advert.card) == (did, card_of("rev", "reverse"))
        assert node.trust.accept == "trusted"
    keep_name(own.folder, "Anna")
    async with _node(standing, None, stands_in=True) as node:
        card = node.own_advert.card
        assert (card.name, card.skills) == ("Anna", card_of("rev", "reverse").skills)


async def test_it_is_seen_and_listens_no_wider_than_the_own_process_did(tmp_path: Path) -> None:
    own = {"home": tmp_path, "identity": "quiet", "networks": False, **QUIET}
    async with _node(Settings.model_validate(own), None):
        pass
    standing = Settings.model_construct(home=tmp_path, identity="quiet", mdns=True, link_host="0.0.0.0")  # noqa: S104
    async with _node(standing, None, stands_in=True) as node:
        assert not node.parts.networks.usable
        assert "mdns" not in node.lookups.states
        assert {address.host for address in node.lookups.listening if isinstance(address, DirectAddr)} == {"127.0.0.1"}


async def test_nothing_of_the_settings_of_the_host_counts_for_the_identity(tmp_path: Path) -> None:
    async with _node(Settings.model_validate({"home": tmp_path, "identity": "rev", **QUIET}), None) as node:
        name = node.own_advert.card.name
        row = OutboxRow(1, "m1", str(node.context.me), "task-1", 1, "task", b"{}", 0.0, 9e9)
    host = other(tmp_path, allow_strangers=True, file_roots=str(tmp_path), hop=3, link_port=0, **QUIET)
    async with _node_of(host, "rev") as has_business:
        assert not has_business()
    async with _node(Settings.model_construct(home=tmp_path, identity="rev", **QUIET), None, stands_in=True) as node:
        assert (node.own_advert.card.name, node.trust.accept) == (name, "trusted")
        await node.context.database.write(lambda connection: put_outbox(connection, row))
    async with _node_of(host, "rev") as has_business:
        assert has_business()
