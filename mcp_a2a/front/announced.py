"""The answers that do not depend on the node, as the SDK gives them, in both protocol eras.

They are kept in `answers.json`, which `python -m tests.front.regenerate` makes by asking the SDK; a test compares both.
What a client has sent before decides whether they are the right ones, so this follows the session: it answers only
where it is certain, and gives up for good (`certain`) at the first line whose effect on a session it does not know.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

from mcp_a2a.version import __version__

FILE = Path(__file__).with_name("answers.json")

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Object: TypeAlias = "dict[str, Json]"

META = "io.modelcontextprotocol/"
META_VERSION, META_CLIENT, META_CAPABILITIES = (
    f"{META}{name}" for name in ("protocolVersion", "clientInfo", "clientCapabilities")
)

PROBE = "server/discover"
HANDSHAKE = "initialize"

HARMLESS = frozenset(
    {
        "ping", "tools/list", "prompts/list", "resources/list", "resources/templates/list",
        "tools/call", "prompts/get", "resources/read", "completion/complete", "logging/setLevel",
        "notifications/initialized", "notifications/cancelled", "notifications/progress",
        "notifications/roots/list_changed",
    }
)  # fmt: skip
"""Methods that change nothing about what is answered to others."""


class Announced:
    """Follows one client, and answers it as long as that is certain."""

    def __init__(self, file: Path = FILE) -> None:
        self._file = file
        self._answers: Object | None = None
        self._era: str | None = None
        self._probed = False
        """True if nothing but probes was seen: then a handshake begins anew (`server.protocol_eras`)."""
        self.certain = True
        """True if what the session would answer is known."""

    def answer(self, message: Object) -> bytes | None:
        """The line that answers a request; None for what the session has to answer, or what needs no answer."""
        if not self.certain:
            return None
        method = message.get("method")
        if not isinstance(method, str):
            self.certain = "result" in message or "error" in message
            return None
        if "id" not in message:
            self.certain = method in HARMLESS
            return None
        found = self._found(method, message) if self._is_plain(message) else None
        if found is None:
            self.certain, self._probed = method in HARMLESS and self._era is not None, False
            return None
        line = {"jsonrpc": "2.0", "id": message["id"], **found}
        return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def give_up(self) -> None:
        """Answer nothing more."""
        self.certain = False

    @staticmethod
    def _is_plain(message: Object) -> bool:
        number = message["id"]
        is_number = isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**53
        return (
            set(message) <= {"jsonrpc", "id", "method", "params"}
            and message.get("jsonrpc") == "2.0"
            and (is_number or (isinstance(number, str) and number.isprintable()))
            and isinstance(message.get("params"), dict | None)
        )

    def _found(self, method: str, message: Object) -> Object | None:
        """The member of the answer that stands behind its id."""
        given = message.get("params") or {}
        assert isinstance(given, dict)  # noqa: S101  `_is_plain` has looked
        params = _given(given)
        if method == HANDSHAKE:
            return self._handshake(params)
        era, version = _era_of(params)
        if era is None or (self._era or era) != era or (self._era is None and era == "legacy"):
            return None
        is_served = era == "legacy" or version in self._versions(era)
        if method == PROBE and era == "modern":
            self._probed, self._era = self._era is None or self._probed, era
            return self._result(era, method) if is_served else self._refusal(version)
        if set(params) - {"_meta"} or not is_served:
            return None
        self._era, self._probed = era, False
        return self._result(era, method)

    def _handshake(self, params: Object) -> Object | None:
        """The answer to `initialize`; as long as nothing but probes was seen, it begins the session anew."""
        version = params.get("protocolVersion")
        is_first = self._era is None or (self._era == "modern" and self._probed)
        plain = set(params) <= {"protocolVersion", "capabilities", "clientInfo", "_meta"} and _is_meta(params)
        known = plain and _is_client(params.get("clientInfo")) and _are_capabilities(params.get("capabilities"))
        result = self._known("legacy", HANDSHAKE)
        if not (is_first and known and isinstance(version, str) and result):
            return None
        self._era, self._probed = "legacy", False
        return {"result": {**result, "protocolVersion": version} if version in self._versions("legacy") else result}

    def _refusal(self, version: str) -> Object | None:
        """The answer to a probe for a version that is not served."""
        error = self._known("modern", "unsupported")
        data = error.get("data") if error is not None else None
        if error is None or not isinstance(data, dict):
            return None
        return {"error": {**error, "data": {**data, "requested": version}}}

    def _result(self, era: str, method: str) -> Object | None:
        result = self._known(era, method)
        return None if result is None else {"result": result}

    def _versions(self, era: str) -> list[Json]:
        versions = self._loaded.get("versions")
        found = versions.get(era) if isinstance(versions, dict) else None
        return found if isinstance(found, list) else []

    def _known(self, era: str, method: str) -> Object | None:
        answers = self._loaded.get(era)
        found = answers.get(method) if isinstance(answers, dict) else None
        return found if isinstance(found, dict) else None

    @property
    def _loaded(self) -> Object:
        """The answers; none where they were made for another version of this program."""
        if self._answers is None:
            try:
                loaded = json.loads(self._file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                loaded = {}
            self._answers = loaded if loaded.get("release") == __version__ else {}
        return self._answers


def _given(fields: Object) -> Object:
    """Fields without those that are null, as many JSON libraries write what is not given."""
    return {name: value for name, value in fields.items() if value is not None}


def _era_of(params: Object) -> tuple[str | None, str]:
    """Era and version of a request other than `initialize`; no era where it is not certain to be taken."""
    meta = params.get("_meta", {})
    if not isinstance(meta, dict) or not _is_meta(params):
        return None, ""
    if META_VERSION not in meta:
        return "legacy", ""
    version = meta[META_VERSION]
    is_named = META_CLIENT not in meta or _is_client(meta[META_CLIENT])
    if not (is_named and _are_capabilities(meta.get(META_CAPABILITIES)) and isinstance(version, str)):
        return None, ""
    return ("modern", version) if version.isprintable() else (None, "")


def _is_meta(params: Object) -> bool:
    meta = params.get("_meta", {})
    if not isinstance(meta, dict):
        return False
    token = meta.get("progressToken")
    reserved = {name for name in meta if name.startswith(META)}
    return (token is None or (isinstance(token, str | int) and not isinstance(token, bool))) and reserved <= {
        META_VERSION, META_CLIENT, META_CAPABILITIES,
    }  # fmt: skip


def _is_client(client: Json) -> bool:
    """True if this is certain to be taken for an implementation (MCP, Implementation)."""
    client = _given(client) if isinstance(client, dict) else {}
    if not {"name", "version"} <= set(client):
        return False
    icons = client.get("icons", [])
    return all(isinstance(value, str) for name, value in client.items() if name != "icons") and (
        isinstance(icons, list) and all(isinstance(icon, dict) and _is_icon(icon) for icon in icons)
    )


def _is_icon(icon: Object) -> bool:
    sizes = icon.get("sizes", [])
    texts = all(isinstance(value, str) for name, value in icon.items() if name != "sizes")
    return "src" in icon and "theme" not in icon and texts and isinstance(sizes, list) and _all_texts(sizes)


def _all_texts(values: list[Json]) -> bool:
    return all(isinstance(value, str) for value in values)


def _are_capabilities(given: Json) -> bool:
    """True if these are certain to be taken for capabilities of a client: objects of objects and switches."""
    if not isinstance(given, dict):
        return False
    return all(
        isinstance(inner, dict)
        and all(
            isinstance(value, bool if key == "listChanged" else dict)
            for key, value in (inner if name in _OF_CLIENTS else _given(inner)).items()
        )
        for name, inner in _given(given).items()
    )


_OF_CLIENTS = ("experimental", "extensions")
"""Capabilities with names of any vendor: each is an object, and null is none."""
