"""Programs of this node that work on its tasks."""
