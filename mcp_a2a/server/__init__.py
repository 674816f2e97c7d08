"""The MCP surface: tools over a `NodeApi`, on stdio and on streamable HTTP, with peer text fenced for a model."""
