"""An agent that is added by its URL as well stays one agent, and its name goes on meaning it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.inside import answer
from tests.e2e.command import agent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_adding_the_url_of_an_agent_makes_no_second_one_and_breaks_no_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    webrev = ("exec", "--name", "webrev", "--no-mdns", "--skill", "reverse", "--a2a-listen", "127.0.0.1:0", "--", "rev")
    with agent(home, *webrev) as running:
        url = running.ready["a2a_url"]
        added = answer(home, "--no-mdns", "peers", "add", url)
        assert (added["did"], added["urls"]) == (running.did, [url])
        (found,) = answer(home, "--no-mdns", "discover")["agents"]
        assert (found["did"], found["urls"], found["route"]) == (running.did, [url], "local")
        sealed = answer(home, "--no-mdns", "send", "webrev", "abc")
        assert (sealed["text"], sealed["agent"]["did"], sealed["route"]) == ("cba", running.did, "local")
        named = answer(home, "--no-mdns", "send", url, "abc")
        assert (named["text"], named["agent"]["did"], named["route"]) == ("cba", url, "http")
