"""Every chart and table says in words what it shows, for those who do not see it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = sorted((ROOT / "pages").rglob("*.py"))
SHOWN = ("plotly_chart", "dataframe", "data_editor")


def calls(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SHOWN:
            yield node


def is_described(call: ast.Call) -> bool:
    return any(keyword.arg in ("alt", None) for keyword in call.keywords)


@pytest.mark.parametrize("path", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in FILES])
def test_charts_and_tables_of_a_file_have_alternative_texts(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert [call.lineno for call in calls(source) if not is_described(call)] == []


def test_the_screens_show_charts_and_tables_at_all() -> None:
    sources = (path.read_text(encoding="utf-8") for path in FILES)
    assert sum(1 for source in sources for _ in calls(source)) > 20
