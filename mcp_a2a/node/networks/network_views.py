"""Networks as they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.api.networks import NetworkView, RelayView
from mcp_a2a.protocol.times import iso
from mcp_a2a.relay_ports import RelayState
from mcp_a2a.store.network_folder import NetworkRow


def network_view(row: NetworkRow, me: str, states: Sequence[RelayState], members: int, online: int) -> NetworkView:
    """A network of ours; `states` are those of all our relays."""
    by_url = {state.url: state for state in states}
    return NetworkView(
        name=row.name,
        id=row.id,
        owner=row.owner,
        mine=row.owner == me,
        relays=tuple(_relay_view(url, by_url.get(url)) for url in row.relays),
        members=members,
        online=online,
        joined=iso(row.joined),
    )


def _relay_view(url: str, state: RelayState | None) -> RelayView:
    if state is None:
        return RelayView(url=url, connected=False, detail="not started yet")
    rtt = round(state.rtt_seconds * 1000, 2) if state.rtt_seconds is not None else None
    return RelayView(url=url, connected=state.connected, detail=state.detail, rtt_ms=rtt)
