"""A service type on the LAN: our record of it, and the records of others on each interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from typing_extensions import override
from zeroconf.asyncio import AsyncServiceInfo

from mcp_a2a_transports.surroundings import Interface

RECORD_SECONDS = 120
"""Life of our records."""

Said = TypeVar("Said")


@dataclass(frozen=True)
class Announced:
    """Our announcement: a port, under a label that is made of a key or of chance.

    Attributes:
        txt: the TXT record.
        bound_to: the address that the port listens on, "*" for all.
        on_loopback: True to announce it on the loopback interface as well.
    """

    service_type: str
    label: str
    port: int
    txt: Mapping[str, str]
    bound_to: str = "*"
    on_loopback: bool = True

    @property
    def name(self) -> str:
        """The name of the record."""
        return f"{self.label}.{self.service_type}"

    def on(self, interface: Interface) -> AsyncServiceInfo | None:
        """The record on an interface: it names where it is reached there. None if that is nowhere."""
        addresses = interface.served_by(self.bound_to).announced
        if not addresses or (interface.is_loopback and not self.on_loopback):
            return None
        return AsyncServiceInfo(
            self.service_type,
            self.name,
            port=self.port,
            server=f"{self.label}.local.",
            parsed_addresses=list(addresses),
            properties=dict(self.txt),
            host_ttl=RECORD_SECONDS,
            other_ttl=RECORD_SECONDS,
        )


class LanService:
    """One run of an announcement. It browses for nothing; `Finder` does."""

    max_names = 0
    """Names that are followed on one interface; 0 to look for none."""

    def __init__(self, service_type: str, announced: Announced | None = None) -> None:
        self.service_type = service_type
        self.announced = announced

    def record(self, interface: Interface) -> AsyncServiceInfo | None:
        """The record announced on an interface; None without one."""
        return self.announced.on(interface) if self.announced is not None else None

    def is_followed(self, name: str) -> bool:
        """True if the name may be one of a service that is looked for."""
        return self.announced is None or name != self.announced.name

    def found(self, interface: Interface, record: AsyncServiceInfo) -> bool:
        """Take a record that was heard on an interface, whole, and perhaps again.

        Returns:
            True if it is believed.
        """
        return False

    def lost(self, interface: Interface, name: str) -> None:
        """Take it that a name that was believed is no longer there, on that interface."""


class Finder(LanService, ABC, Generic[Said]):
    """One run of a search. A name that is heard on several interfaces is read on each of them for itself."""

    def __init__(self, service_type: str, announced: Announced | None = None) -> None:
        super().__init__(service_type, announced)
        self.seen: dict[str, dict[tuple[str, int], Said]] = {}
        """The believed record of each name, by interface, in the order in which the interfaces heard it."""

    @abstractmethod
    def read_untrusted(self, interface: Interface, record: AsyncServiceInfo) -> Said | None:
        """The content of a record; None if it is not believed."""

    @abstractmethod
    def tell(self, name: str, about: Said, now: Sequence[Said]) -> None:
        """Pass on a change.

        Args:
            name: the name of the record.
            about: what one interface says now, or said until it was lost there.
            now: what all interfaces say; empty when the name is lost.
        """

    @override
    def found(self, interface: Interface, record: AsyncServiceInfo) -> bool:
        said = self.read_untrusted(interface, record)
        if said is None:
            return False
        on = self.seen.setdefault(record.name, {})
        on[interface.key] = said
        self.tell(record.name, said, tuple(on.values()))
        return True

    @override
    def lost(self, interface: Interface, name: str) -> None:
        on = self.seen[name]
        said = on.pop(interface.key)
        if not on:
            del self.seen[name]
        self.tell(name, said, tuple(on.values()))
