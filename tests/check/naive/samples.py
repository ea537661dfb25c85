"""How the naive backend reads samples: PROTOCOL S-4 by hand."""

import json
import math
import struct

NAMES = {
    n.lower(): n
    for n in ("sensorID", "secFromStart", "data", "seq", "BPMChild", "uterus", "spasms")
}
LIMITS = ((0, 31_622_400), (20, 300), (-50, 300), (-50, 300))


def fold(item, bug):
    """Spell keys as specified."""
    if bug == "case-sensitive keys" or not isinstance(item, dict):
        return item
    folded = {NAMES.get(k.lower(), k): v for k, v in item.items()}
    return {k: fold(v, bug) if k == "data" else v for k, v in folded.items()}


def is_number(value, bug):
    kinds = (int, float, bool) if bug == "takes true for a number" else (int, float)
    return type(value) in kinds


def whose(item, own, known, bug):
    """Return the sensor of a sample, None when it may not say that."""
    claimed = item.get("sensorID")
    if claimed is None or claimed == "":
        return own
    if not isinstance(claimed, str):
        return None
    claimed = claimed.lower()
    if claimed == own:
        return own
    if bug == "ignores the id in a sample":
        return own
    if bug == "stores under a foreign id":
        return claimed
    if bug == "stores under a second sensor's id" and claimed in known:
        return claimed
    return None


def is_allowed(n, value, bug):
    """Whether the number at place *n* (time, heart rate, uterus, spasms) may be stored."""
    low, high = LIMITS[n]
    if value is None or (n == 1 and is_number(value, bug) and value == 0):
        return n > 0
    if not is_number(value, bug):
        return False
    if bug == "accepts NaN" and n and not math.isfinite(value):
        return True
    if bug == "limits are exclusive" and n:
        return low < value < high
    if bug == "has no upper limit for toco" and n > 1 and value > high:
        return True
    return low <= value <= high


def read(item, own, known, bug):
    """Return (sensor, sec, fhr, uterus, spasms, seq) of a valid sample, None otherwise."""
    item = fold(item, bug)
    data = item.get("data") if isinstance(item, dict) else None
    if not isinstance(data, dict):
        return None
    sensor = whose(item, own, known, bug)
    if sensor is None:
        return None
    values = [item.get("secFromStart"), *(data.get(k) for k in ("BPMChild", "uterus", "spasms"))]
    if not all(is_allowed(n, value, bug) for n, value in enumerate(values)):
        return None
    if bug == "keeps 32 bits":
        values = [v and struct.unpack("f", struct.pack("f", v))[0] for v in values]
    seq = item.get("seq")
    if seq is not None and not (type(seq) is int and 0 <= seq < 2**63):
        return None
    return sensor, values[0], values[1] or None, *values[2:], seq


def items_of(frame, bug):
    """Return the items of a frame, None for what is no JSON."""
    if bug == "refuses binary frames" and isinstance(frame, bytes):
        return [None]
    try:
        items = json.loads(frame)
    except (ValueError, RecursionError):
        if bug == "dies on invalid JSON":
            raise
        return [None]
    return items if isinstance(items, list) else [items]
