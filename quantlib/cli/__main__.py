"""``python -m quantlib.cli`` is the command ``quantlib``."""

from quantlib.cli import main

main()
