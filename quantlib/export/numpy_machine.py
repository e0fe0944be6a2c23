# mypy: ignore-errors
# ruff: noqa: ARG005, B905, D103, E401, I001
# fmt: off
"""Codes in, integers out, on NumPy alone: python FILE.py PROGRAM.npz CODES.npz INTEGERS.npz."""
import json, sys
import numpy as np
def load(path):
    kept = {k: a.astype(np.int64) if a.dtype.kind in "iu" else a for k, a in np.load(path).items()}
    def read(v):
        if isinstance(v, dict) and "staircase" in v:
            return [kept[f"{v['staircase']}.{part}"] for part in ("thresholds", "values")]
        if isinstance(v, list):
            return [read(item) for item in v]
        return kept[v["array"]] if isinstance(v, dict) else v
    document = json.loads(kept["program"].astype(np.uint8).tobytes())
    return [[{k: read(v) for k, v in s.items()} for s in document[p]] for p in ("steps", "outputs")]
def product(a, b, bound):
    kind = np.float64 if bound < 2**53 else np.int64  # both exact, the first one faster
    return (a.astype(kind) @ b.astype(kind)).astype(np.int64)
def windows(x, s, kernel):  # (N, C, *places, *kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, s["dilations"])]
    every = np.lib.stride_tricks.sliding_window_view(x, reach, axis=list(range(2, x.ndim)))
    return every[(..., *(slice(None, None, i) for i in (*s["strides"], *s["dilations"])))]
def conv(x, s, w):
    seen, taps = windows(x, s, w.shape[2:]), w.ndim - 2
    seen = seen.transpose([0, 1, *range(w.ndim, w.ndim + taps), *range(2, w.ndim)])
    columns = seen.reshape(len(x), s["group"], w[0].size, -1)
    sums = product(w.reshape(s["group"], -1, w[0].size), columns, s["partial"])
    return sums.reshape(len(x), *s["shape"]) + s["offset"].reshape(1, -1, *[1] * taps)
def squares(a, b, s):  # 4ab = (a + b)**2 - (a - b)**2, both rounded
    both = a[..., None] + b[..., None, :, :], a[..., None] - b[..., None, :, :]
    p, q = ((v + (1 << n >> 1) >> n << n) ** 2 // 4 for v, n in zip(both, s["square_lsbs"]))
    return (p - q).sum(-2) - s["right_zero"] * a.sum(-1, keepdims=True)
def table(x, s):
    rows = s["rows"].reshape([n if i in s["axes"] else 1 for i, n in enumerate(s["shape"])])
    rows, made = np.broadcast_to(rows, x.shape), np.empty_like(x)
    for row, (thresholds, values) in enumerate(s["staircases"]):
        made[rows == row] = values[np.searchsorted(thresholds, x[rows == row], side="right")]
    return made
def pair(*x):
    (*_, b, s), a = x, x[0] if len(x) > 2 else x[-1]["weights"]
    return a @ (b - s["right_zero"]) if s["square_lsbs"] is None else squares(a, b, s)
KINDS = {
    "MatMul": lambda x, s: product(x, s["weights"] - s["weight_zero"], s["partial"]) + s["offset"],
    "Conv": lambda x, s: conv(x, s, s["weights"] - s["weight_zero"]),
    "Centre": lambda x, b, s: x - s["left_zero"] * (b - s["right_zero"]).sum(-2, keepdims=True),
    "Sum": lambda x, s: x.sum(-1), "Add": lambda a, b, s: a + b, "PairMatMul": pair, "Table": table,
    "Pool": lambda x, s: (np.max if s["largest"] else np.sum)(windows(x, s, s["kernel"]),
                                                              tuple(range(x.ndim, 2 * x.ndim - 2))),
    "Multiply": lambda a, b, s: a * b - s["left_zero"] * b - s["right_zero"] * a + s["offset"],
    "Round": lambda x, s: x + s["offset"] + (1 << s["lsbs"] - 1) >> s["lsbs"],
    "Move": lambda *x: np.where(x[-1]["index"] < 0, x[-1]["fill"], np.concatenate(
        [p.reshape(len(p), -1) for p in x[:-1]], axis=1)[:, x[-1]["index"]]),
}
def run(program, *codes):
    given, v = (np.asarray(c, np.int64) for c in codes), {}
    for s in program[0]:
        names = [s[k] for k in ("source", "left", "right") if s.get(k)] + s.get("parts", [])
        v[s["name"]] = KINDS[s["kind"]](*map(v.get, names), s) if names else next(given)
    return [v[output["source"]] for output in program[1]]
if __name__ == "__main__":
    np.savez(sys.argv[3], *run(load(sys.argv[1]), *np.load(sys.argv[2]).values()))
