"""Finding the agent that is meant, and what a person decides about agents."""
