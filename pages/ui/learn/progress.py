"""What was solved, as a few digits in the link."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quantlib.lessons.exercises import LESSONS, LEVELS

KEY = "learn.progress"
NOTHING = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Which levels of which lessons are solved; one octal digit per lesson."""

    solved: tuple[int, ...] = (0,) * len(LESSONS)

    @classmethod
    def read(cls, code: str) -> Progress:
        """Read digits from a link; anything else is a fresh start."""
        if not re.fullmatch(rf"[0-7]{{{len(LESSONS)}}}", code or ""):
            return cls()
        return cls(tuple(int(digit) for digit in code))

    @property
    def code(self) -> str:
        """The digits; none while nothing is solved."""
        return "".join(map(str, self.solved)) if any(self.solved) else NOTHING

    @property
    def score(self) -> int:
        """Solved exercises: one of each level of each lesson counts."""
        return sum(mask.bit_count() for mask in self.solved)

    @property
    def most(self) -> int:
        """The best score there is."""
        return len(LESSONS) * len(LEVELS)

    def has(self, lesson: int, level: int) -> bool:
        """Tell whether a level is solved."""
        return bool(self.solved[lesson - 1] >> (level - 1) & 1)

    def marks(self, lesson: int) -> str:
        """Return a lesson's levels as dots."""
        return "".join("●" if self.has(lesson, level) else "○" for level in LEVELS)

    def with_solved(self, lesson: int, level: int) -> Progress:
        """Return the progress with one level more."""
        masks = list(self.solved)
        masks[lesson - 1] |= 1 << (level - 1)
        return Progress(tuple(masks))
