from __future__ import annotations

import importlib.util
import os

from hypothesis import settings

collect_ignore = [] if importlib.util.find_spec("pytest_playwright") else ["browser"]

settings.register_profile("dev", max_examples=60, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
