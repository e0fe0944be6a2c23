"""What the sidebar says, and what can be asked about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pages.ui import engine

if TYPE_CHECKING:
    from quantlib.analysis.reports import Evaluation
    from quantlib.core.config import QuantizationConfig
    from quantlib.questions import Question

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Current:
    """What the sidebar says: which model and data, and the configuration."""

    source: engine.Source
    config: QuantizationConfig

    def ask(self, question: Question[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return the answer to a question about the current model and data."""
        return engine.ask(self.source, question, *args, **kwargs)

    def whole(self) -> engine.Source:
        """Return the source with all its samples, where the present one is a preview."""
        return replace(self.source, preview=False)

    def led(self) -> engine.Source:
        """Return the source whose first output is the one that the headline is of."""
        found = self.evaluation()
        return replace(self.source, output=found.output) if len(found.outputs) > 1 else self.source

    def ask_of_output(self, question: Question[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return the answer to a question about the output that the headline is of."""
        return engine.ask(self.led(), question, *args, **kwargs)

    def evaluation(self) -> Evaluation:
        """Return the figures of the current configuration."""
        return engine.evaluation(self.source, self.config)
