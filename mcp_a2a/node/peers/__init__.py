"""Agents that are known, by key or by URL, and the links to them."""
