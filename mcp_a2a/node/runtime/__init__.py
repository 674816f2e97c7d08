"""What every service of a node stands on: clocks, changes, the table of its questions."""
