"""Where the original backend and ML service decide otherwise than PROTOCOL.md.

This module performs no I/O. Under ``--profile ancestor`` these checks are made all the same, but
what they find is a warning: the original is not wrong by its own specification.
"""

_MISSING_IS_ZERO = "takes what is absent as 0"

ANCESTOR = {
    "S-1.1/case": "compares ids exactly",
    "S-1.3/unknown": "answers 403 to an unknown sensor",
    "S-1.3/same-body": "answers 403 to an unknown sensor, 401 to a wrong token",
    "S-1.3/same-time": "compares tokens with !=",
    "S-1.4/closed": "keeps both connections",
    "S-1.5/plain": "answers 400",
    "S-1.7/order": "asks for the token before the upgrade, and for the id before the token",
    "S-2.1/foreign": "allows every origin",
    "S-2.1/null": "allows every origin",
    "S-2.1/near": "allows every origin",
    "S-2.2/foreign": "allows every Host",
    "S-2.2/near": "allows every Host",
    "S-1.1/takeover": "compares ids exactly",
    "D-1/lower": "compares ids exactly",
    "S-2.5/image": "obeys every page",
    "S-4.1/values": "keeps 32 bits of a number",
    **{f"S-4.3/{name}": "ignores sensorID in a sample" for name in ("other", "second")},
    **{f"S-4.4/{name}": "stores 0 for no signal" for name in ("null", "zero", "absent")},
    **{f"S-4.4/{name}": _MISSING_IS_ZERO for name in ("no-toco", "null-toco")},
    **{f"S-4.5/{name}": "knows no arrays" for name in ("array", "one-bad", "empty", "largest")},
    "S-4.5/longer": "knows no arrays",
    "S-4.9/samples": "knows no arrays",
    **{f"S-4.7/fhr-{name}": "knows no limits" for name in ("low", "high", "negative")},
    **{f"S-4.7/{name}": "knows no limits" for name in ("uterus-low", "uterus-high", "spasms-high")},
    **{f"S-4.7/sec-{name}": "knows no limits" for name in ("negative", "high")},
    **{f"S-4.8/{name}": _MISSING_IS_ZERO for name in ("null", "sec-absent", "sec-null")},
    "S-4.8/data-absent": _MISSING_IS_ZERO,
    "S-4.8/utf8": "reads invalid UTF-8 as replacement characters",
    "S-4.9/hundred": "endures any number of bad frames",
    "S-4.10/larger": "has no limit",
    "S-4.10/fragments": "has no limit",
    "H-1.1/health": "has no status",
    "H-1.1/degraded": "has no status",
    **{f"H-2.1/{name}": "ignores count" for name in ("count", "bad-count")},
    "H-1.5/head": "answers 405",
    "D-2/times": "writes times as its language shows them",
    "H-2.3/token": "lets everybody switch sensors",
    **{
        f"V-2.2/{name}": "shows results only"
        for name in ("silent", "late", "lost", "error", "down", "each", "once", "in-time")
    },
    "M-2.1/values": "keeps 32 bits of a number",
    "M-4.2/twins": "shows results only",
    **{
        f"M-4.1/{name}": "relays any bytes"
        for name in ("no-status", "no-time", "no-data", "range", "alerts", "nan")
    },
    "C-2.5/flood": "has no budget of frames",
    "V-3.1/bad": "knows no backfill",
    "M-4.1/shown": "shows results only",
    "M-4.2/error": "shows results only",
    "V-2.3/closed": "has no close code for slow viewers",
    "M-2.1/each": "knows no arrays",
    "M-4.1/wrong-type": "relays any bytes",
    **{f"M-4.1/{name}": "relays any bytes" for name in ("json", "binary", "scalar", "list")},
    **{f"M-4.1/{name}": "relays any bytes" for name in ("no-id", "stranger", "error")},
}
"""Check of a backend -> what the original does instead."""

ANCESTOR_ML = {"M-3.1/timestamp": "has no Z"}
"""Check of an ML service -> what the original does instead. That it counts samples instead of
minutes, and predicts at every sample, contradicts its own documents: those stay failures."""
