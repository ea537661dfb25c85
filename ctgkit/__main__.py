"""``python -m ctgkit``."""

from ctgkit.cli import main

if __name__ == "__main__":
    main()
