"""The durable state: one SQLite database per identity, written by one process, and the identity's key file."""
