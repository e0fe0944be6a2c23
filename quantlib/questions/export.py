"""What is taken away from a workbench as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlib.export import archive
from quantlib.questions.registry import Question

if TYPE_CHECKING:
    from quantlib.analysis.workbench import Workbench


@Question
def data_archive(bench: Workbench) -> bytes:
    """Return the data as an .npz that the exported scripts read."""
    names = tuple(info.name for info in bench.graph.inputs)
    return archive.data_archive(bench.data, inputs=names)
