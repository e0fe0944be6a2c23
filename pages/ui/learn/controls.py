"""Controls of lessons as values: what they can be set to, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import streamlit as st

if TYPE_CHECKING:
    from pages.ui.learn.texts import ControlText


@dataclass(frozen=True, slots=True)
class Slider:
    """A number, or with a pair as default a range."""

    name: str
    low: float
    high: float
    default: float | tuple[float, float]
    step: float

    def draw(self, key: str, text: ControlText) -> Any:
        """Draw it; its value is in the link."""
        return st.slider(
            text.label, self.low, self.high, self.default, self.step, key=key,
            bind="query-params", help=text.help,
        )  # fmt: skip

    def takes(self, value: Any) -> bool:
        """Tell whether a value from outside can be set."""
        pair = isinstance(self.default, tuple)
        parts = list(value) if pair and isinstance(value, list | tuple) else [value]
        return (
            len(parts) == (2 if pair else 1)
            and all(_is_number(part, whole=isinstance(self.step, int)) for part in parts)
            and all(self.low <= part <= self.high for part in parts)
            and parts == sorted(parts)
        )

    def restored(self, value: Any) -> Any:
        """Return a value of JSON as the widget has it."""
        kind = int if isinstance(self.step, int) else float
        return tuple(map(kind, value)) if isinstance(self.default, tuple) else kind(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    name: str
    options: tuple[str, ...]
    default: str

    def draw(self, key: str, text: ControlText) -> str:
        """Draw it; its value is in the link."""
        chosen = st.segmented_control(
            text.label, list(self.options), default=self.default, required=True, key=key,
            bind="query-params", help=text.help,
            format_func=lambda option: text.words.get(option, option),
        )  # fmt: skip
        return str(chosen or self.default)

    def takes(self, value: Any) -> bool:
        """Tell whether a value from outside can be set."""
        return value in self.options

    def restored(self, value: Any) -> Any:
        """Return a value of JSON as the widget has it."""
        return value


@dataclass(frozen=True, slots=True)
class Steps:
    """One of a row of words or numbers, by a handle."""

    name: str
    options: tuple[str, ...]
    default: str

    def draw(self, key: str, text: ControlText) -> str:
        """Draw it; its value is in the link."""
        return str(
            st.select_slider(
                text.label, list(self.options), self.default, key=key, bind="query-params",
                help=text.help,
            )
        )  # fmt: skip

    def takes(self, value: Any) -> bool:
        """Tell whether a value from outside can be set."""
        return value in self.options

    def restored(self, value: Any) -> Any:
        """Return a value of JSON as the widget has it."""
        return value


@dataclass(frozen=True, slots=True)
class Switch:
    """Yes or no."""

    name: str
    default: bool = False

    def draw(self, key: str, text: ControlText) -> bool:
        """Draw it; its value is in the link."""
        return st.toggle(text.label, self.default, key=key, bind="query-params", help=text.help)

    def takes(self, value: Any) -> bool:
        """Tell whether a value from outside can be set."""
        return isinstance(value, bool)

    def restored(self, value: Any) -> Any:
        """Return a value of JSON as the widget has it."""
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number that is typed."""

    name: str
    low: int
    high: int
    default: int

    def draw(self, key: str, text: ControlText) -> int:
        """Draw it; its value is in the link."""
        return int(
            st.number_input(
                text.label, self.low, self.high, self.default, 1, key=key, bind="query-params",
                help=text.help,
            )
        )  # fmt: skip

    def takes(self, value: Any) -> bool:
        """Tell whether a value from outside can be set."""
        return _is_number(value, whole=True) and self.low <= value <= self.high

    def restored(self, value: Any) -> Any:
        """Return a value of JSON as the widget has it."""
        return int(value)


@dataclass(frozen=True, slots=True)
class Words:
    """Text that is typed."""

    name: str
    default: str
    longest: int = 300

    def draw(self, key: str, text: ControlText) -> str:
        """Draw it; its value is in the link."""
        return str(
            st.text_input(
                text.label, self.default, self.longest, key=key, bind="query-params",
                help=text.help, placeholder=text.words.get("placeholder"),
            )
            or ""
        )  # fmt: skip

    def takes(self, value: Any) -> bool:
        """Tell whether a value from outside can be set."""
        return isinstance(value, str) and len(value) <= self.longest

    def restored(self, value: Any) -> Any:
        """Return a value of JSON as the widget has it."""
        return value


@dataclass(frozen=True, slots=True)
class Named:
    """One of names that depend on the loaded model: layers, tensors."""

    name: str
    longest: int = 300

    def takes(self, value: Any) -> bool:
        """Tell whether a value from outside can be set; the lesson looks whether it is there."""
        return isinstance(value, str) and 0 < len(value) <= self.longest

    def restored(self, value: Any) -> Any:
        """Return a value of JSON as the widget has it."""
        return value

    def draw_among(self, key: str, text: ControlText, options: list[str]) -> str:
        """Draw it for the names that there are."""
        if st.session_state.get(key) not in options:
            st.session_state.pop(key, None)
        chosen = st.selectbox(text.label, options, key=key, bind="query-params", help=text.help)
        return str(chosen or options[0])


Control: TypeAlias = Slider | Choice | Steps | Switch | Number | Words | Named


def _is_number(value: Any, *, whole: bool) -> bool:
    kinds = int if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool)
