"""Agent cards of all ages, read with goodwill; what makes one unusable is said in a sentence.

A 0.3 card (`url`, `preferredTransport`, `additionalInterfaces`) becomes interfaces of version 0.3; a dual one has both.
"""

from __future__ import annotations

import codecs
import ipaddress
import re
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

from pydantic import JsonValue, ValidationError

from mcp_a2a.a2a.client_parts import Fields, parse
from mcp_a2a.a2a.guarded import Answered, pause_asked
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.errors.web import AddressNotAllowedError, CardError
from mcp_a2a.protocol.model import AgentCapabilities, AgentCard, AgentCardSignature, AgentInterface, AgentSkill
from mcp_a2a.protocol.plain_words import place_of, plainly
from mcp_a2a.protocol.signed_card import MAX_SIGNATURES, verify_card
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.web_url import agent_url, host_from_url, host_in_url, origin
from mcp_a2a.web_ports import FoundCard, NotNowError

BINDINGS = ("JSONRPC", "HTTP+JSON")
"""The bindings of this client."""

MAX_SKILLS = 256
MAX_INTERFACES = 16
MAX_EXTENSIONS = 64

_ANYWHERE = frozenset({"0.0.0.0", "localhost", "127.0.0.1", "::", "::1"})  # noqa: S104  not bound: read, and mended
"""Hosts on the card of an agent that does not know its address."""


def read_card(body: bytes, url: str) -> tuple[AgentCard, Fields]:
    """The card that came from `url`, and the JSON that it was.

    Raises:
        CardError: it is none, or cannot be used; says what is wrong with it.
    """
    try:
        value = parse(body)
    except ValueError as error:
        raise CardError(f"What is at {url} is not an agent card: it is not JSON ({error}).") from None
    if not isinstance(value, dict):
        raise CardError(f"What is at {url} is not an agent card: it is JSON, but not an object.")
    return card_of(value, url), value


def card_of(fields: Fields, url: str) -> AgentCard:
    """The card that these fields make.

    Raises:
        CardError
    """
    name = _text(_get(fields, "name"))
    if not name:
        raise CardError(f"The agent card at {url} cannot be used: it has no name.", _MEND)
    interfaces = _interfaces(fields, url)
    try:
        return AgentCard(
            name=name[:128],
            description=_text(_get(fields, "description"))[:4096],
            version=_text(_get(fields, "version"))[:64] or "0.0.0",
            supported_interfaces=interfaces,
            capabilities=AgentCapabilities.model_validate(_capabilities(fields)),
            default_input_modes=_texts(_get(fields, "defaultInputModes")) or ("text/plain",),
            default_output_modes=_texts(_get(fields, "defaultOutputModes")) or ("text/plain",),
            skills=_skills(fields),
            documentation_url=_text(_get(fields, "documentationUrl")) or None,
            icon_url=_text(_get(fields, "iconUrl")) or None,
            security_schemes=_object(_get(fields, "securitySchemes")) or None,
            security_requirements=_requirements(fields),
            signatures=_signatures(fields),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        wrong = f"{place_of(first)} in it is wrong ({plainly(first)})"
        raise CardError(f"The agent card at {url} cannot be used: {wrong}.", _MEND) from None


_MEND = "Its owner must fix that."


def names_only(fields: Fields, url: str) -> bool:
    """True if a card names interfaces at the origin of this URL alone, as it is written: nothing is mended here.

    Then its signature says where its agent is. One that is copied to another host says that it is elsewhere.
    """
    listed = [*_list(_get(fields, "supportedInterfaces")), *_list(_get(fields, "additionalInterfaces")), fields]
    # gRPC has HOST:PORT, which we never call.
    said = [item for item in listed if isinstance(item, dict) and _binding(item) != "GRPC"]
    places = [place for item in said if (place := _text(_get(item, "url")))]
    try:
        return bool(places) and all(origin(place) == origin(url) for place in places)
    except AddressNotAllowedError:
        return False  # a place without a host is wherever the card is shown


def _binding(fields: Fields) -> str:
    return (_text(_get(fields, "protocolBinding")) or _text(_get(fields, "transport"))).upper()


def usable(card: AgentCard) -> list[AgentInterface]:
    """The interfaces that we speak, best first: 1.0 before 0.3, otherwise as the agent prefers."""
    spoken = [interface for interface in card.supported_interfaces if interface.protocol_binding in BINDINGS]
    # The REST binding of 0.3 was never written down well, so it is the last resort.
    return sorted(spoken, key=lambda one: 0 if is_current(one) else 1 if one.protocol_binding == "JSONRPC" else 2)


def is_current(interface: AgentInterface) -> bool:
    """True if 1.0 is spoken there, or something later that 1.0 should do for."""
    return not interface.protocol_version.startswith("0.")


def _interfaces(fields: Fields, url: str) -> tuple[AgentInterface, ...]:
    listed = [_interface(item, url, "1.0") for item in _list(_get(fields, "supportedInterfaces"))]
    listed += _older(fields, url)
    found = tuple(dict.fromkeys(interface for interface in listed if interface is not None))[:MAX_INTERFACES]
    if not found:
        raise CardError(
            f"The agent card at {url} cannot be used: it names no interface at a URL"
            " (supportedInterfaces, or url in 0.3).",
            _MEND,
        )
    if not any(interface.protocol_binding in BINDINGS for interface in found):
        offered = preview(", ".join(sorted({interface.protocol_binding for interface in found})), 128)
        raise CardError(
            f"The agent at {url} offers {offered} only, and mcp-a2a speaks {' and '.join(BINDINGS)}.",
            "Ask its owner for one of these.",
        )
    return found


def _older(fields: Fields, url: str) -> list[AgentInterface | None]:
    """The interfaces on a card of version 0.3."""
    where = _text(_get(fields, "url"))
    if not where:
        return []
    version = _text(_get(fields, "protocolVersion"))
    version = version if version.lstrip("vV").startswith("0.") else "0.3"
    preferred: Fields = {"url": where, "transport": _get(fields, "preferredTransport") or "JSONRPC"}
    more = _list(_get(fields, "additionalInterfaces"))
    return [_interface(item, url, version) for item in (preferred, *more)]


def _interface(value: JsonValue, base: str, version: str) -> AgentInterface | None:
    if not isinstance(value, dict):
        return None
    called = _text(_get(value, "protocolBinding")) or _text(_get(value, "transport")) or "JSONRPC"
    binding = _NAMES.get(_NO_LETTER.sub("", called.upper()), called)
    said = _text(_get(value, "url"))
    if binding in BINDINGS and _HOST_AND_PORT.match(said):
        said = f"//{said}"
    url = _place(said, base)
    if url is None:
        return None
    return AgentInterface(
        url=url,
        protocol_binding=binding[:256],
        protocol_version=(_text(_get(value, "protocolVersion")).lstrip("vV") or version)[:16],
        tenant=_text(_get(value, "tenant")) or None,
    )


_NO_LETTER = re.compile("[^A-Z]")
_NAMES = {"JSONRPC": "JSONRPC"} | dict.fromkeys(
    ("HTTPJSON", "HTTPJSONREST", "REST", "RESTJSON", "RESTHTTPJSON", "HTTPREST", "HTTP"), "HTTP+JSON"
)
"""The bindings that we speak, by the letters of what cards call them."""

_HOST_AND_PORT = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5}(?=[/?#]|\Z)")
"""The beginning of a URL without a scheme."""


def _place(said: str, base: str) -> str | None:
    """The URL of an interface; None if the card has no URL for it. A relative one is below the agent's own."""
    try:
        return mended(urljoin(agent_url(base), said), base) if said else None
    except ValueError:
        return None


def mended(url: str, base: str) -> str:
    """The URL of an agent that gives "localhost" as its host: at the host that its card was read from.

    The same of one that names its link-local address, to which the zone belongs by which we reach it.

    Raises:
        ValueError: it is no URL.
    """
    said, here = urlsplit(url), urlsplit(base)
    port = f":{said.port}" if said.port is not None else ""
    if here.hostname is not None and "%" in here.hostname and _is_link_local_at(said.hostname, here.hostname):
        return said._replace(netloc=f"{host_in_url(host_from_url(here.hostname))}{port}").geturl()
    if said.hostname not in _ANYWHERE or here.hostname is None:
        return url
    if here.hostname not in _ANYWHERE and (here.port is None or here.scheme == "https"):
        return said._replace(scheme=here.scheme, netloc=here.netloc).geturl()  # a proxy hides its own port
    host = host_in_url(host_from_url(here.hostname))
    return said._replace(netloc=f"{host}{port}").geturl()


def _is_link_local_at(said: str | None, here: str) -> bool:
    """True if two hosts are one address of a link, whatever their zones."""
    with suppress(ValueError):
        address = ipaddress.ip_address((said or "").partition("%")[0])
        return address.is_link_local and address == ipaddress.ip_address(here.partition("%")[0])
    return False


def _capabilities(fields: Fields) -> Fields:
    said = _object(_get(fields, "capabilities"))
    extended = _get(said, "extendedAgentCard") is True or _get(fields, "supportsAuthenticatedExtendedCard") is True
    extensions: list[JsonValue] = [
        item for item in _list(_get(said, "extensions")) if isinstance(item, dict) and _uri(item)
    ]
    found: Fields = {
        "streaming": _truth(_get(said, "streaming")),
        "pushNotifications": _truth(_get(said, "pushNotifications")),
        "extendedAgentCard": extended,
        "extensions": [_extension(_object(item)) for item in extensions[:MAX_EXTENSIONS]],
    }
    return found


def _uri(fields: Fields) -> str:
    return _text(fields.get("uri")) if isinstance(fields.get("uri"), str) else ""


def _extension(fields: Fields) -> Fields:
    return {
        "uri": _text(fields.get("uri"))[:1024],
        "description": _text(fields.get("description"))[:1024] or None,
        "required": _truth(fields.get("required")),
        "params": _object(fields.get("params")) or None,
    }


def _skills(fields: Fields) -> tuple[AgentSkill, ...]:
    """The skills that can be told apart; what they lack is made up from what they have."""
    return tuple(filter(None, map(_skill, _list(_get(fields, "skills"))[:MAX_SKILLS])))


def _skill(value: JsonValue) -> AgentSkill | None:
    fields: Fields = value if isinstance(value, dict) else {"id": value}
    skill_id = _text(_get(fields, "id")) or _text(_get(fields, "name"))
    if not skill_id:
        return None
    return AgentSkill(
        id=skill_id[:128],
        name=(_text(_get(fields, "name")) or skill_id)[:256],
        description=_text(_get(fields, "description"))[:4096],
        tags=_texts(_get(fields, "tags")),
        examples=_texts(_get(fields, "examples")) or None,
        input_modes=_texts(_get(fields, "inputModes")) or None,
        output_modes=_texts(_get(fields, "outputModes")) or None,
        input_schema=_object(_get(fields, "inputSchema")) or None,
    )


def _requirements(fields: Fields) -> tuple[Fields, ...] | None:
    listed = _list(_get(fields, "securityRequirements")) or _list(_get(fields, "security"))
    return tuple(item for item in listed if isinstance(item, dict)) or None


def _signatures(fields: Fields) -> tuple[AgentCardSignature, ...] | None:
    """As they came. Whether they are good, `protocol.signed_card` says."""
    listed = map(_object, _list(_get(fields, "signatures"))[:MAX_SIGNATURES])
    written = [(_get(one, "protected"), _get(one, "signature")) for one in listed]
    read = (
        AgentCardSignature(protected=protected[:4096], signature=signature[:4096])
        for protected, signature in written
        if isinstance(protected, str) and isinstance(signature, str)
    )
    return tuple(read) or None


def _get(fields: Fields, name: str) -> JsonValue:
    """A member, however its name is written."""
    if name in fields:
        return fields[name]
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return fields.get(snake)


def _text(value: JsonValue) -> str:
    if value is None or isinstance(value, bool | dict | list):
        return ""
    return str(value).strip()


def _texts(value: JsonValue) -> tuple[str, ...]:
    return tuple(filter(None, (_text(item)[:1024] for item in _list(value))))[:64]


def _truth(value: JsonValue) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


def _object(value: JsonValue) -> Fields:
    return value if isinstance(value, dict) else {}


# What is at a URL where a card may be: a card, signed or not, or why there is none.


def why_no_card(answer: Answered, url: str) -> str | None:
    """Why what is there is no card at all; None where it means to be one.

    Raises:
        WebError: it may be there, but not now, or not for us.
    """
    if answer.status in (401, 403):
        raise CardError(
            f"{url} requires a login (HTTP {answer.status}).",
            Remedy("Give it a credential: mcp-a2a peers add {url} --token-stdin", url=agent_url(url)),
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
