"""``python -m tests.fuzz.guided NAME SECONDS``: atheris on one harness, led by what is covered."""

import sys
import tempfile
from pathlib import Path


def main(name, seconds):
    """Fuzz; the exit code says whether an input broke the harness, stderr which."""
    import atheris

    with atheris.instrument_imports(include=["ctgkit"]):
        from tests.fuzz import harness
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(harness.valid_inputs(name)):
            (Path(corpus) / str(number)).write_bytes(data)
        options = [f"-max_total_time={seconds}", "-max_len=20000", f"-artifact_prefix={corpus}/"]
        atheris.Setup([sys.argv[0], *options, corpus], harness.harness(name))
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
