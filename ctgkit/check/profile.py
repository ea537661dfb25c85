"""Where the original backend and ML service decide otherwise than PROTOCOL.md.

This module performs no I/O. Under ``--profile ancestor`` these checks are made all the same, but
what they find is a warning: the original is not wrong by its own specification.
"""

ANCESTOR = {
    "S-1.1/case": "compares ids exactly",
    "S-1.3/unknown": "answers 403 to an unknown sensor",
    "S-1.3/same-body": "answers 403 to an unknown sensor, 401 to a wrong token",
    "S-1.3/same-time": "compares tokens with !=",
    "S-1.4/closed": "keeps both connections",
    "S-1.5/plain": "answers 400",
    "S-2.1/foreign": "allows every origin",
    "S-2.1/null": "allows every origin",
    "S-2.2/foreign": "allows every Host",
    "S-4.1/values": "keeps 32 bits of a number",
    "S-4.3/other": "ignores sensorID in a sample",
    "S-4.4/null": "stores 0 for no signal",
    "S-4.4/zero": "stores 0 for no signal",
    "S-4.4/absent": "stores 0 for no signal",
    "S-4.4/null-toco": "stores 0 for what isn't measured",
    "S-4.5/array": "knows no arrays",
    "S-4.5/one-bad": "knows no arrays",
    "S-4.10/larger": "has no limit",
    "S-4.10/fragments": "has no limit",
    "V-2.2/silent": "shows results only",
    "V-2.2/late": "shows results only",
    "V-2.2/lost": "shows results only",
    "V-2.2/down": "shows results only",
    "H-1.1/health": "has no status",
    "H-1.1/degraded": "has no status",
    "H-2.1/count": "ignores count",
}
"""Check of a backend -> what the original does instead."""

ANCESTOR_ML = {
    "M-3.1/timestamp": "has no Z",
    "M-3.3/first-8.33hz": "counts 1200 samples",
    "M-3.3/first-1hz": "counts 1200 samples",
}
"""Check of an ML service -> what the original does instead."""
