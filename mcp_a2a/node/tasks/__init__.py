"""Tasks of both directions: opened, received, leased, answered, followed."""
