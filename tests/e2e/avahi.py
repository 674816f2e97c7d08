"""Avahi as the stranger on a host of a test's LAN, with a D-Bus of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""

DAEMON = """[server]
host-name={name}
use-ipv4=yes
use-ipv6=yes
ratelimit-interval-usec=1000000
ratelimit-burst=1000
[publish]
publish-workstation=no
"""

PROGRAMS = ("avahi-daemon", "avahi-browse", "avahi-publish-service", "dbus-daemon", "unshare", "mount")


def why_not() -> str | None:
    """Why it cannot run here, or None."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


class Avahi:
    """A host where it runs."""

    def __init__(self, on: Sequence[str], socket: Path) -> None:
        self._on = on
        self._env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}", "LC_ALL": "C"}

    def resolved(self, service: str) -> set[tuple[str, str, str]]:
        """What it knows of a type of service: device, family and address."""
        words = [*self._on, "avahi-browse", "-rpt", service]
        done = subprocess.run(words, env=self._env, capture_output=True, text=True, timeout=30, check=False)
        found = [line.split(";") for line in done.stdout.splitlines() if line.startswith("=")]
        return {(fields[1], fields[2], fields[7]) for fields in found}

    @contextmanager
    def published(self, name: str, service: str, port: int, *txt: str) -> Iterator[None]:
        """A service of this host."""
        words = [*self._on, "avahi-publish-service", name, service, str(port), *txt]
        with _running(words, self._env):
            yield


@contextmanager
def avahi(on: Sequence[str], folder: Path) -> Iterator[Avahi]:
    """Avahi on a host, until the context ends."""
    folder.mkdir()
    socket = folder / "bus"
    (folder / "bus.conf").write_text(BUS.format(socket=socket))
    (folder / "avahi.conf").write_text(DAEMON.format(name="stranger"))
    env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}"}
    for name, line in (("passwd", "avahi:x:65533:65533::/:/bin/false"), ("group", "avahi:x:65533:")):
        known = [one for one in Path(f"/etc/{name}").read_text().splitlines() if not one.startswith("avahi:")]
        (folder / name).write_text("\n".join([*known, line, ""]))
    # A /run of its own, for a second daemon of this machine; and the user that it insists on.
    daemon = (
        "mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && "
        f"mount --bind {folder / 'passwd'} /etc/passwd && mount --bind {folder / 'group'} /etc/group && "
        f"exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --no-proc-title -f {folder / 'avahi.conf'}"
    )
    with ExitStack() as stack:
        stack.enter_context(_running(["dbus-daemon", "--nofork", f"--config-file={folder / 'bus.conf'}"], env))
        end = time.monotonic() + 10
        while not socket.exists():
            assert time.monotonic() < end, "D-Bus does not start"
            time.sleep(0.02)
        stack.enter_context(_running([*on, "unshare", "-m", "sh", "-c", daemon], env))
        yield Avahi(on, socket)


@contextmanager
def _running(words: Sequence[str], env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
