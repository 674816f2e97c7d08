"""Agents made of Python functions or programs, and how they are run."""
