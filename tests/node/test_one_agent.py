"""No service asks which kind of agent it has: what differs is an attribute of the agent, or its courier's.

The kind of a text that names an agent is asked in one module, `protocol/naming.py`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.web_peer import TASK, WebPeer
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.naming import AgentText, counterpart_of, kind_of_agent
from mcp_a2a.store.journal import PeerRow
from mcp_a2a.store.web import WebRow
from tests.docs.pages import ROOT
from tests.protocol.people import ALICE

NAMING = "mcp_a2a/protocol/naming.py"
KINDS = {"Peer", "WebPeer"}
BEGINNINGS = ("did:", "http:", "https:", "caller:")
DID = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"


def names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def texts_in(node: ast.AST) -> list[str]:
    return [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def questions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each place that asks which kind an agent is: how, and the line."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]) if names_in(kinds) & KINDS:
                yield "isinstance", node.lineno
            case ast.MatchClass(cls=ast.Name(id=name), lineno=line) if name in KINDS:
                yield "match", line
            case ast.BinOp(op=ast.BitOr()) if names_in(node) >= KINDS:
                yield "union", node.lineno
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name) if name in (
                "is_peer",
                "is_web",
            ):
                yield name, node.lineno
            case ast.Call(func=ast.Attribute(attr="startswith"), args=[beginning]) if any(
                text.startswith(BEGINNINGS) for text in texts_in(beginning)
            ):
                yield "startswith", node.lineno
            case _:
                pass


def test_no_module_asks_which_kind_an_agent_is() -> None:
    found = []
    for root in ("mcp_a2a", "transports", "examples"):
        for file in sorted((ROOT / root).rglob("*.py")):
            where = str(file.relative_to(ROOT))
            asked = questions(ast.parse(file.read_text(encoding="utf-8")))
            found += [(where, line, how) for how, line in asked if where != NAMING]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(agent, WebPeer)",
        "isinstance(agent, (Peer, str))",
        "def send(agent: Peer | WebPeer) -> None: ...",
        "is_web(agent)",
        "letters.is_peer(task)",
        "def is_web(text): ...",
        "key.startswith('did:')",
        "key.strip().lower().startswith(('http://', 'https://'))",
        "match agent:\n    case WebPeer():\n        pass",
    ],
)
def test_each_way_to_ask_is_found(source: str) -> None:
    assert list(questions(ast.parse(source)))


def test_an_agent_with_a_key_and_one_at_a_url_are_two_values_of_one_kind() -> None:
    peer = Peer(ALICE.peer_id, PeerRow(str(ALICE.peer_id), "alice", addresses=("127.0.0.1:1",)))
    card = AgentCard.model_validate({"name": "alice", "description": "d", "version": "1"})
    url = "https://agents.example/alice/"
    web = WebPeer(WebRow(url, "alice", card, TASK, peer.key, {}, None, bound=True))
    agents: list[RemoteAgent] = [peer, web]
    assert [agent.counterpart for agent in agents] == [counterpart_of(agent.key) for agent in agents]
    assert [agent.key for agent in agents] == [str(ALICE.peer_id), url]
    assert [agent.signer for agent in agents] == [peer.key, peer.key]
    assert [agent.words for agent in agents] == [peer.words, peer.words]
    assert [agent.peer_id for agent in agents] == [ALICE.peer_id, None]  # what a card says proves no key


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (DID, "did"),
        (" DID:key:z6Mk ", "did"),
        ("did:web:agents.example", "did"),
        (DID.removeprefix("did:key:"), "short key"),
        ("z6MkhaXgBZDvotDk", "short key"),
        ("z6Mk", "name"),
        ("https://agents.example/", "url"),
        (" HTTP://agents.example", "url"),
        ("httpd", "name"),
        ("alice", "name"),
        ("caller:owner", "name"),
        ("", "name"),
    ],
)
def test_the_kind_of_a_text_is_known_by_how_it_begins(text: str, kind: AgentText) -> None:
    assert kind_of_agent(text) == kind


def test_the_other_side_of_a_task_is_an_agent_with_a_key_or_at_a_url_or_a_caller() -> None:
    sides = [DID, "https://agents.example/", "caller:owner"]
    assert [counterpart_of(side) for side in sides] == ["sealed", "http", "caller"]
