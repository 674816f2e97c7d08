"""Errors about the agent that a request names, and about the user's consent for it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from mcp_a2a.errors import McpA2AError, without_secrets
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.plurals import many


class DiscoveryError(McpA2AError, code="discovery", exit_code=3):
    """The agent or skill that was named is not (uniquely) known."""


class PeerNotFoundError(DiscoveryError, code="agent_not_found"):
    """No known agent has this name or PeerId."""

    remedy = Remedy("{Call} {discover} to list the agents and why others may be missing.")

    def __init__(
        self,
        asked: str,
        closest: Sequence[str] = (),
        known: int = 0,
        clocks: Sequence[str] = (),
        *,
        is_skill: bool = False,
    ) -> None:
        near = f" Closest names: {', '.join(closest)}." if closest else ""
        shown, off = without_secrets(asked), "".join(f" {said}" for said in clocks)
        if is_skill:
            near = f" {shown!r} is a skill."
            self.remedy = Remedy("{send_by_skill}", skill=shown, typed=shlex.quote(shown))
        super().__init__(f"No agent named {shown!r} is visible ({many(known, 'other agent')} known).{near}{off}")
        self.closest, self.known = tuple(closest), known


class SkillNotFoundError(DiscoveryError, code="skill_not_found"):
    """No reachable agent offers this skill."""

    remedy = Remedy("{Call} {discover} to list agents and their skills.")

    def __init__(self, asked: str, closest: Sequence[str] = ()) -> None:
        near = f" Closest skills: {', '.join(closest)}." if closest else ""
        super().__init__(f"No reachable agent offers the skill {without_secrets(asked)!r}.{near}")
        self.closest = tuple(closest)


class AmbiguousNameError(DiscoveryError, code="ambiguous_name"):
    """Two agents carry the same name; a name is a label, never an identity."""

    remedy = Remedy("Compare the words with the owner, then use the did:key instead of the name.")

    def __init__(self, asked: str, candidates: Sequence[tuple[str, str]]) -> None:
        listed = "; ".join(f"{did} ({words})" for did, words in candidates)
        super().__init__(f"{len(candidates)} agents have the name {asked!r}, or one that looks the same: {listed}.")
        self.candidates = tuple(candidates)


class KeyChangedError(DiscoveryError, code="key_changed", exit_code=5, quotes=False):
    """A name you paired with is now claimed by another key: nothing is sent."""

    def __init__(self, asked: str, paired: str, found: str) -> None:
        super().__init__(
            f"The name {asked!r} belongs to {paired}, which you trusted, but it, or one that looks the same, is now "
            f"claimed by {found}. "
            "Nothing was sent.",
            Remedy(
                "Ask the owner why the key changed. To use the new one: mcp-a2a trust {found}; "
                "to reach the old one: use its did:key.",
                found=found,
            ),
        )


class AliasAlikeError(DiscoveryError, code="alias_alike", exit_code=5):
    """A name only looks like an alias of the user: nothing meant for that agent goes elsewhere."""

    def __init__(self, asked: str, alias: str, key: str) -> None:
        super().__init__(
            f"{asked!r} is not your alias {alias!r}, it only looks the same. Nothing was sent.",
            Remedy("Your {alias!r} is {key}. To reach another agent, use its did:key.", alias=alias, key=key),
        )


class AliasTakenError(DiscoveryError, code="alias_taken", exit_code=5):
    """An alias, or one that looks the same, stands for another agent already."""

    def __init__(self, alias: str, key: str) -> None:
        super().__init__(
            f"{alias!r} is your alias for {key} already, or looks the same.",
            Remedy('Choose another alias, or remove that one: mcp-a2a alias --remove "{alias}"', alias=alias),
        )


class ConsentError(McpA2AError, code="consent", exit_code=5):
    """A person has not allowed that this is sent to this agent; nothing was sent.

    Each reader is told how it is allowed, since a client of A2A may be a program of that person.
    """


class ConsentNeededError(ConsentError, code="consent_needed", quotes=False):
    """A person has to be asked first.

    `key` is what names the agent to `mcp-a2a allow`: its did, or a handle of its URL, never a name, which it chooses.
    `details` has the agent's did or URL as `agent`, and the files that were to be sent as `files`: pairs of name and
    size in bytes.
    """

    def __init__(self, agent: str, key: str, *, stranger: bool, files: Sequence[tuple[str, int]] = ()) -> None:
        refused = f"{key} is a stranger" if stranger else f"files may not be sent to {key} yet"
        super().__init__(
            f"Nothing was sent: {refused}, and your user has not been asked.",
            f"Make the same call again when your user has run, in a terminal: {allow_command(key)}",
            {"agent": agent, "files": [list(file) for file in files]},
        )


class ConsentDeclinedError(ConsentError, code="consent_declined", quotes=False):
    """The person was asked, and did not allow it."""

    def __init__(self, agent: str, key: str) -> None:
        super().__init__(
            f"Nothing was sent: your user was asked about {key}, and did not allow it.",
            f"Do not ask again unless they say so. They can allow it in a terminal: {allow_command(key)}",
            {"agent": agent},
        )


def allow_command(key: str) -> str:
    """The command that lets a person allow sending to an agent; safe to paste, whatever a URL holds."""
    return f"mcp-a2a allow {shlex.quote(key)}"


class NothingWaitsError(DiscoveryError, code="nothing_waits", quotes=False):
    """A contact request was to be decided on, and there is none."""

    says = "No agent is waiting to be accepted."
    remedy = Remedy("{name_one}; {discover} lists those that are known.")
