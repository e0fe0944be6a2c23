"""What a report on a configuration says."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime

import quantlib
from quantlib import wording
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.preflight import inspect_model
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.criterion import Criterion
from quantlib.execution.calls import n_samples
from quantlib.export.report import Section, Table, report_html

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.analysis.reports import Evaluation, LayerSummary
    from quantlib.analysis.widths.budget import Budget
    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
    from quantlib.export.formats import Proof
    from quantlib.export.report import Figure


def configuration_report(
    bench: Workbench,
    config: QuantizationConfig,
    *,
    proofs: Mapping[str, Proof] | None = None,
    figures: Mapping[str, Figure] | None = None,
    scripts: Sequence[str] = (),
) -> str:
    """Return a report on a configuration as one HTML document.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    config : QuantizationConfig
        What was chosen.
    proofs : mapping of str to Proof, optional
        Formats that were run again, by title.
    figures : mapping of str to Figure, optional
        Drawn by whoever can draw, by slot: ``widths`` (accumulators), ``sqnr`` (along the graph),
        ``outputs`` (float against dequantized), ``errors``, ``look_ups``, ``graph`` (the model);
        others are not shown.
    scripts : sequence of str
        What the figures need.

    Raises
    ------
    QuantlibError
        The configuration cannot be applied, or evaluated.
    """
    drawn = figures or {}
    found = evaluate(bench, config)
    budget = bit_width_budget(bench.module(config), seen=found.seen)
    sections = [
        Section(
            "Result", (_verdict(budget),), (_headlines(found),), _in(drawn, "outputs", "errors")
        ),
        Section(
            "Accumulators",
            (
                f"The limit is {config.limit_bits} bits. What the weights allow holds for any "
                "input.",
            ),
            (_widths(budget),),
            _in(drawn, "widths", "look_ups"),
        ),
        Section(
            "Layers",
            ("SQNR is each operator's output against the float model, evaluation data.",),
            (_layers(found),),
            _in(drawn, "sqnr"),
        ),
        Section("Configuration", (), (_choices(config),), code=config.to_json()),
        Section("Model", _model_lines(bench), (_nodes(bench),), _in(drawn, "graph")),
        Section("Data", _data_lines(bench)),
    ]
    if proofs:
        sections.append(_proofs(proofs))
    sections.append(Section("Versions and fingerprints", (), (_versions(bench),)))
    title = f"{bench.graph.name}: {config.weights.n_bits}-bit weights, "
    title += f"{config.activations.n_bits}-bit activations"
    return report_html(title, sections, scripts=scripts)


def _in(drawn: Mapping[str, Figure], *slots: str) -> tuple[Figure, ...]:
    return tuple(drawn[slot] for slot in slots if slot in drawn)


def _verdict(found: Budget) -> str:
    """Return whether the accumulators fit, by both criteria."""
    left_out = (*found.unbounded, *found.unseen)
    unseen = f" Products in {wording.names(left_out)} were not looked into." if left_out else ""
    if not found.layers:
        return f"The model has no integer operator.{unseen}"
    fits = {True: "fits", False: "does not fit", None: "is not known to fit"}
    sentences = [
        f"By the criterion “{criterion}” the configuration {fits[found.fits_by(criterion)]} "
        f"{found.limit_bits} bits: {wording.widest_layer(found, criterion)}."
        for criterion in Criterion
    ]
    return " ".join(sentences) + unseen


def _headlines(found: Evaluation) -> Table:
    rows = [("SQNR of the output", wording.decibel(found.sqnr_db))]
    if found.score is not None:
        score = found.score
        rows.append((score.name, wording.scores(score)))
    if found.agreement is not None:
        rows.append(("same class as in float", wording.share(found.agreement)))
        rows.append(("samples whose class changes", str(len(found.flips))))
    rows += [
        ("largest error", wording.number(found.max_error)),
        ("mean squared error", wording.number(found.mse)),
        ("weights", wording.sizes(found)),
    ]
    return Table(("figure", "value"), tuple(rows), words=("figure", "value"))


def _widths(budget: Budget) -> Table:
    rows = tuple(
        (
            layer.name,
            layer.op_type,
            wording.whole(layer.types.width_bits),
            wording.whole(layer.weights.width_bits),
            wording.whole(None if layer.seen is None else layer.seen.width_bits),
            f"{layer.headroom_bits:.2f}",
            *(wording.fits(layer.fits_by(criterion)) for criterion in Criterion),
        )
        for layer in budget.layers
    )
    fits = tuple(f"fits, {criterion}" for criterion in Criterion)
    columns = ("layer", "operator", "types allow", "weights allow", "seen", "headroom", *fits)
    return Table(columns, rows, words=("layer", "operator", *fits))


def _layers(found: Evaluation) -> Table:
    return Table(
        ("layer", "operator", "treatment", "inputs", "weights", "accumulator", "SQNR"),
        tuple(_layer(layer) for layer in found.layers),
        words=("layer", "operator", "treatment", "inputs", "weights"),
    )


def _layer(layer: LayerSummary) -> tuple[str, ...]:
    return (
        layer.name,
        layer.op_type,
        layer.treatment,
        wording.grid(layer.input_grid),
        wording.grid(layer.weight_grid),
        wording.span(layer.accumulator),
        wording.decibel(layer.sqnr_db),
    )


def _choices(config: QuantizationConfig) -> Table:
    rows = (*wording.choices(config), ("limit", f"{config.limit_bits} bits"))
    return Table(("choice", "value"), rows, words=("choice", "value"))


def _model_lines(bench: Workbench) -> tuple[str, ...]:
    graph = bench.graph
    tensors = [
        f"{what} {i.name} ({' × '.join(map(str, i.shape)) or 'any shape'}, {i.dtype})"
        for what, infos in (("Input", graph.inputs), ("Output", graph.outputs))
        for i in infos
    ]
    return (f"{graph.n_parameters:,} parameters. {'. '.join(tensors)}.",)


def _nodes(bench: Workbench) -> Table:
    found = inspect_model(bench.graph)
    rows = tuple(
        (node.name, node.op_type, str(node.treatment), node.refusal or wording.NOTHING)
        for node in found.nodes
    )
    columns = ("node", "operator", "treatment", "Concrete ML would refuse: why")
    return Table(columns, rows, words=columns)


def _data_lines(bench: Workbench) -> tuple[str, ...]:
    data = bench.data
    lines = [
        f"{data.name}: {n_samples(bench.graph, data.calibration)} samples to calibrate, "
        f"{n_samples(bench.graph, data.evaluation)} to evaluate, "
        f"{'no labels' if data.labels is None else 'with labels'}."
    ]
    if data.is_synthetic:
        lines.append("The data were generated: accuracy and ranges say nothing about real data.")
    return (*lines, *data.notes)


def _proofs(proofs: Mapping[str, Proof]) -> Section:
    rows = tuple(
        (title, f"{proof.equal} of {proof.samples} {proof.what}", str(proof.ties),
         str(proof.different), wording.TRISTATE[proof.holds], wording.seconds(proof.elapsed_s))
        for title, proof in proofs.items()
    )  # fmt: skip
    lines = tuple(f"{title}. {' '.join(proof.lines)}" for title, proof in proofs.items())
    columns = ("format", "equal", "at ties", "different", "holds", "time")
    return Section("Proofs", lines, (Table(columns, rows, words=("format", "holds")),))


def _versions(bench: Workbench) -> Table:
    rows = (
        ("quantlib", quantlib.__version__),
        ("ONNX Runtime", onnxruntime.__version__),
        ("onnx", onnx.__version__),
        ("NumPy", np.__version__),
        ("Python", platform.python_version()),
        ("processor", platform.machine()),
        ("model, SHA-256", bench.graph.digest),
        ("data, SHA-256", bench.data.digest or wording.NOTHING),
    )
    return Table(("what", "value"), rows, words=("what", "value"))
