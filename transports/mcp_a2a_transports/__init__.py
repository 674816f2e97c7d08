"""The transports between peers: the only place where a socket to a peer is opened."""
