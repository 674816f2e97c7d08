"""The front of the stdio server: what a client gets to see before anything heavy is imported.

It answers what does not depend on the node (`announced`), keeps every other line (`journal`), and hands the stream to
the MCP session: of this process, or of the process that owns the data folder (`owner`). It imports the standard library
and a few light modules of ours, never pydantic, anyio or the MCP SDK; an import contract and a test keep it so.
Record: docs/decisions/0034-a-front-before-the-server.md.
"""
