"""A2A over HTTP: one dispatch behind every binding, and the client of other agents."""
