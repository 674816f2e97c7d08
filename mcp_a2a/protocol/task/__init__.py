"""The law of tasks: states, events and what each event does, for both sides of a task."""
