"""The networks that a node is in."""
