"""Avahi on the other side: what it makes of our records, and we of its."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import avahi as avahi_here
from tests.e2e.avahi import avahi
from tests.e2e.command import until
from tests.e2e.lan import NETWORK, ip_on, lan, link_local, why_not
from tests.e2e.spoken import spoken

pytestmark = [pytest.mark.lan, pytest.mark.slow, pytest.mark.timeout(120)]

TYPES = ("_mcp-a2a._tcp", "_a2a._tcp")
SEEN_SECONDS = 20.0


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    if reason := why_not() or avahi_here.why_not():
        pytest.skip(reason)


@pytest.mark.parametrize("ipv4", [True, False], ids=["both families", "IPv6 only"])
def test_avahi_resolves_what_is_announced_here_and_is_found_itself(tmp_path: Path, ipv4: bool) -> None:  # noqa: FBT001
    with lan("ann", "ben", ipv4=ipv4) as on, avahi(on["ben"], tmp_path / "avahi") as stranger:
        ip_on(on["ann"], "link", "add", "docker0", "type", "bridge")
        ip_on(on["ann"], "addr", "add", "172.17.0.1/16", "dev", "docker0")
        ip_on(on["ann"], "link", "set", "docker0", "up")
        at_ann, at_ben = link_local(on["ann"]), link_local(on["ben"])
        own = {at_ann} | ({f"{NETWORK}.11"} if ipv4 else set())

        def addresses(service: str) -> set[str]:
            return {address for _, _, address in stranger.resolved(service)}

        with spoken(on["ann"], "lan_host.py", "ann", "7001") as ann:
            ann.until(lambda line: "me" in line, 30, "ann runs")
            for service in TYPES:
                until(lambda: addresses(service), SEEN_SECONDS, f"avahi resolves {service}")  # noqa: B023
                assert addresses(service) <= own
            with stranger.published("printer", "_a2a._tcp", 8123, "card=/card.json"):
                there = f"http://{NETWORK}.12:8123/card.json" if ipv4 else f"http://[{at_ben}%25v0]:8123/card.json"
                ann.until(lambda line: line.get("at") == [there], SEEN_SECONDS, "ann sees what avahi publishes")
            ann.until(lambda line: "web" in line and line["at"] == [], SEEN_SECONDS, "and that it is gone")
            if ipv4:
                ip_on(on["ann"], "addr", "del", f"{NETWORK}.11/24", "dev", "v0")
                ip_on(on["ann"], "addr", "add", f"{NETWORK}.66/24", "brd", "+", "dev", "v0")
                for service in TYPES:
                    until(
                        lambda: f"{NETWORK}.66" in addresses(service) <= {at_ann, f"{NETWORK}.66"},  # noqa: B023
                        SEEN_SECONDS,
                        f"avahi resolves {service} where ann is now",
                    )


def test_beside_an_avahi_of_the_same_host_both_are_found(tmp_path: Path) -> None:
    with (
        lan("ann", "ben") as on,
        avahi(on["ann"], tmp_path / "avahi") as beside,
        spoken(on["ann"], "lan_host.py", "ann", "7001") as ann,
        spoken(on["ben"], "lan_host.py", "ben", "7002") as ben,
    ):
        me = ann.until(lambda line: "me" in line, 30, "ann runs")["me"]
        ben.until(lambda line: line.get("peer") == me, SEEN_SECONDS, "ben sees ann")
        with beside.published("printer", "_a2a._tcp", 8123, "card=/card.json"):
            there = f"http://{NETWORK}.11:8123/card.json"
            for host in (ann, ben):
                host.until(lambda line: line.get("at") == [there], SEEN_SECONDS, "both see what it publishes")
