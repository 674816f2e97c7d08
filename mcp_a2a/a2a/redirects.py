"""Where a redirect leads, and whether it is followed."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import aiohttp

from mcp_a2a.errors.web import AddressNotAllowedError, WebAnswerError, WebError
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.web_url import MAX_URL, origin


def moved_to(response: aiohttp.ClientResponse) -> str | None:
    """Where a redirect leads. Longer than any URL stays so, and is refused as one."""
    if response.status not in (301, 302, 303, 307, 308) or "Location" not in response.headers:
        return None
    return preview(response.headers["Location"], MAX_URL + 1)


_KEEPING = frozenset({307, 308})
"""Redirects that keep method and body (RFC 9110 15.4.8): frameworks answer so where a path lacks its last slash."""


def _is_same_origin(url: str, following: str) -> bool:
    try:
        return origin(url) == origin(following)
    except AddressNotAllowedError:
        return False


def next_hop(url: str, target: str, status: int, *, follow: bool) -> str:
    """Where a redirect leads, if that is followed.

    Args:
        url: What was asked for.
        target: What the answer names.
        status: Of the answer.
        follow: Also to other ports of the same host, and with another method.

    Raises:
        WebError: it is not.
    """
    try:
        following = urljoin(url, target)
        here, there = urlsplit(url), urlsplit(following)
    except ValueError:
        raise WebAnswerError(f"{url} redirects to something that is not a URL.", "Its owner must fix that.") from None
    safe = there.scheme in ("https", here.scheme)
    same_host = follow and here.hostname == there.hostname and safe
    if not same_host and not (status in _KEEPING and _is_same_origin(url, following)):
        kind = WebError if follow else WebAnswerError  # a card may be back later; who was told has answered
        raise kind(
            f"{url} sends callers on to {following[:MAX_URL]}, which is not followed.",
            "If that is where the agent is, use that address.",
        )
    return following
