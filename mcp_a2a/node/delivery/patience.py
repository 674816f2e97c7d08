"""The numbers of delivery, one set for each courier: limits, timeouts, pauses. Times in seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mcp_a2a.node.delivery.model import Fault
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.blob import MAX_RELAYED_PIECES

HTTP_LIMITS: Mapping[Fault, int] = MappingProxyType(
    {
        Fault.LOST: 5,  # each time the agent may have acted on the message
        Fault.UNREADABLE: 5,
        Fault.AUTH: 60,  # about an hour, in which a person can provide another credential
        Fault.GONE: 9,  # a gateway answers 404 for a minute or two while it starts an agent
        Fault.TASK_GONE: 1,
        Fault.BROKE: 20,  # about three minutes: there are frameworks that never end a task whose function raised
    }
)
SEALED_LIMITS: Mapping[Fault, int] = MappingProxyType({Fault.UNREADABLE: 6})
"""A message that its recipient cannot read is sealed anew five times before it is given up."""


_USUAL = Backoff()
_ONE_SECOND_AT_LEAST = Backoff(least=1.0)
_FOR_ANOTHER_MACHINE = Backoff(base=15.0, cap=600.0, jitter=0.0)
_FOR_CLOCKS = Backoff(base=15.0, cap=300.0, jitter=0.0)
_FOR_AN_ANSWER = Backoff(cap=60.0)
_AT_ONCE_AT_FIRST = Backoff(base=0.05, cap=1.0, jitter=0.0)


@dataclass(frozen=True, slots=True)
class Patience:
    """The numbers of one courier: limits and pauses. The defaults are those of sealed envelopes. Times in seconds."""

    window: int = 64
    """Messages of one destination that may be unanswered at a time."""
    pieces: int = 4
    """Of them, pieces of files: 2 MB, which everything else waits behind on a slow line."""
    relayed_pieces: int = MAX_RELAYED_PIECES
    """A file of more pieces goes over a direct route only."""
    answer: float = 30.0
    """A message without an answer is sent again after this. The recipient knows it by its id."""
    piece_answer: float = 120.0
    """The same for pieces. Sent again sooner, they would fill a slow line with their own copies."""
    probe: float = 2.5
    """Silence on a route with an unanswered message after which the other end is asked for a sign of life."""
    reroute: float = 60.0
    """A copy at a relay that is out of reach for so long does not keep the message from another route."""
    barred: float = 60.0
    """A file that is too large for a relay waits so long for a direct route while only a relay is there."""
    full: float = 1.0
    """Pause of a destination whose route takes no more, or whose key is not valid yet."""
    system_limit: float = 2.0
    """Pause of a file for which the process has no open file or no memory."""
    held: float = 30.0
    """A held message is offered again so often: the owner may have allowed it without our knowing."""
    held_relayed: float = 600.0
    """The same through a relay."""
    busy: float = 30.0
    """Pause after a signed `busy` without a time. A caller that waits for the task waits through it."""
    longest: float = 600.0
    """Longest pause that a recipient or a carrier may ask for: a message must not expire of it."""
    slow: float = 10.0
    """For so long after the end of the pause a relay that took too much counts as slow: updates are merged."""
    nacks: int = 3
    """Times that a recipient may name another key before the message pauses for `busy` seconds."""
    clock: float = 86_400.0
    """A message that is refused because of a clock is offered again for so long. Results until they expire."""
    doubted: float = 300.0
    """Pause of an expired message while this machine's clock is in doubt."""
    retry: Backoff = _USUAL
    """After a failure that says nothing about the recipient's decision. The first failure counts as 1."""
    put_off: Backoff = _ONE_SECOND_AT_LEAST
    """After an unsigned refusal that asks for no pause. The first failure counts as 1."""
    asked: Backoff = _AT_ONCE_AT_FIRST
    """Lower bound of a pause that a recipient or a carrier asks for. The first failure counts as 1."""
    elsewhere: Backoff = _FOR_ANOTHER_MACHINE
    """The pauses while no other machine with the recipient's key is online that may know the task. First failure: 1."""
    clocks: Backoff = _FOR_CLOCKS
    """After a refusal because of a clock. First failure: 0."""
    dial: Backoff = _USUAL
    """Between attempts to open a route. The second failure in a row counts as 1; after the first there is no pause."""
    away: Backoff = _FOR_AN_ANSWER
    """The same where only an answer is awaited."""
    look: Backoff | None = None
    """Between looks at an open task that showed nothing new; None where the destination reports by itself."""
    limits: Mapping[Fault, int] = field(default_factory=lambda: SEALED_LIMITS)
    """Failures of one kind after which a message or a task is given up. A fault that is missing has no limit."""


SEALED = Patience()
HTTP = Patience(
    window=1,
    answer=math.inf,
    piece_answer=math.inf,
    probe=math.inf,
    longest=3600.0,  # the word of the agent itself, over TLS: no carrier is between
    retry=Backoff(base=0.5, cap=60.0, least=0.05),
    put_off=Backoff(base=0.5, cap=60.0, least=0.05),
    asked=Backoff(base=0.5, cap=60.0, least=0.05),
    dial=Backoff(cap=60.0, least=0.05),
    away=Backoff(cap=60.0, least=0.05),
    look=Backoff(base=0.375, cap=18.75, factor=1.5, jitter=0.4),  # 0.3 to 15 s, a quarter more or less
    limits=HTTP_LIMITS,
)
