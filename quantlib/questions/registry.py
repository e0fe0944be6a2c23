"""The questions that can be asked, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar

from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.analysis.workbench import Workbench

GoOn: TypeAlias = Callable[[], bool]
"""Asked by long work whether somebody still wants it."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Question(Generic[_P, _T_co]):
    """A named function of a workbench and arguments.

    Parameters
    ----------
    answer : callable
        Takes the workbench and the arguments; returns a frozen value.

    Attributes
    ----------
    name : str
        Its module's last name and its own: ``"bitwidths.budget"``.
    """

    def __init__(self, answer: Callable[Concatenate[Workbench, _P], _T_co]) -> None:
        self._answer = answer
        self.name = f"{answer.__module__.rsplit('.', 1)[-1]}.{answer.__name__}"
        self.__doc__ = answer.__doc__
        assert self.name not in QUESTIONS, f"{self.name} is asked twice"
        QUESTIONS[self.name] = self

    def __call__(self, bench: Workbench, *args: _P.args, **kwargs: _P.kwargs) -> _T_co:
        """Return the answer."""
        return self._answer(bench, *args, **kwargs)


class Stream(Question[_P, "Iterator[_T]"], Generic[_P, _T]):
    """A question whose answer grows: it yields values, each valid by itself.

    Parameters
    ----------
    answer : callable
        Takes the workbench, `go_on` and the arguments; yields frozen values. It asks `go_on`
        as often as it can, and after False computes nothing more.
    """

    def __init__(self, answer: Callable[Concatenate[Workbench, GoOn, _P], Iterator[_T]]) -> None:
        def whole(bench: Workbench, /, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
            return answer(bench, lambda: True, *args, **kwargs)

        update_wrapper(whole, answer)
        super().__init__(whole)
        self._stream = answer

    def until(
        self, go_on: GoOn, bench: Workbench, *args: _P.args, **kwargs: _P.kwargs
    ) -> Iterator[_T]:
        """Yield values as long as `go_on` says so."""
        return self._stream(bench, go_on, *args, **kwargs)


QUESTIONS: dict[str, Question[Any, Any]] = {}
"""Every question by its name."""


def ask(bench: Workbench, name: str, *args: Any, **kwargs: Any) -> Any:
    """Return the answer to the question of a name.

    Parameters
    ----------
    bench : Workbench
        What it is asked of.
    name : str
        As in `QUESTIONS`: ``"bitwidths.budget"``.
    *args, **kwargs
        Its arguments.

    Raises
    ------
    OptionsError
        There is no such question.
    QuantlibError
        What the question raises.

    Examples
    --------
    >>> import quantlib as ql
    >>> from quantlib.questions import ask
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> bench = ql.Workbench(graph, ql.load_data("sample_models/iris_linear.npz", graph))
    >>> ask(bench, "bitwidths.budget", ql.QuantizationConfig.from_n_bits(4)).widest.name
    '/f/Gemm'
    """
    question = QUESTIONS.get(name)
    if question is None:
        raise OptionsError(f"there is no question {name!r}; there are {', '.join(QUESTIONS)}.")
    return question(bench, *args, **kwargs)
