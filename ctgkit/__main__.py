"""``python -m ctgkit``, and what the command ``ctgkit`` calls."""

import gc
import sys

from ctgkit.interrupts import ended


def main() -> None:
    """Import the command line, run it and exit with its code."""
    sys.exit(ended(_imported))


def _imported() -> int:
    """Import and run it.

    What is imported stays: to look for garbage in it, now and when Python ends, takes a sixth of
    the time that ``ctgkit --help`` does.
    """
    gc.disable()
    from ctgkit.cli.main import run

    gc.freeze()
    gc.enable()
    return run()


if __name__ == "__main__":
    main()
