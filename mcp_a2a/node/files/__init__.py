"""Files of a node: attached, on their way, received."""
