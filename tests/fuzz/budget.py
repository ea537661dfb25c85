"""How long to fuzz: a fixed handful by default, new inputs for as long as somebody asks."""

import os
import random
import time

FUZZ_S = float(os.environ.get("CTGKIT_FUZZ_SECONDS", "0"))
"""Seconds for each fuzz test; 0: the same few batches every time."""
SEED = os.environ.get("CTGKIT_FUZZ_SEED")
"""Only this batch, to see a failure again."""


def lucks(batches):
    """Yield one random generator per batch; the last seed printed is the failing one's."""
    until_s = time.monotonic() + FUZZ_S
    seeds = iter(range(batches))
    while True:
        if SEED is not None:
            seed = int(SEED)
        elif FUZZ_S:
            seed = random.SystemRandom().getrandbits(48)
        else:
            seed = next(seeds, None)
            if seed is None:
                return
        print("CTGKIT_FUZZ_SEED =", seed)
        yield random.Random(seed)
        if SEED is not None or (FUZZ_S and time.monotonic() > until_s):
            return
