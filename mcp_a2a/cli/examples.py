"""The examples at the end of each command's help. A test parses every one of them."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "mcp-a2a demo",
        "mcp-a2a discover",
        'mcp-a2a send word-counter "hello wide world"',
        'mcp-a2a agent exec --name rev --skill reverse="Reverses text" -- rev',
        "mcp-a2a --listen :3000",
    ),
    "serve": (
        "mcp-a2a serve",
        "mcp-a2a serve --listen :3000",
        "mcp-a2a serve --allow-strangers",
        "mcp-a2a serve --listen 0.0.0.0:3000 --tls-cert cert.pem --tls-key key.pem",
        "mcp-a2a serve --listen :3000 --behind-proxy --public-url https://agents.example",
    ),
    "demo": ("mcp-a2a demo",),
    "discover": ("mcp-a2a discover", "mcp-a2a discover summary --json", "mcp-a2a discover --skill count-words"),
    "show": ("mcp-a2a show word-counter", "mcp-a2a show self --json"),
    "send": (
        'mcp-a2a send word-counter "hello wide world"',
        'mcp-a2a send --skill count-words "hello wide world"',
        "git diff | mcp-a2a send reviewer - --json | jq -r .text",
        'mcp-a2a send slow-one "a long job" --detach',
        'mcp-a2a send reviewer "What is wrong here?" --file report.pdf --file data.csv',
    ),
    "task": ("mcp-a2a task task-abcdefgh", "mcp-a2a task efgh --wait 60 --json"),
    "save": ("mcp-a2a save task-abcdefgh", "mcp-a2a save efgh ~/Downloads"),
    "tasks": ("mcp-a2a tasks", "mcp-a2a tasks --received --state input_required --json"),
    "cancel": ("mcp-a2a cancel task-abcdefgh",),
    "forget": ("mcp-a2a forget task-abcdefgh", "mcp-a2a forget --older-than 30d --yes --json"),
    "inbox": ("mcp-a2a inbox", "mcp-a2a inbox --wait 600"),
    "answer": (
        'mcp-a2a answer task-abcdefgh "Here you are: …"',
        'mcp-a2a answer efgh --status input_required "Which of the two?"',
        "make report | mcp-a2a answer efgh -",
        'mcp-a2a answer efgh "The report." --file report.pdf',
    ),
    "peers": ("mcp-a2a peers", "mcp-a2a peers --json"),
    "peers add": (
        "mcp-a2a peers add 192.168.1.20:7301",
        "mcp-a2a peers add https://agent.example/",
        "pass show agent-token | mcp-a2a peers add https://agent.example/ --token-stdin",
        "mcp-a2a peers add https://agent.example/ --header-env X-API-Key=AGENT_KEY",
    ),
    "peers remove": ("mcp-a2a peers remove https://agent.example/",),
    "allow": (
        "mcp-a2a allow DID",
        "mcp-a2a allow https://agent.example/",
        "mcp-a2a allow DID --undo",
    ),
    "trust": ("mcp-a2a trust swift-otter", "mcp-a2a trust swift-otter --undo"),
    "block": ("mcp-a2a block swift-otter",),
    "id": ("mcp-a2a id", "mcp-a2a id --identity work --json"),
    "name": ("mcp-a2a name", "mcp-a2a name Anna", "mcp-a2a name --reset"),
    "alias": ("mcp-a2a alias", "mcp-a2a alias swift-otter anna", "mcp-a2a alias --remove anna"),
    "list": ("mcp-a2a list",),
    "status": ("mcp-a2a status", "mcp-a2a status --json"),
    "repair": ("mcp-a2a repair", "mcp-a2a repair --identity work --json"),
    "version": ("mcp-a2a version", "mcp-a2a version -v"),
    "invite": (
        "mcp-a2a invite --network shop",
        "mcp-a2a invite --network shop --relay -",
        "mcp-a2a invite --network shop --uses 1 --expires 12h --qr",
    ),
    "join": ("mcp-a2a join", "mcp-a2a join a2a1…", "pbpaste | mcp-a2a join -"),
    "networks": ("mcp-a2a networks", "mcp-a2a networks --json"),
    "leave": ("mcp-a2a leave shop",),
    "rotate": ("mcp-a2a rotate shop", "mcp-a2a rotate shop --without old-laptop --yes"),
    "ping": ("mcp-a2a ping word-counter", "mcp-a2a ping word-counter -c 1 --json"),
    "netcheck": ("mcp-a2a netcheck", "mcp-a2a netcheck --json"),
    "relay": (
        "mcp-a2a relay serve --listen 0.0.0.0:6060",
        "mcp-a2a relay status",
        "mcp-a2a relay admit DID --note laptop-2",
    ),
    "relay serve": (
        "mcp-a2a relay serve --listen 0.0.0.0:6060",
        "mcp-a2a relay serve --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem",
        "mcp-a2a relay serve --behind-proxy --public-url wss://relay.example",
        "mcp-a2a relay serve --open",
    ),
    "relay url": ("mcp-a2a relay url", "mcp-a2a relay url --new | mcp-a2a invite --network shop --relay -"),
    "relay status": ("mcp-a2a relay status", "mcp-a2a relay status --json"),
    "relay members": ("mcp-a2a relay members",),
    "relay admit": ("mcp-a2a relay admit DID --note laptop-2",),
    "relay revoke": ("mcp-a2a relay revoke DID",),
    "agent": (
        "mcp-a2a agent init words.py",
        "mcp-a2a agent run words.py",
        'mcp-a2a agent exec --name rev --skill reverse="Reverses text" -- rev',
    ),
    "agent init": ("mcp-a2a agent init", "mcp-a2a agent init words.py"),
    "agent run": (
        "mcp-a2a agent run words.py",
        "mcp-a2a agent run team.py:reviewer --accept anyone",
        "mcp-a2a agent run words.py --a2a-listen :5001",
    ),
    "callers": ("mcp-a2a callers", "mcp-a2a callers --json"),
    "callers add": ("mcp-a2a callers add build-server", "mcp-a2a callers add build-server --agent rev --agent self"),
    "callers grant": ("mcp-a2a callers grant build-server --agent rev",),
    "callers remove": ("mcp-a2a callers remove build-server",),
    "agent exec": (
        'mcp-a2a agent exec --name rev --skill reverse="Reverses text" --accept anyone -- rev',
        'mcp-a2a agent exec --name reviewer --skill code-review --env ANTHROPIC_API_KEY -- claude -p "Review this."',
    ),
}


HEADINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Use agents", ("discover", "show", "send", "task", "tasks", "answer", "cancel", "save", "forget")),
    ("Be an agent", ("agent", "inbox")),
    ("People", ("id", "name", "alias", "peers", "trust", "block", "allow")),
    ("Networks", ("invite", "join", "networks", "leave", "rotate", "relay", "netcheck", "ping")),
    ("Run", ("serve", "demo", "status", "list", "callers", "repair", "version")),
)
"""The commands of `mcp-a2a --help`, those that matter first in each group."""

VARIABLES: Mapping[str, str] = {
    "": "MCP_A2A_ and the name of an option in capitals, as in MCP_A2A_HOME=DIR, MCP_A2A_NO_MDNS=1, MCP_A2A_JSON=1. "
    "NO_COLOR is obeyed too.",
    "relay serve": "MCP_A2A_RELAY_ and the name of an option above in capitals, as in MCP_A2A_RELAY_LISTEN. "
    "An option on the command line wins.",
}
"""The environment variables of a command."""
