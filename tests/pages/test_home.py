"""Home says what was mended in a file, and what nobody looks into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import helper

from tests.models import build, normal

if TYPE_CHECKING:
    from tests.pages.conftest import OpenScreen


def test_home_says_what_was_mended_and_which_products_are_not_looked_into(
    open_screen: OpenScreen,
) -> None:
    nodes = [
        helper.make_node("Einsum", ["h", "w"], ["y"], "mixed", equation="ij,jk->ik"),
        helper.make_node("Relu", ["x"], ["h"], "first"),
    ]
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants={"w": normal(6, 3)})
    content = model.SerializeToString()
    at = open_screen().file_uploader(key="home.model").upload("mixed.onnx", content).run()
    assert not at.exception
    assert any("sorted" in caption.value for caption in at.caption)
    [warning] = [entry for entry in at.warning if "looked into" in entry.value]
    assert "mixed" in warning.value
    assert "first" not in warning.value


def test_home_warns_of_nothing_where_all_products_are_bounded(open_screen: OpenScreen) -> None:
    assert not open_screen().warning
