"""Following the interfaces of this machine, told by the kernel or not."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface

import anyio
import pytest

from mcp_a2a_transports import surroundings
from mcp_a2a_transports._kernel_notices import kernel_notices, read_all
from mcp_a2a_transports.surroundings import Interface, Surroundings, interfaces_here, text_of_end
from mcp_a2a_transports.wires import MAX_WIRES

LO = Interface("lo", 1, (ip_interface("127.0.0.1/8"),))
WIFI = Interface("v0", 2, (ip_interface("192.168.1.5/24"), ip_interface("fe80::5/64")))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[Interface]:
    """A machine with loopback alone, whose interfaces a test changes."""
    has = [LO]
    monkeypatch.setattr(surroundings, "_all_interfaces", lambda: list(has))
    return has


async def test_without_notices_of_the_kernel_a_change_is_found_by_looking(
    machine: list[Interface], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def nothing() -> Iterator[None]:
        yield None

    monkeypatch.setattr(surroundings, "kernel_notices", nothing)
    monkeypatch.setattr(surroundings, "LOOK_SECONDS", 0.01)
    here = Surroundings()
    assert here.now == (LO,)
    async with here.open():
        machine.append(WIFI)
        with anyio.fail_after(30):
            await here.changed.wait()
    assert not here.is_told
    assert here.now == (WIFI,)
    assert here.addresses == {"127.0.0.1", "192.168.1.5", "fe80::5%v0"}


async def test_a_notice_of_the_kernel_is_a_reason_to_look(
    machine: list[Interface], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.settimeout(0)

    @contextmanager
    def notices() -> Iterator[socket.socket]:
        yield ours

    monkeypatch.setattr(surroundings, "kernel_notices", notices)
    here = Surroundings()
    with ours, kernels:
        async with here.open():
            await anyio.wait_all_tasks_blocked()
            machine.append(WIFI)
            changed = here.changed
            kernels.send(b"a notice, and perhaps nonsense")
            with anyio.fail_after(30):
                await changed.wait()
            assert here.is_told
            assert here.now == (WIFI,)


def test_more_notices_than_are_read_are_one_reason_to_look() -> None:
    with kernel_notices() as notices:
        if notices is None:
            pytest.skip("this system tells nothing of its interfaces")
        read_all(notices)  # returns where there is none


def test_the_interfaces_stay_as_they_were_while_no_open_file_is_left_to_look_at_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    here, before = Surroundings(), interfaces_here()
    addresses = here.addresses
    monkeypatch.setattr("ifaddr.get_adapters", refused)
    here.look()
    assert (here.now, here.addresses) == (before, addresses)
    assert interfaces_here() == before
    monkeypatch.setattr(surroundings, "_said", [])
    with pytest.raises(OSError, match="open files"):
        Surroundings()


def test_a_cable_that_is_in_again_is_a_change() -> None:
    assert Interface("v0", 2, WIFI.ips, has_carrier=False) != WIFI


class Carrier:
    """What the system says of the cable of every interface."""

    def __init__(self, said: str | OSError) -> None:
        self._said = said

    def __truediv__(self, name: str) -> Carrier:
        return self

    def exists(self) -> bool:
        return False

    def read_text(self, encoding: str) -> str:
        if isinstance(self._said, OSError):
            raise self._said
        return self._said


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not say")
@pytest.mark.parametrize(
    ("said", "is_in"),
    [("1\n", True), ("0\n", False), (OSError(errno.EINVAL, "switched off"), False), (OSError(errno.ENOENT, "?"), True)],
)
def test_an_interface_that_is_switched_off_leads_nowhere_like_one_without_a_cable(
    monkeypatch: pytest.MonkeyPatch, said: str | OSError, *, is_in: bool
) -> None:
    monkeypatch.setattr(surroundings, "_DEVICES", Carrier(said))
    assert [one.has_carrier for one in interfaces_here(["127.0.0.1"])] == [is_in]


def test_bridges_that_lead_nowhere_leave_a_place_to_the_network(machine: list[Interface]) -> None:
    machine[:] = [
        Interface(f"br-{number}", number, (ip_interface(f"172.{number}.0.1/16"),), has_carrier=False)
        for number in range(18, 18 + MAX_WIRES)
    ]
    machine.append(Interface("v0", 900, WIFI.ips))
    assert interfaces_here()[0].name == "v0"


@pytest.mark.parametrize(
    ("end", "lacked"),
    [
        (("192.168.1.5", 7), False), (("192.168.1.6", 7), True), (("::ffff:192.168.1.6", 7, 0, 0), True),
        (("127.0.0.5", 7), False), (("::1", 7, 0, 0), False), (("0.0.0.0", 0), False), (("::", 0, 0, 0), False),  # noqa: S104
        (("fe80::6%v0", 7, 0, 2), True), (("fe80::5%v0", 7, 0, 2), False), ("/run/socket", False), (None, False),
    ],
)  # fmt: skip
def test_a_connection_is_over_when_this_machine_no_longer_has_its_address(
    machine: list[Interface], end: object, *, lacked: bool
) -> None:
    machine.append(WIFI)
    assert Surroundings().lacks(end) is lacked


def test_who_wants_to_hear_of_changes_hears_of_each_as_long_as_it_wants_to(machine: list[Interface]) -> None:
    here, heard = Surroundings(), []
    with here.telling(lambda: heard.append(here.now)):
        here.look()
        machine.append(WIFI)
        here.look()
    machine.remove(WIFI)
    here.look()
    assert heard == [(WIFI,)]


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (("192.168.1.5", 7), "192.168.1.5"),
        (("::ffff:192.168.1.5", 7, 0, 0), "192.168.1.5"),
        (("fd12::5", 7, 0, 0), "fd12::5"),
        (("fe80::5", 7, 0, 1), "fe80::5%lo"),
        (("fe80::5%lo", 7, 0, 1), "fe80::5%lo"),
        (("fe80::5", 7, 0, 999_999), "fe80::5%999999"),
        ("/run/socket", None),
        (None, None),
        ((), None),
    ],
)
def test_the_end_of_a_connection_is_written_in_one_way(end: object, text: str | None) -> None:
    assert text_of_end(end) == text
