"""What a command can check by itself it checks first: no node starts, and no person is asked, for what cannot be."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from pathlib import Path

import pytest

from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.ticket import Ticket
from mcp_a2a.store.network_folder import NetworkFolder, NetworkRow
from tests.cli.inside import Finished, call
from tests.protocol.people import ALICE, BOB

KEY = str(ALICE.peer_id)
CUT = KEY[:-3]


def ticket(**more: object) -> str:
    fields = {"network": "shop", "owner": ALICE.peer_id, "inviter": BOB.peer_id, "secret": bytes(32), **more}
    return Ticket(**fields).to_text()  # type: ignore[arg-type]


def node_has_started(home: Path) -> bool:
    return any(home.glob("identities/*/node.db"))


IMPOSSIBLE = (
    (("join", "rubbish"), 5, "does not begin with a2a1"),
    (("join", ticket()[:-1]), 5, "a letter is wrong or missing"),
    (("join", ticket(expires=1)), 5, "it expired on 1970-01-01"),
    (("agent",), 2, "There are: init, run, exec."),
    (("relay",), 2, "There are: serve, url, "),
    (("leave", "nobody"), 3, "There is no network 'nobody' here"),
    (("rotate", "nobody"), 3, "There is no network 'nobody' here"),
    (("rotate", "nobody", "--without", CUT), 2, "not a whole key"),
    (("invite", "--network", " "), 2, "needs a name"),
    (("invite", "--network", "n" * 65, "--relay", "-"), 2, "at most 64"),
    (("invite", "--network", "shop", "--uses", "1"), 5, "needs a relay that counts, and shop has none"),
    (("invite", "--network", "shop", "--expires", "12h"), 5, "needs a relay that counts, and shop has none"),
    (("invite", "--network", "shop", "--relay", "rubbish"), 2, "is not the URL of a relay"),
    (("invite", "--network", "shop", "--relay", "-"), 2, "is not the URL of a relay"),
    (("peers", "add", "rubbish"), 2, "not of the form HOST:PORT"),
    (("peers", "add", "127.0.0.1:99999"), 2, "a port is a number"),
    (("peers", "add", "https://"), 5, "names no host"),
    (("peers", "add", "https://anna:secret@agent.example/"), 5, "it has credentials in it"),
    (("peers", "remove", "https://[rubbish"), 5, "not written as a URL"),
    (("show", CUT), 2, "not a whole key"),
    (("show", ""), 2, "empty"),
    (("show", "http://a b/"), 5, "not written as a URL"),
    (("trust", CUT), 2, "not a whole key"),
    (("block", "did:web:agent.example"), 2, "not a whole key"),
    (("ping", CUT), 2, "not a whole key"),
    (("allow", "did:key:rubbish"), 2, "not a whole key"),
    (("allow", "https://agent.example:0x50/"), 5, "not written as a URL"),
    (("send", CUT, "hello"), 2, "not a whole key"),
    (("send", "rev", "hello", "--file", "nowhere.txt"), 2, "No such file"),
    (("send", "rev", "hello", "--file", "/"), 2, "is not a file"),
    (("send", "rev", "hello", "--context", "task-abcdef"), 3, "'task-abcdef' was not found"),
    (("send", "rev", "hello", "--skill", "s" * 129), 2, "at most 128"),
    (("send", "rev", "hello", "--idempotency-key", "k" * 257), 2, "at most 256"),
    (("answer", "xy", "hello"), 3, "was not found"),
    (("answer", "abcdef", "hello"), 3, "was not found"),
    (("cancel", "task-abcdef"), 3, "was not found"),
    (("save", "abcdef"), 3, "was not found"),
    (("forget", "abcdef", "--yes"), 3, "was not found"),
    (("task", "abcdef"), 3, "was not found"),
    (("answer", "abcdef", "hello", "--file", "nowhere.txt"), 2, "No such file"),
    (("send", "self", "hello"), 2, "self is this node itself"),
    (("send", "Self", "hello"), 2, "Self is this node itself"),
    (("trust", "self"), 2, "self is this node itself"),
    (("block", "SELF"), 2, "self is this node itself"),
    (("ping", "self"), 2, "self is this node itself"),
    (("alias", "self", "me"), 2, "self is this node itself"),
    (("id", "extra", "words"), 2, "Too many arguments: extra words"),
    (("agent", "exec", "--", "/nowhere/to/be/found"), 2, "'/nowhere/to/be/found' was not found, or may not be run.\n"),
    (("send", "--skill", "", "hello"), 2, "at least 1 character"),
    (("tasks", "--cursor", "rubbish"), 2, "is not a cursor"),
    (("tasks", "--state", "rubbish"), 2, "rubbish"),
    (("task", "xy"), 3, "was not found"),
    (("cancel", "xy"), 3, "was not found"),
    (("save", "xy"), 3, "was not found"),
    (("save", "abcdef", "/dev/null"), 2, "is not a folder"),
    (("forget", "xy", "--yes"), 3, "was not found"),
    (("callers", "add", "Build Server", "--agent", "rev"), 2, "cannot be the name of a client"),
    (("callers", "add", "build", "--agent", CUT), 2, "not a whole key"),
    (("callers", "grant", "nobody", "--agent", "rev"), 2, "There is no client 'nobody'"),
    (("agent", "exec", "--name", "rev", "--a2a-listen", "rubbish", "--", "rev"), 2, "is not an address to listen on"),
    (("agent", "exec", "--name", "rev", "--a2a-listen", ":0", "--tls-cert", "no.pem", "--", "rev"), 2, "no.pem"),
    (("serve", "--listen", ":0", "--grpc-in-card"), 2, "goes with --grpc-listen"),
    (("serve", "--listen", "0.0.0.0:0", "--a2a-push-local"), 2, "only this machine can reach"),
    (("serve", "--listen", ":0", "--public-url", "https://a.example", "--a2a-push-local"), 2, "only this machine"),
    (("serve", "--listen", ":0", "--grpc-listen", "0.0.0.0:0", "--a2a-push-local"), 2, "only this machine can reach"),
    (("serve", "--listen", ":0", "--grpc-listen", "rubbish"), 2, "is not an address to listen on"),
)


@pytest.mark.parametrize(
    ("words", "code", "said"), IMPOSSIBLE, ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else ""
)
def test_what_cannot_be_is_said_before_a_node_starts(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    finished = call(tmp_path / "home", *words, stdin="rubbish\n")
    assert (finished.returncode, finished.stdout) == (code, ""), finished
    assert said in finished.stderr
    assert not node_has_started(tmp_path / "home")


@pytest.mark.parametrize("words", [("rotate", "nobody"), ("leave", "nobody"), ("join", "rubbish"), ("forget", "xy")])
def test_no_person_is_asked_about_what_cannot_be(tmp_path: Path, words: tuple[str, ...]) -> None:
    finished = call(tmp_path / "home", *words, stdin="y\n", typed=True)
    assert finished.returncode in (3, 5)
    assert "[y/N]" not in finished.stderr
    assert not node_has_started(tmp_path / "home")


def test_an_error_found_early_is_one_json_object_too(tmp_path: Path) -> None:
    finished = call(tmp_path / "home", "peers", "add", "rubbish", "--json")
    assert json.loads(finished.stdout)["error"]["code"] == "configuration"


# --- questions


def member_of(home: Path, owner: Identity) -> None:
    """A data folder that is in the network `shop`, with an identity that is ALICE."""
    folder = home / "identities" / "default"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "did").write_text(str(ALICE.peer_id))
    (folder / "did").chmod(0o600)
    network = Network(bytes(32))
    NetworkFolder(home).save(NetworkRow(str(network.id), "shop", bytes(32).hex(), str(owner.peer_id), (), 0.0))


def asked(home: Path, *words: str, stdin: str) -> Finished:
    return call(home, *words, stdin=stdin, typed=True)


def test_only_the_owner_is_asked_about_a_new_secret(tmp_path: Path) -> None:
    member_of(tmp_path / "home", BOB)
    finished = asked(tmp_path / "home", "rotate", "shop", stdin="y\n")
    assert (finished.returncode, "[y/N]" in finished.stderr) == (5, False)
    assert f"Only the creator of shop can give it a new secret: {BOB.peer_id}" in finished.stderr


def test_other_words_than_yes_and_no_are_asked_about_again(tmp_path: Path) -> None:
    member_of(tmp_path / "home", ALICE)
    finished = asked(tmp_path / "home", "rotate", "shop", stdin="maybe\nquit\nNo\n")
    assert finished.returncode == 5
    assert finished.stderr.count("[y/N]") == 3
    assert finished.stderr.count("Please answer y or n.") == 2
    assert finished.stderr.endswith("Nothing was changed.\n")


@pytest.mark.parametrize("typed", ["\n", "", "n"])
def test_enter_and_the_end_of_the_input_change_nothing(tmp_path: Path, typed: str) -> None:
    member_of(tmp_path / "home", ALICE)
    finished = asked(tmp_path / "home", "leave", "shop", stdin=typed)
    assert (finished.returncode, finished.stderr.count("[y/N]")) == (5, 1)
    assert finished.stderr.endswith("\nNothing was changed.\n") or typed == "\n"
    assert NetworkFolder(tmp_path / "home").rows()


def test_a_port_that_another_program_has_is_found_out_before_the_node_of_an_agent_starts(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        where = f":{taken.getsockname()[1]}"
        words = ("agent", "exec", "--name", "rev", "--a2a-listen", where, "--", "cat")
        failed = call(tmp_path / "home", *words)
    assert (failed.returncode, failed.stdout) == (9, "")
    assert "in use" in failed.stderr
    assert not node_has_started(tmp_path / "home")
