"""Where the project, its samples and the recorded integers lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "sample_models"
GOLDEN = ROOT / "tests" / "golden"
