"""Settings of the whole suite."""

from __future__ import annotations

import os

from hypothesis import settings

# no timed assertions: a loaded machine, or a kernel's first compilation, is not a failure
settings.register_profile("sluice", deadline=None)
# the gate judges the change at hand: the same examples every time; people's runs go on looking for new ones
settings.register_profile("gate", deadline=None, derandomize=True)
settings.load_profile("gate" if os.environ.get("CI") else "sluice")
