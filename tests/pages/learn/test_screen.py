"""The Learn screen: every lesson, view and language; links, exercises, progress, courses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from pages.ui.learn import course, texts
from pages.ui.learn.controls import Choice, Named, Number, Slider, Steps, Switch, Words
from pages.ui.learn.lessons import LESSONS
from pages.ui.learn.practice import read_guess
from quantlib.graph.runtime import open_session
from quantlib.lessons.exercises import LEVELS, exercise
from tests.paths import ROOT, SAMPLES

if TYPE_CHECKING:
    from pages.ui.learn.controls import Control
    from pages.ui.learn.stage import Lesson


def open_lesson(number: int, *, model: str = "iris_linear", **link: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "pages" / "learn.py"), default_timeout=60)
    at.query_params["config.model"] = model
    at.query_params["learn.lesson"] = str(number)
    for key, value in link.items():
        at.query_params[f"learn.{key}"] = value
    at.run()
    assert not at.exception
    return at


def charts(at: AppTest) -> list[str]:
    return [chart.proto.spec for chart in at.get("plotly_chart")]


def typed_in(at: AppTest, key: str) -> str:
    return str(at.text_input(key=key).value or "")


def widget(at: AppTest, lesson: Lesson, control: Control) -> Any:
    key = lesson.key(control.name)
    kinds = {
        Slider: at.slider, Choice: at.segmented_control, Steps: at.select_slider,
        Switch: at.toggle, Number: at.number_input, Words: at.text_input, Named: at.selectbox,
    }  # fmt: skip
    found = kinds[type(control)]
    try:
        return found(key=key)
    except KeyError:
        return None


def other_value(control: Control, shown: Any) -> Any:
    """A value that the control does not have now."""
    match control:
        case Choice() | Steps():
            return next(option for option in control.options if option != shown)
        case Slider():
            if isinstance(control.default, tuple):
                return (control.low, shown[1])
            return control.low if shown != control.low else control.high
        case Switch():
            return not shown
        case Number():
            return 1 if shown != 1 else 0
        case Words():
            return "1, 2, -1"
        case Named():
            return None


CASES = [
    (number, view)
    for number, lesson in LESSONS.items()
    for control in lesson.controls[:1]
    for view in (control.options if control.name == "view" else (None,))  # type: ignore[union-attr]
]


@pytest.mark.parametrize(("number", "view"), CASES)
def test_every_control_of_a_view_moves_the_figure_or_its_words(
    number: int, view: str | None
) -> None:
    lesson = LESSONS[number]
    model = "wine_sklearn" if view == "model" else "iris_linear"
    at = open_lesson(number, model=model)
    if view is not None:
        at.segmented_control(key=lesson.key("view")).set_value(view).run()
    assert not at.exception
    assert not at.error
    assert len(charts(at)) == 1
    seen = 0
    for control in lesson.controls:
        found = widget(at, lesson, control)
        if found is None or control.name == "view":
            continue
        new = other_value(control, found.value)
        if new is None:
            continue
        before = (charts(at), [x.value for x in (*at.latex, *at.caption, *at.code)])
        found.set_value(new).run()
        assert not at.exception
        assert not at.error
        after = (charts(at), [x.value for x in (*at.latex, *at.caption, *at.code)])
        assert before != after, control.name
        seen += 1
    assert seen >= 1


@pytest.mark.parametrize("number", LESSONS)
def test_a_link_restores_a_lesson_with_its_settings(number: int) -> None:
    lesson = LESSONS[number]
    numbers = [
        c for c in lesson.controls if isinstance(c, Slider) and not isinstance(c.default, tuple)
    ]
    control = next(
        c for c in (*numbers, *lesson.controls) if widget(open_lesson(number), lesson, c)
    )
    if isinstance(control, Slider) and not isinstance(control.default, tuple):
        value = control.low + control.step
        at = open_lesson(number, **{lesson.key(control.name).removeprefix("learn."): f"{value:g}"})
        assert widget(at, lesson, control).value == pytest.approx(value)
    at = open_lesson(number, language="de", projector="true")
    assert at.segmented_control(key="learn.lesson").value == str(number)
    assert at.segmented_control(key="learn.language").value == "de"
    assert at.toggle(key="learn.projector").value is True
    assert len(charts(at)) == 1


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_works_without_its_model(number: int) -> None:
    at = open_lesson(number, model="mine.onnx #deadbeef")
    assert not at.error
    lesson = LESSONS[number]
    views = next((c.options for c in lesson.controls if c.name == "view"), ())  # type: ignore[union-attr]
    if "model" in views:
        assert len(charts(at)) == 1
        at.segmented_control(key=lesson.key("view")).set_value("model").run()
        assert not at.exception
    if "model" in views or number == 8:
        assert any("loaded model" in info.value for info in at.info)
        assert not charts(at)


def test_a_model_without_tables_says_so() -> None:
    at = open_lesson(6, model="iris_linear")
    at.segmented_control(key="learn.tables.view").set_value("model").run()
    assert any("no accumulator that enters a table" in info.value for info in at.info)


@pytest.mark.parametrize("n_bits", range(1, 9))
def test_a_value_inside_the_range_is_never_called_outside(n_bits: int) -> None:
    at = open_lesson(1)
    at.slider(key="learn.line.range").set_value((-2.0, 2.0))
    at.slider(key="learn.line.value").set_value(2.0)
    at.slider(key="learn.line.n_bits").set_value(n_bits).run()
    # -alpha / S = (2**n - 1) / 2 is a tie: half to even rounds it up where n > 1
    words = [warning.value for warning in at.warning]
    assert not any("outside" in word for word in words)
    assert bool(words) == (n_bits > 1)
    assert all("inside" in word and "moved" in word for word in words)


def test_three_bits_from_minus_two_to_two_name_the_tie() -> None:
    at = open_lesson(1)
    at.slider(key="learn.line.range").set_value((-2.0, 2.0))
    at.slider(key="learn.line.value").set_value(2.0).run()
    (warning,) = [warning.value for warning in at.warning]
    for part in ("= 3.5", "Z = 4", "[-2.286, 1.714]", "Code 8", "becomes 7"):
        assert part in warning
    at.slider(key="learn.line.value").set_value(2.1).run()
    assert "outside" in at.warning[0].value


def test_no_choice_of_scheme_contradicts_another() -> None:
    at = open_lesson(2)
    for scheme in ("symmetric", "narrow", "signed", "unsigned"):
        at.segmented_control(key="learn.zero.scheme").set_value(scheme).run()
        assert not at.error
        assert not at.exception
        assert len(charts(at)) == 1


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("number", LESSONS)
def test_a_right_answer_is_marked_and_kept_in_the_progress_code(number: int, level: int) -> None:
    at = open_lesson(number, level=str(level), seed="5")
    name = f"{number}.{level}.5"
    found = exercise(number, level, 5)
    asked = texts.lesson("en", number).exercises[level]
    assert any(asked.ask.format(**found.numbers) == text.value for text in at.markdown)
    at.text_input(key=f"learn.guess.{name}").set_value(str(found.answer + 1000)).run()
    at.button(key=f"learn.check.{name}").click().run()
    assert any(text.value.startswith("**Not yet.**") for text in at.warning)
    assert typed_in(at, "learn.progress") == ""
    typed = repr(found.answer).replace(".", ",")  # a comma is as good as a point
    at.text_input(key=f"learn.guess.{name}").set_value(typed).run()
    assert at.success[0].value.startswith("**Right.**")
    digits = typed_in(at, "learn.progress")
    assert digits[number - 1] == str(1 << (level - 1))
    assert digits.count("0") == 9


def test_an_answer_that_was_shown_does_not_count() -> None:
    at = open_lesson(3, seed="9")
    at.text_input(key="learn.guess.3.1.9").set_value("123456").run()
    at.button(key="learn.show.3.1.9").click().run()
    answer = exercise(3, 1, 9).answer
    at.text_input(key="learn.guess.3.1.9").set_value(repr(answer)).run()
    assert typed_in(at, "learn.progress") == ""
    at.button(key="learn.other").click().run()
    assert at.number_input(key="learn.seed").value == 10
    at.text_input(key="learn.guess.3.1.10").set_value(repr(exercise(3, 1, 10).answer)).run()
    assert typed_in(at, "learn.progress") == "0010000000"


def test_what_is_no_number_is_one_error() -> None:
    at = open_lesson(1)
    at.text_input(key="learn.guess.1.1.1").set_value("about three").run()
    assert len(at.error) == 1
    assert not at.warning


@pytest.mark.parametrize(
    ("typed", "value"),
    [("3", 3.0), (" -2,5 ", -2.5), ("−7", -7.0), ("1e3", 1000.0), ("", None), ("x", None),
     ("nan", None), ("inf", None), ("1,2,3", None)],
)  # fmt: skip
def test_guesses_are_read_as_people_type_them(typed: str, value: float | None) -> None:
    assert read_guess(typed) == value


def test_a_course_is_built_walked_and_restored() -> None:
    at = open_lesson(1)
    at.slider(key="learn.line.n_bits").set_value(6).run()
    at.button(key="learn.add").click().run()
    at.segmented_control(key="learn.lesson").set_value("9").run()
    at.slider(key="learn.integers.bits").set_value(12).run()
    at.button(key="learn.add").click().run()
    code = typed_in(at, "learn.course")
    steps = course.decode(code, LESSONS)
    assert [step.lesson for step in steps] == [1, 9]
    assert dict(steps[0].state)["n_bits"] == 6

    other = open_lesson(4, course=code)
    other.button(key="learn.next").click().run()
    assert other.segmented_control(key="learn.lesson").value == "1"
    assert other.slider(key="learn.line.n_bits").value == 6
    other.button(key="learn.next").click().run()
    assert other.segmented_control(key="learn.lesson").value == "9"
    assert other.slider(key="learn.integers.bits").value == 12
    other.button(key="learn.previous").click().run()
    assert other.segmented_control(key="learn.lesson").value == "1"


def test_a_course_from_a_file_replaces_the_one_before_and_a_wrong_one_changes_nothing() -> None:
    at = open_lesson(1)
    document = course.dump([course.Step(2, (("n_bits", 7),))])
    at.file_uploader(key="learn.upload").upload("week1.json", document.encode()).run()
    code = typed_in(at, "learn.course")
    assert course.decode(code, LESSONS) == (course.Step(2, (("n_bits", 7),)),)
    assert "week1" in at.success[0].value
    at.file_uploader(key="learn.upload").upload("bad.json", b"{}").run()
    assert typed_in(at, "learn.course") == code
    assert "schema" in at.error[0].value
    at.button(key="learn.clear").click().run()
    assert typed_in(at, "learn.course") == ""


def test_a_damaged_course_in_the_link_is_one_error() -> None:
    at = open_lesson(2, course="eJwDAAAAAAE!")
    assert len(at.error) == 1
    assert "damaged" in at.error[0].value
    assert len(charts(at)) == 1


def test_next_and_back_walk_around_the_ten_lessons() -> None:
    at = open_lesson(10)
    at.button(key="learn.next").click().run()
    assert at.segmented_control(key="learn.lesson").value == "1"
    at.button(key="learn.previous").click().run()
    assert at.segmented_control(key="learn.lesson").value == "10"


def test_the_translated_lesson_is_german_and_others_say_that_they_are_not() -> None:
    at = open_lesson(1, language="de")
    title = texts.lesson("de", 1).title
    assert any(title in text.value for text in at.markdown)
    assert at.slider(key="learn.line.value").label == "Ein Wert x"
    at.segmented_control(key="learn.lesson").set_value("2").run()
    assert any("noch nicht übersetzt" in text.value for text in at.caption)


def test_without_a_partner_the_lesson_shows_only_what_was_measured_and_says_so() -> None:
    at = open_lesson(8)
    assert any("Choose digits_qat" in text.value for text in at.caption)
    assert '"name":"trained with its grid"' not in charts(at)[0]
    assert "quantized after training" in charts(at)[0]


def test_what_was_trained_with_its_grid_stands_beside_the_same_network_in_float() -> None:
    at = open_lesson(8, model="digits_qat")
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    [trained] = [t for t in figure["data"] if t.get("name") == "trained with its grid"]
    data = np.load(SAMPLES / "digits_qat.npz")
    expected = {}
    for bits, name in ((2, "digits_qat_2"), (3, "digits_qat_3"), (4, "digits_qat")):
        session = open_session((SAMPLES / f"{name}.onnx").read_bytes())
        scores = session.run(None, {session.get_inputs()[0].name: data["evaluation"]})[0]
        expected[bits] = 100 * np.mean(scores.argmax(1) == data["labels"])
    assert list(trained["x"]) == list(expected)
    assert list(trained["y"]) == pytest.approx(list(expected.values()))
    assert not any("Choose digits_qat" in text.value for text in at.caption)
