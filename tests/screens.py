"""The screens, by the name that file and link have."""

TITLES = {
    "home": "Home",
    "learn": "Learn",
    "calibration": "Calibration",
    "bitwidths": "Bit widths",
    "layers": "Layers",
    "sweep": "Sweep",
    "compare": "Compare",
    "graph": "Graph",
    "encrypt": "Encrypt",
    "export": "Export",
}
"""Title of each, in the order of the menu."""
