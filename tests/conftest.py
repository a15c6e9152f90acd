"""Settings of the whole suite."""

from __future__ import annotations

from hypothesis import settings

# no timed assertions: a loaded machine, or a kernel's first compilation, is not a failure
settings.register_profile("sluice", deadline=None)
settings.load_profile("sluice")
