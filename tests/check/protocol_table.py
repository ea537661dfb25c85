"""The table at the end of PROTOCOL.md; written by ``python -m tests.check.protocol_table``."""

import re
from pathlib import Path

from ctgkit.check.backend.catalogue import BACKEND
from ctgkit.check.sensor.catalogue import SENSOR
from ctgkit.check.service.catalogue import SERVICE

PROTOCOL = Path(__file__).parent.parent.parent / "PROTOCOL.md"
MARK = "<!-- checks -->\n"
CLAUSE = re.compile(r"^- \*\*([A-Z]-\d+(?:\.\d+)?)\*\*", re.MULTILINE)
WHY_NONE = {
    "S-2.6": "about ML services and sensors, which the checker doesn't see from a page",
    "M-4.3": "what is stored of results has no table in D",
    "H-1.4": "a backend MAY",
}


def table():
    """Return the table as it should be."""
    judged = {}
    for suffix, catalogue in (("", BACKEND), (" (ml)", SERVICE), (" (sensor)", SENSOR)):
        for check in catalogue.checks.values():
            name = check.id.partition("/")[2] or "-"
            judged.setdefault(check.clause, []).append(name + suffix)
    clauses = CLAUSE.findall(PROTOCOL.read_text())
    rows = []
    for clause in clauses:
        names = " ".join(f"`{name}`" for name in judged.get(clause, ()))
        rows.append(f"| {clause} | {names or WHY_NONE.get(clause, '???')} |")
    return "\n".join(
        [
            "| clause | checks, as `CLAUSE/NAME`; (ml), (sensor): of `check ml`, `check sensor` |",
            "|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    text = PROTOCOL.read_text()
    PROTOCOL.write_text(text.partition(MARK)[0] + MARK + "\n" + table())
