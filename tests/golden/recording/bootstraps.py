"""Record what the optimizer of Concrete says one look-up costs, by the width that enters it."""

from __future__ import annotations

import numpy as np
from common import save
from concrete import fhe

LOOKUPS = 16


def complexity(width, fan_in):
    """Return the complexity of one look-up on a sum of `fan_in` encrypted integers."""
    top = 2**width

    def function(x):
        total = np.sum(x, axis=0) if fan_in > 1 else x[0]
        return fhe.univariate(lambda v: (v * 7 + 3) % top)(total)

    rng = np.random.default_rng(width)
    share = (top - 1) // fan_in
    ends = [np.zeros((fan_in, LOOKUPS), dtype=np.int64) for _ in range(2)]
    ends[1][:] = share
    ends[1][0] += top - 1 - share * fan_in
    inputs = ends + [rng.integers(0, share + 1, (fan_in, LOOKUPS)) for _ in range(5)]
    circuit = fhe.Compiler(function, {"x": "encrypted"}).compile(
        inputs, fhe.Configuration(fhe_simulation=True, fhe_execution=False, p_error=2**-40)
    )
    assert circuit.programmable_bootstrap_count == LOOKUPS
    assert circuit.graph.maximum_integer_bit_width() == width
    return circuit.complexity / LOOKUPS


def main():
    """Record widths 1 to 16, the widest that Concrete's tables take."""
    cases = []
    for width in range(1, 17):
        found = {n: complexity(width, n) for n in (1, 16) if n < 2**width}
        cases.append({"width_bits": width, "complexity": {str(n): v for n, v in found.items()}})
        print(cases[-1])
    save("bootstraps", cases, {})


if __name__ == "__main__":
    main()
