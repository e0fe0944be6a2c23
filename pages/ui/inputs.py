"""The sidebar: the same controls, in the same order, with the same words on every screen."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import settings, signs, state, text
from pages.ui.home import samples
from quantlib import wording
from quantlib.analysis.widths.criterion import Criterion
from quantlib.core import config_json
from quantlib.core.config import CALIBRATE_ON, CONVENTIONS
from quantlib.core.estimator import ESTIMATORS, WEIGHT_ESTIMATORS
from quantlib.errors import QuantlibError

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTHS = [str(width) for width in range(settings.EDGE_BITS[0], settings.EDGE_BITS[1] + 1)]
_EDGE_BITS = [settings.AUTO, *_WIDTHS]
_ROUNDING = ["off", *_WIDTHS]
_MORE_ESTIMATORS = ["percentile:99.9", "percentile:99", "lp-norm:4", "mean-std:4"]
_CONVENTIONS = {"concrete-ml": "as Concrete ML", "onnx": "as ONNX"}
_CALIBRATED = {"quantized": "quantized path", "float": "float model"}


def model_picker() -> None:
    """Draw the model control; a link may name a model that is not here yet."""
    options = [*samples.cards(), *state.uploads()]
    linked = st.query_params.get(settings.KEYS["model"])
    if linked and "#" in linked and linked not in options:
        options.append(linked)
    st.selectbox(
        "Model",
        options,
        key=settings.KEYS["model"],
        bind="query-params",
        help="A sample, or a model uploaded on Home. Changing it keeps the configuration.",
    )


def output_picker(names: Sequence[str]) -> None:
    """Draw the choice of an output, for models that have several."""
    key = settings.KEYS["output"]
    if len(names) < 2 or st.session_state.get(key) not in (None, settings.WORST, *names):
        st.session_state.pop(key, None)  # it was another model's
    if len(names) < 2:
        return
    st.selectbox(
        "Output",
        [settings.WORST, *names],
        key=key,
        bind="query-params",
        help="Which output the figures are of. The worst is the one with the lowest SQNR under "
        "the present configuration; every screen names it.",
    )


def configuration() -> None:
    """Draw the controls of the configuration."""
    keys = settings.KEYS
    st.slider(
        "Weight bits",
        *settings.BITS,
        4,
        key=keys["weight_bits"],
        bind="query-params",
        help="n_bits of constants: the grid of every weight tensor has 2^n codes.",
    )
    signs.controls("weights")
    st.slider(
        "Activation bits",
        *settings.BITS,
        4,
        key=keys["activation_bits"],
        bind="query-params",
        help="n_bits of the inputs of integer operators. Inputs and outputs follow as "
        "max(5, n) unless set below.",
    )
    signs.controls("activations")
    with st.expander("Ranges"):
        _ranges()
    with st.expander("Model edges, rounding, limit"):
        st.selectbox(
            "Input bits",
            _EDGE_BITS,
            key=keys["input_bits"],
            bind="query-params",
            help="Width of model inputs that no integer operator reads directly. "
            "Auto: max(5, activation bits).",
        )
        st.selectbox(
            "Output bits",
            _EDGE_BITS,
            key=keys["output_bits"],
            bind="query-params",
            help="Width of operators' outputs. Auto: max(5, activation bits).",
        )
        st.selectbox(
            "Rounding threshold (bits)",
            _ROUNDING,
            key=keys["rounding"],
            bind="query-params",
            help="Accumulators wider than this lose their lowest bits before the table look-up.",
        )
        st.slider(
            "Accumulator limit (bits)",
            *settings.LIMITS,
            16,
            key=keys["limit"],
            bind="query-params",
            help="Widest integer the target takes: 16 for today's Concrete, 8 and 7 for older "
            "versions. It changes no number, only what is marked.",
        )
        st.segmented_control(
            "Counts against the limit",
            [str(criterion) for criterion in Criterion],
            default=str(Criterion.SEEN),
            required=True,
            key=keys["criterion"],
            bind="query-params",
            help="\n".join(f"- **{c}**: {c.explanation}" for c in Criterion),
        )
    with st.expander("Rules"):
        _rules()
    _overrides()


def _rules() -> None:
    """Draw which rules hold where Concrete ML, ONNX and the model itself differ."""
    st.segmented_control(
        "Where Concrete ML and ONNX differ",
        list(CONVENTIONS),
        default=CONVENTIONS[0],
        required=True,
        key=settings.KEYS["conventions"],
        bind="query-params",
        format_func=lambda word: _CONVENTIONS[word],
        help="As Concrete ML, MaxPool pads with 0.0 and BatchNormalization's output range leaves "
        "0.1 % of the values on each side out. As ONNX, padding never wins and the range is all "
        "values.",
    )
    st.segmented_control(
        "Quantize where the model brings no grid",
        list(settings.TRISTATE),
        default=settings.AUTO,
        required=True,
        key=settings.KEYS["quantize_rest"],
        bind="query-params",
        help="Only for models that bring grids. Auto: a QONNX or Brevitas model is quantized "
        "everywhere, as in Concrete ML; a model with QuantizeLinear runs on its own grids, the "
        "rest in float, as in ONNX Runtime.",
    )


def _ranges() -> None:
    """Draw what decides the ranges that grids cover."""
    keys = settings.KEYS
    _estimator("Range of weights", keys["weights_range"])
    st.toggle(
        "One grid per output channel",
        key=keys["weights_per_channel"],
        bind="query-params",
        help="A scale and zero point for each output channel of Gemm, MatMul and Conv weights. "
        "An extension: Concrete ML has one per tensor.",
    )
    _estimator("Range of activations", keys["activations_range"])
    st.segmented_control(
        "Measure activations on",
        list(CALIBRATE_ON),
        default=CALIBRATE_ON[0],
        required=True,
        key=keys["calibrate_on"],
        bind="query-params",
        format_func=lambda word: _CALIBRATED[word],
        help="What the quantized operators before produce (Concrete ML), or the float model's "
        "tensors (ONNX Runtime, AIMET).",
    )
    for part in ("weights", "activations"):
        st.toggle(
            f"Power-of-two scales, {part}",
            key=keys[f"{part}_power_of_two"],
            bind="query-params",
            help="Scales rounded up to powers of two: rescaling is a shift.",
        )
        st.toggle(
            f"Narrow range, {part}",
            key=keys[f"{part}_narrow"],
            bind="query-params",
            help="Leaves the lowest code out: a signed grid has as many codes on each side.",
        )


def _overrides() -> None:
    """Draw what single layers do differently, and the way back."""
    key = settings.KEYS["overrides"]
    with st.expander("Per-layer overrides"):
        st.text_input(
            "Overrides (JSON)",
            key=key,
            bind="query-params",
            placeholder='{"layer": {"weights": {"n_bits": 3}}}',
            help="Written by the Layers screen and by remedies. What a layer's scheme leaves out "
            "is automatic.",
        )
    written = st.session_state.get(key)
    if not written:
        return
    with suppress(QuantlibError):  # the page shows what is wrong
        st.caption(text.overrides(config_json.read_overrides(written)))
    st.button(
        "Clear overrides",
        key="config.clear_overrides",
        width="stretch",
        on_click=settings.clear_overrides,
        help="All layers follow the controls above again.",
    )


def _estimator(label: str, key: str) -> None:
    """Draw the choice of a range estimator; other parameters can be typed."""
    st.selectbox(
        label,
        [
            *(WEIGHT_ESTIMATORS if key == settings.KEYS["weights_range"] else ESTIMATORS),
            *_MORE_ESTIMATORS,
        ],
        key=key,
        bind="query-params",
        accept_new_options=True,
        help="Min-max clips nothing and is Concrete ML's. Type another parameter behind a colon, "
        "as in percentile:99.5. Calibration shows all of them on a tensor.",
    )


def _pin() -> None:
    """Pin the configuration; while controls contradict each other there is none to pin."""
    with suppress(QuantlibError):
        state.pin(settings.config())


def pin_controls() -> None:
    """Draw pin and unpin; B's code is a member of the link, as all that is chosen."""
    place = st.container()  # drawn last: a link's B is known once the control of its code is
    with st.expander("B as a code"):
        st.text_input(
            "Code of B",
            key=state.PINNED,
            bind="query-params",
            placeholder="none pinned",
            help="The link carries it; paste a code to compare with the configuration of another.",
        )
    kept = state.pinned()
    if kept is None:
        place.button(
            "Pin as B",
            key="config.pin",
            on_click=_pin,
            help="Keeps this configuration; SQNR and accuracy then show their difference to B.",
            width="stretch",
        )
    else:
        place.caption(f"B: {wording.config(kept)}")
        place.button(
            "Unpin B", key="config.unpin", on_click=lambda: state.pin(None), width="stretch"
        )
    try:
        state.pinned_or_raise()
    except QuantlibError as error:
        st.warning(f"B is not taken from the link: {text.plain(str(error), 200)}")
