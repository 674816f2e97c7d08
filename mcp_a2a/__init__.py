"""mcp-a2a: a phone book and a mailbox for AI agents."""

__version__ = "0.1.0"
