"""The planted faults, and the checks that find them: these and no others."""

GARBAGE = {f"M-4.1/{n}" for n in ("json", "binary", "scalar", "list", "no-id", "stranger", "error")}

TAKEOVER = {
    f"S-1.4/{n}" for n in ("closed", "serves", "examination", "older-leaves", "newer-leaves")
}

FAULTS = {
    # who is let in
    "forgets the token": {
        f"S-1.3/{n}" for n in ("wrong-token", "no-token", "in-url", "same-body", "near")
    },
    "takes a token from the URL": {"S-1.3/in-url"},
    "compares the token's beginning": {"S-1.3/near"},
    "says who is known": {"S-1.7/order", "S-1.3/unknown", "S-1.3/same-body"},
    "ids compare exactly": {"S-1.1/case"},
    "401 without an id": {"S-1.7/order", "S-1.2/absent", "S-1.2/empty"},
    "takes a slash": {"S-1.5/slash"},
    "400 for no upgrade": {"S-1.5/plain"},
    "lets every origin in": {"S-1.7/order", "S-2.1/foreign", "S-2.1/null"},
    "lets every Host in": {"S-1.7/order", "S-2.2/foreign"},
    "limit off by one": {"S-2.3/limit"},
    "obeys foreign pages": {"S-2.5/image"},
    # taking over, coming and going
    "refuses a second connection": TAKEOVER,
    "keeps both connections": {"S-1.4/closed"},
    "takes over with 1000": {"S-1.4/closed"},
    "closes the newer connection": TAKEOVER,
    "the older connection ends the examination": {"S-1.4/older-leaves"},
    "refuses quick reconnects": {"S-1.6/reconnects"},
    "cannot serve two who come at once": {"S-1.6/burst"},
    # samples
    "case-sensitive keys": {"S-4.2/bpmChild", "S-4.2/upper"},
    "ignores the id in a sample": {"S-4.3/other", "S-4.3/second"},
    "stores under a foreign id": {"S-4.3/other", "S-4.3/second"},
    "stores under a second sensor's id": {"S-4.3/second"},
    "stores 0 for no signal": {"S-4.4/null", "S-4.4/zero", "S-4.4/absent"},
    "rejects whole arrays": {"S-4.5/one-bad"},
    "keeps 32 bits": {"S-4.1/values"},
    "refuses binary frames": {"S-4.1/binary"},
    "limits are exclusive": {"S-4.7/lowest", "S-4.7/highest"},
    "has no upper limit for toco": {"S-4.7/uterus-high", "S-4.7/spasms-high"},
    "accepts NaN": {"S-4.8/nan", "S-4.8/infinity", "S-4.8/overflow"},
    "takes true for a number": {"S-4.8/toco-bool"},
    "dies on invalid JSON": {
        *(f"S-4.8/{name}" for name in ("json", "utf8", "empty", "deep", "digits")),
        "S-6.4/unreadable",
    },
    "endures any rubbish": {"S-4.9/hundred", "S-4.5/empty"},
    "counts bad frames for ever": {"S-4.9/in-a-row"},
    "takes frames of any size": {"S-4.10/larger", "S-4.10/fragments"},
    "limits frames, not messages": {"S-4.10/fragments"},
    "drops what goes back in time": {"S-4.11/reordered", "S-4.11/back"},
    # examinations
    "stores twice": {"S-5.1/stored-once"},
    "mixes sensors": {"S-5.1/own-rows"},
    "an examination per sensor": {"S-5.2/joins"},
    "never ends examinations": {"S-5.3/closed", "S-5.3/next"},
    "ends with the first who leaves": {"S-5.3/last", "S-5.3/first", "S-1.4/older-leaves"},
    # acknowledgements
    "writes to every sensor": {"S-6.1/silent"},
    "chooses any subprotocol": {"S-6.1/other"},
    "needs no number": {"S-6.2/seq"},
    "acknowledges before it commits": {"S-6.3/committed"},
    "acknowledgements go down": {"S-6.3/rising"},
    "acknowledges one too many": {"S-6.3/ack"},
    "rejects in silence": {"S-6.4/numbered", "S-6.4/unreadable", "S-6.2/seq", "S-6.2/range"},
    "rejects without number": {"S-6.4/numbered", "S-6.5/conflict"},
    "stores resent samples again": {"S-6.5/once", "S-6.5/earlier", "S-6.7/named", "S-6.5/conflict"},
    "drops a restarted sensor's data": {f"S-6.5/{n}" for n in ("restarted", "stream", "conflict")},
    "acknowledges other values": {f"S-6.5/{n}" for n in ("restarted", "stream", "conflict")},
    "knows no streams": {"S-6.5/stream"},
    "takes any stream name": {"S-6.7/bad-name"},
    # HTTP
    "always says ok": {"H-1.1/degraded"},
    "health without status": {"H-1.1/health", "H-1.1/degraded"},
    "has no metrics": {"H-1.2/metrics"},
    "405 without Allow": {"H-1.3/method"},
    "knows every page": {"H-1.3/unknown"},
    "ignores count": {"H-2.1/count"},
    "starts all at once": {"H-2.1/start"},
    "believes every start": {"H-2.1/fails"},
    "200 when all run": {"H-2.1/all-run", "H-2.1/fails"},
    "stops nobody": {"H-2.2/stop", "H-2.2/hanging"},
    "cannot stop nothing": {"H-2.2/idle"},
    "a hanging sensor holds up the others": {"H-2.2/hanging"},
    # viewers
    "a viewer may not speak": {"V-1.1/ignored"},
    "rewrites results": {"V-2.1/bytes"},
    "knows two viewers at most": {"V-2.1/all"},
    "loses a result in a burst": {"V-2.1/all"},
    "shows nothing without the ML service": {
        *(f"V-2.2/{name}" for name in ("silent", "lost", "error", "down", "each")),
        "M-4.1/shown", "M-4.2/error",
    },
    "says ok without a result": {
        *(f"V-2.2/{name}" for name in ("silent", "lost", "error", "down", "each")),
        "M-4.1/shown", "M-4.2/error",
    },
    "drops late results": {"V-2.2/late"},
    "one slow viewer holds up all": {"V-2.3/others"},
    "stops while one is slow": {"V-2.3/others"},
    "drops for slow viewers": {"V-2.3/closed"},
    "locks up when many viewers vanish": {"V-2.4/aborts"},
    "has no past": {"V-3.1/past", "V-3.1/seconds", "V-3.1/prediction"},
    "the past is an error": {"V-3.1/past"},
    "the past has no limit": {"V-3.1/seconds"},
    "predictions before the past": {"V-3.1/prediction"},
    # the ML service
    "dials another path": {"M-1.1/path"},
    "a connection per sensor": {"M-1.1/one"},
    "never redials": {"M-1.1/redials"},
    "redials once": {"M-1.1/persists"},
    "redials at once": {"M-1.1/pace"},
    "a hung ML service stops everything": {"M-1.2/hanging"},
    "loses data while the ML service is down": {"M-1.2/down"},
    "sends 0 for no signal": {"M-2.1/no-signal"},
    "sends resent samples to the ML service": {"M-2.2/once"},
    "relays garbage": GARBAGE | {"M-4.1/wrong-type"},
    "relays wrong types": {"M-4.1/wrong-type"},
    "relays results of strangers": {"M-4.1/stranger"},
}  # fmt: skip
"""Fault of the naive backend -> the checks that find it."""

PROCESS_FAULTS = {
    "runs on without a port": {"C-1.3/port"},
    "waits for the port for ever": {"C-1.3/port"},
    "never ends": {"C-1.2/exit"},
    "stops with an error": {"C-1.2/exit"},
    "stops with 1000": {"C-1.1/closed"},
    "hangs up without a word": {"C-1.1/closed"},
    "leaves examinations open": {"C-1.1/examination"},
    "leaves interrupted examinations open": {"S-5.4/crash"},
    "commits every 2 s": {"S-6.3/committed", "S-6.6/killed", "S-6.6/resent"},
}
"""Those that only the end of a process shows: they need ``--run``."""
