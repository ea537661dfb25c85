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


def number(value, bug):
    """Return a value as it is, or what a careless language makes of a text."""
    if bug == "takes texts for numbers" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


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


def spoilt(values, bug):
    """Return time and values as they are stored."""
    if bug == "keeps 32 bits":
        values = [v and struct.unpack("f", struct.pack("f", v))[0] for v in values]
    if bug == "rounds to a decimal":
        values = [values[0], *(v and round(v, 1) for v in values[1:])]
    if bug == "rounds times to milliseconds":
        values[0] = round(values[0], 3)
    if bug == "swaps uterus and spasms":
        values[2:] = values[3], values[2]
    if bug == "stores 0 for what isn't measured":
        values[2:] = [v or 0 for v in values[2:]]
    if bug == "stores NULL for a uterus of 0":
        values[2:] = [v or None for v in values[2:]]
    return values


def number_of(seq, bug):
    """Return a sample's number, None when it has none; ValueError when it is no good one."""
    if bug == "takes 31.0 for an integer" and isinstance(seq, float) and seq == int(seq):
        seq = int(seq)
    if seq is not None and not (type(seq) is int and 0 <= seq < 2**63):
        raise ValueError(seq)
    if bug == "takes 0 for no number":
        seq = seq or None
    if bug == "numbers are doubles" and seq is not None:
        seq = min(int(float(seq)), 2**63 - 1)
    return seq


def read(item, own, known, bug):
    """Return (sensor, sec, fhr, uterus, spasms, seq) of a valid sample, None otherwise."""
    item = fold(item, bug)
    data = item.get("data") if isinstance(item, dict) else None
    if not isinstance(data, dict):
        return None
    sensor = whose(item, own, known, bug)
    if sensor is None:
        return None
    if bug == "takes 0 s for absent" and not item.get("secFromStart"):
        return None
    values = [item.get("secFromStart"), *(data.get(k) for k in ("BPMChild", "uterus", "spasms"))]
    values = [number(v, bug) for v in values]
    if not all(is_allowed(n, value, bug) for n, value in enumerate(values)):
        return None
    values = spoilt(values, bug)
    seq = item.get("seq")
    try:
        seq = number_of(seq, bug)
    except ValueError:
        return None
    return sensor, values[0], values[1] or None, *values[2:], seq


def items_of(frame, bug):
    """Return the items of a frame, None for what is no JSON."""
    if bug == "refuses binary frames" and isinstance(frame, bytes):
        return [None]
    try:
        if bug == "reads the first value of a frame" and frame:
            text = frame if isinstance(frame, str) else frame.decode()
            items, _ = json.JSONDecoder().raw_decode(text.lstrip())
        else:
            items = json.loads(frame)
    except (ValueError, RecursionError):
        if bug == "dies on invalid JSON":
            raise
        return [None]
    if isinstance(items, list):
        longer = len(items) > 512 and bug != "takes arrays of any length"
        return [None] if longer else items
    return [items]
