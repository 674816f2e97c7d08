"""The models of `mcp_a2a.api.a2a` under their former name."""

from __future__ import annotations

from mcp_a2a.api.a2a import (
    HOP,
    OWN_AGENT,
    OWN_KEY,
    OWNER,
    A2AAnswer,
    A2ACancelRequest,
    A2ACardRequest,
    A2ACardView,
    A2AFollowRequest,
    A2AFollowView,
    A2AGetRequest,
    A2AListRequest,
    A2APushDeleteRequest,
    A2APushGetRequest,
    A2APushRequest,
    A2APushSetRequest,
    A2APushView,
    A2ASendRequest,
    A2ATaskPage,
    Reach,
)

__all__ = [
    "HOP",
    "OWNER",
    "OWN_AGENT",
    "OWN_KEY",
    "A2AAnswer",
    "A2ACancelRequest",
    "A2ACardRequest",
    "A2ACardView",
    "A2AFollowRequest",
    "A2AFollowView",
    "A2AGetRequest",
    "A2AListRequest",
    "A2APushDeleteRequest",
    "A2APushGetRequest",
    "A2APushRequest",
    "A2APushSetRequest",
    "A2APushView",
    "A2ASendRequest",
    "A2ATaskPage",
    "Reach",
]
