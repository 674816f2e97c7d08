"""How peers reach each other: the only place where a socket to a peer is opened."""
