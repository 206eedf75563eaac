"""JUnit XML, which GitHub, GitLab and Jenkins show as tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from runner.terminal import visible


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test."""

    name: str
    """What it is called."""
    failure: str | None = None
    """Why it failed; None: it passed."""


def junit_xml(suite: str, cases: Sequence[Case]) -> bytes:
    """Return one suite of tests as a JUnit file: UTF-8, with `tests`, `failures`, `errors`, `skipped`, `time`."""
    counts = {"tests": str(len(cases)), "failures": str(sum(case.failure is not None for case in cases)), "errors": "0"}
    root = ElementTree.Element("testsuites", {"name": "runner gate", **counts, "time": "0"})
    inner = ElementTree.SubElement(root, "testsuite", {"name": visible(suite), **counts, "skipped": "0", "time": "0"})
    for case in cases:
        attributes = {"name": visible(case.name), "classname": visible(suite), "time": "0"}
        element = ElementTree.SubElement(inner, "testcase", attributes)
        if case.failure is not None:
            failure = ElementTree.SubElement(
                element, "failure", {"message": visible(case.failure), "type": "requirement"}
            )
            failure.text = visible(f"{case.name}: {case.failure}")
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"
