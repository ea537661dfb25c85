"""JUnit XML, as CI systems read it.

This module performs no I/O.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from xml.etree import ElementTree

from ctgkit.errors import printable


class Case(NamedTuple):
    """One test case of a suite."""

    classname: str
    name: str
    outcome: Literal["pass", "fail", "skipped"]
    message: str = ""
    """Why it failed or was skipped, in one line."""
    text: str = ""
    """What else there is to say, in any number of lines."""
    seconds: float = 0.0


def as_junit(suite: str, cases: Sequence[Case]) -> bytes:
    """Return a suite of cases as an XML document."""
    outcomes = [case.outcome for case in cases]
    root = ElementTree.Element(
        "testsuite",
        name=printable(suite),
        tests=str(len(cases)),
        failures=str(outcomes.count("fail")),
        errors="0",
        skipped=str(outcomes.count("skipped")),
        time=f"{sum(case.seconds for case in cases):.3f}",
    )
    for case in cases:
        element = ElementTree.SubElement(
            root,
            "testcase",
            classname=case.classname,
            name=printable(case.name),
            time=f"{case.seconds:.3f}",
        )
        message, text = printable(case.message), "\n".join(map(printable, case.text.split("\n")))
        if case.outcome == "skipped":
            ElementTree.SubElement(element, "skipped", message=message)
        elif case.outcome == "fail":
            ElementTree.SubElement(element, "failure", message=message).text = text
        elif text:
            ElementTree.SubElement(element, "system-out").text = text
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
