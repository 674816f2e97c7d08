"""The base of all services of a node: clocks, changes, the table of its requests."""
