"""JUnit XML."""

from xml.etree import ElementTree

from runner.reports.junit import Case, junit_xml


def test_a_suite_is_valid_xml_whatever_its_cases_are_called() -> None:
    data = junit_xml("run", [Case(name="a < 1 & b"), Case(name="c\x00\x1b[31m", failure="2 <= 1 \x07")])
    (suite,) = ElementTree.fromstring(data)
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("run", "2", "1", "0")
    first, second = suite
    assert (first.get("name"), len(first)) == ("a < 1 & b", 0)
    assert second[0].get("message", "").startswith("2 <= 1 ")
