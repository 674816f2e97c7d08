"""The store-and-forward relay: its server, and a node's side of it."""
