"""The questions to a node and its answers: one model for each, by subject.

The MCP tools, the command line and the control socket all use these models, so an operation has one shape everywhere:
`--json` on the command line prints what the MCP tool returns as structured content.
"""
