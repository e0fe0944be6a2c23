"""The lessons, one module each: controls, formula, figure. Texts lie beside, by number."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pages.ui.learn.lessons import (
    calibration,
    examples,
    integers,
    line,
    product,
    tables,
    tools,
    training,
    width,
    zero,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pages.ui.learn.stage import Lesson

LESSONS: Mapping[int, Lesson] = MappingProxyType(
    {
        module.LESSON.number: module.LESSON
        for module in (
            line, zero, examples, product, width, tables, calibration, training, integers, tools,
        )
    }
)  # fmt: skip
"""Every lesson by its number."""
