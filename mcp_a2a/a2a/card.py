"""The card that an A2A client fetches: an agent's own words, and where and how this server speaks for it (A2A 4.4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from mcp_a2a.protocol.extensions import shown_skills
from mcp_a2a.protocol.model import AgentCard, AgentSkill

Style = Literal["v1", "dual"]
"""`dual` carries the keys of 0.3 as well, `v1` only those of 1.0."""

PATHS = ("/.well-known/agent-card.json", "/.well-known/agent.json")

MAX_AGE_SECONDS = 60


@dataclass(frozen=True)
class Terms:
    """The parts of a card that this server adds."""

    url: str
    """The URL of the agent, with a slash at its end."""
    style: Style = "dual"
    push: bool = False
    token: bool = False
    """True if callers must show a token."""
    grpc: str | None = None
    """HOST:PORT at which gRPC is served, if it is."""


def card_json(card: AgentCard, terms: Terms, *, extended: bool = False) -> dict[str, JsonValue]:
    """The card of an agent as it is served here: to everyone, or `extended` to who has shown who it is."""
    # Where no token is asked for, everyone who calls is the user.
    skills = shown_skills(card, extended=extended or not terms.token)
    fields: dict[str, JsonValue] = json.loads(card.to_json())
    fields |= {
        "supportedInterfaces": [
            {"url": url, "protocolBinding": binding, "protocolVersion": version}
            for url, binding, version in _interfaces(terms)
        ],
        "capabilities": {
            **_dict(fields.get("capabilities")),
            "streaming": True,
            "pushNotifications": terms.push,
            "extendedAgentCard": terms.token,
        },
        "skills": [_skill(skill, card) for skill in skills],
        "defaultInputModes": _modes(card.default_input_modes),
        "defaultOutputModes": _modes(card.default_output_modes),
    }
    if terms.token:
        fields |= _security_schemes(terms.style)
    if terms.style == "dual":
        fields |= {
            "protocolVersion": "0.3.0",
            "url": terms.url,
            "preferredTransport": "JSONRPC",
            "additionalInterfaces": [
                {"url": terms.url, "transport": "JSONRPC"},
                {"url": terms.url, "transport": "HTTP+JSON"},
            ],
            "supportsAuthenticatedExtendedCard": terms.token,
        }
    return fields


def _interfaces(terms: Terms) -> Iterator[tuple[str, str, str]]:
    """The interfaces of the agent: URL, binding and version, the best first."""
    yield terms.url, "JSONRPC", "1.0"
    yield terms.url, "HTTP+JSON", "1.0"
    if terms.grpc is not None:
        yield terms.grpc, "GRPC", "1.0"
    if terms.style == "dual":
        yield terms.url, "JSONRPC", "0.3"


def _skill(skill: AgentSkill, card: AgentCard) -> dict[str, JsonValue]:
    """A skill with its modes written out: there are clients that refuse a card where one has none."""
    fields: dict[str, JsonValue] = json.loads(skill.to_json())
    fields.pop("extended", None)
    fields["tags"] = list(skill.tags) or ["general"]  # a list that must have an element
    fields["inputModes"] = list(skill.input_modes or ()) or _modes(card.default_input_modes)
    fields["outputModes"] = list(skill.output_modes or ()) or _modes(card.default_output_modes)
    return fields


def _modes(modes: Sequence[str]) -> list[JsonValue]:
    """Media types of a list that must have an element."""
    return list(modes) or ["text/plain"]


def _security_schemes(style: Style) -> dict[str, JsonValue]:
    bearer: JsonValue = {"httpAuthSecurityScheme": {"scheme": "Bearer"}}
    key: JsonValue = {"apiKeySecurityScheme": {"location": "header", "name": "X-API-Key"}}
    fields: dict[str, JsonValue] = {
        "securitySchemes": {"bearer": bearer, "apiKey": key},
        "securityRequirements": [{"schemes": {"bearer": {"list": []}}}, {"schemes": {"apiKey": {"list": []}}}],
    }
    if style == "dual":
        fields["securitySchemes"] = {
            "bearer": {**_dict(bearer), "type": "http", "scheme": "Bearer"},
            "apiKey": {**_dict(key), "type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        fields["security"] = [{"bearer": []}, {"apiKey": []}]
    return fields


def etag_of(body: bytes) -> str:
    """The entity tag of this card (RFC 9110, 8.8.3)."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _dict(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}
