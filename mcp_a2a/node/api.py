"""`NodeApi` over a running node: its services are put together here, and each answers the questions of its subject."""

from __future__ import annotations

from mcp_a2a.node.agents.discovery import Discovery
from mcp_a2a.node.agents.known_agents import KnownAgents
from mcp_a2a.node.agents.own_agent import OwnAgent
from mcp_a2a.node.agents.questions import Agents, Pings
from mcp_a2a.node.agents.reach import Reach
from mcp_a2a.node.agents.search import Search
from mcp_a2a.node.agents.selection import Selector
from mcp_a2a.node.agents.startup_wait import Patience
from mcp_a2a.node.networks.inviting import Inviting
from mcp_a2a.node.networks.joining import Joining
from mcp_a2a.node.networks.membership import Membership
from mcp_a2a.node.networks.renewal import Renewal
from mcp_a2a.node.node import Node
from mcp_a2a.node.runtime.handlers import LocalNode
from mcp_a2a.node.tasks.a2a_tasks import A2ATasks
from mcp_a2a.node.tasks.forgetting import Forgetting
from mcp_a2a.node.tasks.leasing import Leasing
from mcp_a2a.node.tasks.own_tasks import OwnTasks
from mcp_a2a.node.tasks.questions import Tasks
from mcp_a2a.node.tasks.shown_tasks import ShownTasks
from mcp_a2a.node.tasks.trust_decisions import TrustDecisions


class LocalApi(LocalNode):
    """The owner's `NodeApi`."""

    def __init__(self, node: Node) -> None:
        context, directory, trust, lookups = node.context, node.directory, node.trust, node.lookups
        networks, own_advert, views, web, ways = node.networks, node.own_advert, node.views, node.web, node.ways
        publishing, inbox, sending = node.publishing, node.inbox, node.sending
        patience = Patience(directory, networks, node.dialer, lookups, context.clocks)
        search = Search(context.me, directory, web, ways, trust, networks, own_advert, patience, views)
        self.membership = Membership(context, directory, networks, publishing, own_advert)
        """The networks that we are in."""
        self.known_agents = KnownAgents(context, directory, ways, views, node.dialer, node.consent, web)
        """The agents that are known."""
        own = OwnAgent(
            node.parts, context, directory, own_advert, networks, publishing, self.membership, lookups, views,
            lambda: inbox.kept, node.duplicate_keys,
        )  # fmt: skip
        decisions = TrustDecisions(
            context, directory, web, own_advert, node.outbox, inbox, node.intake.contacts,
            node.news, views,
        )  # fmt: skip
        reach = Reach(directory, web, node.dialer, own_advert, networks, lookups)
        pings: Pings = {"sealed": reach.ping, "http": reach.ping_url}
        agents = Agents(own, directory, web, ways, node.consent, search, patience, views, self.known_agents, pings)
        selector = Selector(directory, trust, node.consent, search, patience)
        shown = ShownTasks(context, directory, node.couriers, node.files, views)
        self.tasks = Tasks(context, agents, selector, networks, sending, node.choosing, node.files, shown)
        """The tasks of the owner."""
        renewal = Renewal(context, directory, networks, publishing, self.membership, node.outbox)
        node.intake.on_network = renewal.renewed
        own_tasks = OwnTasks(context, inbox, node.attaching, sending, node.news)
        a2a = A2ATasks(context, search, own_tasks, sending, node.events, node.pushes)
        node.on_answer = reach.answer_received
        super().__init__(
            own, agents, self.known_agents, decisions, reach, self.membership, renewal, self.tasks, a2a, node.news,
            Discovery(directory, ways, trust, context.database, lookups, patience, views),
            Inviting(context, networks, publishing, self.membership, lookups),
            Joining(context, directory, trust, networks, publishing, self.membership, own_advert, node.dialer),
            Leasing(context, inbox, sending, directory, trust, node.consent, node.files, views, shown),
            Forgetting(context),
        )  # fmt: skip
