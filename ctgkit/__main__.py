"""``python -m ctgkit``, and what the command ``ctgkit`` calls."""

import gc


def main() -> None:
    """Import the command line and run it.

    What is imported stays: to look for garbage in it, now and when Python ends, takes a sixth of
    the time that ``ctgkit --help`` does.
    """
    gc.disable()
    from ctgkit.cli.main import main

    gc.freeze()
    gc.enable()
    main()


if __name__ == "__main__":
    main()
