from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

import quantlib as ql
from tests import models
from tests.bad_models import endless_loop
from tests.cli.running import document, refused, run
from tests.paths import ROOT, SAMPLES


@pytest.mark.parametrize("name", ["digits_cnn", "digits_resnet", "wine_sklearn"])
def test_the_document_says_what_the_library_reports(name: str) -> None:
    path = SAMPLES / f"{name}.onnx"
    graph = ql.load_model(path)
    found = ql.inspect_model(graph)
    written = document("inspect", path, "--json")
    assert written["model"] == name
    assert written["n_parameters"] == graph.n_parameters
    assert written["refusal"] == found.refusal
    assert [tuple(node.values()) for node in written["nodes"]] == [
        (
            n.name,
            n.op_type,
            str(n.treatment),
            n.segment,
            n.fan_in,
            n.macs,
            n.refusal,
            n.carried_bits,
            n.departure,
            n.unseen,
            n.convention,
        )
        for n in found.nodes
    ]


def test_the_table_has_a_line_per_node_and_ends_in_the_verdict() -> None:
    path = SAMPLES / "digits_cnn.onnx"
    lines = run("inspect", path).stdout.splitlines()
    nodes = ql.inspect_model(ql.load_model(path)).nodes
    rows = [line for line in lines if line.split(" ")[0] in {node.name for node in nodes}]
    assert [row.split()[:2] for row in rows] == [[node.name, node.op_type] for node in nodes]
    assert lines[-1] == f"Concrete ML takes all {len(nodes)} nodes."


def test_refused_nodes_are_counted_and_explained(tmp_path: Path) -> None:
    model = models.build(
        [helper.make_node("Softmax", ["x"], ["y"], "soft")], inputs={"x": ["n", 3]}, outputs=["y"]
    )
    onnx.save(model, tmp_path / "m.onnx")
    words = run("inspect", tmp_path / "m.onnx").stdout
    assert "it does not know Softmax" in words
    assert words.endswith("Concrete ML would refuse 1 of 1 nodes.\n")


def test_a_node_name_reaches_no_terminal_as_a_command(tmp_path: Path) -> None:
    model = models.build(
        [helper.make_node("Relu", ["x"], ["y"], "\x1b[2Jred [bold]")],
        inputs={"x": ["n", 3]},
        outputs=["y"],
    )
    onnx.save(model, tmp_path / "m.onnx")
    words = run("inspect", tmp_path / "m.onnx").stdout
    assert "\x1b" not in words
    assert "�[2Jred [bold]" in words


def test_grids_that_came_with_the_model_have_a_column() -> None:
    path = ROOT / "tests" / "golden" / "brevitas" / "qat_mlp.onnx"
    nodes = ql.inspect_model(ql.load_model(path)).nodes
    lines = run("inspect", path).stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("node "))
    place = lines[start].index("own grid") + len("own grid")
    shown = [line[:place].split()[-1] for line in lines[start + 1 : start + 1 + len(nodes)]]
    assert shown == [str(node.carried_bits or "–") for node in nodes]
    assert set(shown) > {"–"}
    assert "own grid" not in run("inspect", SAMPLES / "digits_cnn.onnx").stdout


def test_what_was_mended_on_loading_is_said() -> None:
    path = ROOT / "tests" / "cases" / "08_nodes_out_of_order.onnx"
    text = " ".join(run("inspect", path).stdout.split())
    assert "'Relu_0' stands before what it reads" in text
    assert "stands before" in " ".join(run("quantize", path, "--synthetic").stderr.split())


def test_an_isolated_inspection_says_the_same() -> None:
    path = SAMPLES / "digits_cnn.onnx"
    assert document("inspect", path, "--json", "--isolated") == document("inspect", path, "--json")


def test_what_never_ends_is_refused_in_isolation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTLIB_WORKER_SECONDS", "1")
    onnx.save(endless_loop(), tmp_path / "m.onnx")
    assert "m: this took more than 1 seconds at node 5 'forever' (Loop)" in refused(
        "inspect", tmp_path / "m.onnx", "--isolated"
    )
