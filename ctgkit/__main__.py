"""``python -m ctgkit``."""

from ctgkit.cli.main import main

if __name__ == "__main__":
    main()
