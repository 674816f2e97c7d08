"""Settings of the property tests: repeatable time limits do not exist on shared machines."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("protocol", deadline=None, max_examples=200)
settings.load_profile("protocol")
