"""Learn: one quantizer with movable numbers, and the documentation's examples live."""

import numpy as np
import streamlit as st

import quantlib as ql
from pages.ui import frame, text
from pages.ui.charts import lessons, theme

frame.begin(
    "learn", "A real number becomes an integer and comes back: move anything.", headline=False
)


def quantizer_lesson() -> None:
    """Number line, staircase and error of a quantizer with movable range."""
    controls, picture = st.columns([2, 3])
    with controls:
        low, high = st.slider(
            "Range α … β",
            -10.0,
            10.0,
            (-2.0, 3.0),
            0.1,
            key="learn.range",
            bind="query-params",
            help="Smallest and largest real value the grid must cover.",
        )
        n_bits = st.slider(
            "n_bits",
            1,
            8,
            3,
            key="learn.n_bits",
            bind="query-params",
            help="Width of the grid: it has 2^n codes.",
        )
        signed = st.toggle(
            "Signed",
            key="learn.signed",
            bind="query-params",
            help="Codes from −2^(n−1) instead of 0.",
        )
        symmetric = st.toggle(
            "Symmetric",
            key="learn.symmetric",
            bind="query-params",
            help="Zero point 0 and a range symmetric around 0; needs signed codes.",
        )
        value = st.slider(
            "A value x",
            -12.0,
            12.0,
            1.3,
            0.05,
            key="learn.value",
            bind="query-params",
            help="Followed through rounding and clipping.",
        )
    with frame.shown_errors():
        options = ql.QuantizationOptions(n_bits, is_signed=signed, is_symmetric=symmetric)
        stats = ql.MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))
        quantizer = ql.UniformQuantizer.from_stats(options, stats)
        with picture:
            st.plotly_chart(
                lessons.number_line(quantizer, value=value),
                key="learn.line",
                height=560,
                config=theme.CONFIG,
                alt="Grid, staircase and error of the quantizer",
            )
        with controls:
            formulas(quantizer, low, high, value)


def formulas(quantizer: ql.UniformQuantizer, low: float, high: float, value: float) -> None:
    """Show scale, zero point, code and value with the current numbers in them."""
    scale, zero = float(quantizer.scale), quantizer.zero_point
    code = int(quantizer.quant(np.array([value]))[0])
    back = float(quantizer.dequant(np.array([code]))[0])
    unclipped = int(np.rint(value / scale + zero))
    if high - low < 1e-6:
        st.info(
            "α = β: the range is one constant. Its scale is the constant itself and its code 1; "
            "for 0 the scale is 1 and the code 0."
        )
        return
    if quantizer.is_symmetric:
        symbols = r"\frac{\max(|\alpha|, |\beta|)}{q_{max}}"
        numbers = rf"\frac{{{max(abs(low), abs(high)):.3g}}}{{{quantizer.qmax}}}"
    else:
        symbols = r"\frac{\beta - \alpha}{2^n - 1}"
        numbers = rf"\frac{{{high:.3g} - ({low:.3g})}}{{{2**quantizer.n_bits - 1}}}"
    st.latex(
        rf"""
        \begin{{aligned}}
        S &= {symbols} = {numbers} = {scale:.4g} \\
        Z &= {zero} \\
        q &= \mathrm{{clip}}(\mathrm{{rint}}(x / S + Z)) \\
          &= \mathrm{{clip}}({unclipped}) = {code} \\
        \hat x &= S\,(q - Z) = {scale:.4g} \cdot {code - zero} \\
               &= {back:.4g}
        \end{{aligned}}
        """
    )
    if unclipped != code:
        st.warning(f"x is outside the range: {unclipped} is clipped to {code}.")
    st.caption(f"Error {back - value:+.4g}; inside the range at most S / 2 = {abs(scale) / 2:.4g}.")


def worked_examples() -> None:
    """Run the examples of Concrete ML's documentation with any width and sign."""
    choices = {
        "7 bits, unsigned": (7, False, False),
        "3 bits, unsigned": (3, False, False),
        "3 bits, signed symmetric": (3, True, True),
    }
    chosen = st.segmented_control(
        "Example",
        list(choices),
        default="7 bits, unsigned",
        required=True,
        key="learn.example",
        bind="query-params",
        help="The three arrays of the quantization tools page of Concrete ML's documentation.",
    )
    n_bits, signed, symmetric = choices[chosen or "7 bits, unsigned"]
    values = np.random.RandomState(0).uniform(-2, 2, 10)
    array = ql.QuantizedArray(n_bits, values, is_signed=signed, is_symmetric=symmetric)
    quantizer = array.quantizer
    st.code(
        "rng = np.random.RandomState(0)\n"
        f"array = ql.QuantizedArray({n_bits}, rng.uniform(-2, 2, 10), "
        f"is_signed={signed}, is_symmetric={symmetric})\n"
        f"array.quantizer.scale       # {float(quantizer.scale)}\n"
        f"array.quantizer.zero_point  # {quantizer.zero_point}\n"
        f"array.qvalues               # {array.qvalues.tolist()}"
    )
    st.dataframe(
        {"x": values, "code q": array.qvalues, "value S (q − Z)": quantizer.dequant(array.qvalues)},
        hide_index=True,
        alt="The example's values, codes and dequantized values",
    )
    st.markdown(
        "**Codes alone** have no unit: `value_is_float=False` takes codes with the options, "
        "statistics and parameters of an earlier array, as after decryption."
    )
    typed = st.text_input(
        "Codes",
        "0, 0, 1, 2, 3, -1",
        key="learn.codes",
        bind="query-params",
        help="Integers, separated by commas; they are dequantized with the scale above.",
    )
    try:
        codes = np.array([int(part) for part in typed.split(",")][:64], dtype=np.int64)
    except (ValueError, OverflowError):
        st.error(f"{text.plain(typed)}: give integers of at most 64 bits, separated by commas.")
        return
    decoded = ql.QuantizedArray(
        n_bits,
        codes,
        value_is_float=False,
        options=quantizer.quant_options,
        stats=quantizer.quant_stats,
        params=quantizer.quant_params,
    )
    st.code(f"decoded.dequant()  # {[round(float(v), 6) for v in decoded.dequant()]}")


lesson, examples = st.tabs(["Number line", "Worked examples"], key="learn.tab", bind="query-params")
with lesson:
    quantizer_lesson()
with examples:
    worked_examples()
