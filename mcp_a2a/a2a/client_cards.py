"""What is at a URL where a card may be: a card, signed or not, or why there is none."""

from __future__ import annotations

import codecs

from mcp_a2a.a2a.client_card import card_of, names_only, read_card
from mcp_a2a.a2a.guarded import Answered, pause_asked
from mcp_a2a.errors.web import CardError
from mcp_a2a.protocol.signed_card import verify_card
from mcp_a2a.protocol.web_url import agent_url
from mcp_a2a.web_ports import FoundCard, NotNowError


def why_no_card(answer: Answered, url: str) -> str | None:
    """Why what is there is no card at all; None where it means to be one.

    Raises:
        WebError: it may be there, but not now, or not for us.
    """
    if answer.status in (401, 403):
        raise CardError(
            f"{url} requires a login (HTTP {answer.status}).",
            f"Give it a credential: mcp-a2a peers add {agent_url(url)} --token-stdin",
        )
    if answer.status in (408, 425, 429) or answer.status >= 500:
        later = pause_asked(answer.headers)
        raise NotNowError(f"{url} answers with HTTP {answer.status}.", "Try again later.", seconds=later)
    if answer.status != 200:
        return f"{url} answers with HTTP {answer.status}"
    if answer.body.removeprefix(codecs.BOM_UTF8).lstrip()[:1] != b"{":  # whatever its server calls it
        return f"{url} is {'a web page' if 'html' in answer.media_type else 'no JSON object'}"
    return None


def found_card(body: bytes, url: str) -> FoundCard:
    """The card in an answer, as far as it is signed where it is.

    Raises:
        CardError: it is none, or claims a key that has not signed it.
    """
    card, fields = read_card(body, url)
    signed = verify_card(fields)
    if signed.card is not fields:  # what is not signed of it does not count
        card = card_of(signed.card, url)
    key = str(signed.key) if signed.key is not None else None
    return FoundCard(agent_url(url), card, key, bound=names_only(signed.card, url))
