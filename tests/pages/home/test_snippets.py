"""The snippets on Home: each is whole and writes both files under their names."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from pages.ui.home import bring

if TYPE_CHECKING:
    from tests.pages.conftest import OpenScreen


def calls(tree: ast.Module) -> dict[str, list[ast.Call]]:
    found: dict[str, list[ast.Call]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found.setdefault(ast.unparse(node.func), []).append(node)
    return found


@pytest.mark.parametrize("framework", bring.SNIPPETS)
def test_a_snippet_writes_a_model_and_the_arrays_that_home_reads(framework: str) -> None:
    content = (bring.FOLDER / bring.SNIPPETS[framework]).read_text(encoding="utf-8")
    tree = ast.parse(content)
    compile(tree, bring.SNIPPETS[framework], "exec")
    assert "model.onnx" in content
    [saved] = calls(tree)["np.savez"]
    assert ast.literal_eval(saved.args[0]) == "data.npz"
    assert [keyword.arg for keyword in saved.keywords] == ["calibration", "evaluation", "labels"]


def test_every_snippet_file_is_on_home(open_screen: OpenScreen) -> None:
    shown = [code.value for code in open_screen().code]
    files = sorted(bring.FOLDER.glob("*.py"))
    assert sorted(bring.SNIPPETS.values()) == [file.name for file in files]
    assert sorted(shown) == sorted(file.read_text(encoding="utf-8").strip() for file in files)
