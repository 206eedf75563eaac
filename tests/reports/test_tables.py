"""Numbers and columns are written as people read them."""

import pytest

from runner.reports.tables import Column, duration, fitting_table, number, size, text_table


def test_columns_line_up_and_no_line_ends_in_blanks() -> None:
    table = text_table(["NAME", "N"], [["a", "1"], ["longer", "22"]], right=(1,))
    assert table == "NAME     N\na        1\nlonger  22"


def test_a_table_without_rows_is_its_header() -> None:
    assert text_table(["A", "B"], []) == "A  B"


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (None, "NAME  A    LONG  B"),
        (18, "NAME  A    LONG  B"),
        (17, "NAME  A    LONG"),
        (11, "NAME  A  B"),
        (9, "NAME  A"),
        (3, "NAME  A"),
    ],
)
def test_a_table_leaves_out_the_columns_that_do_not_fit(width: int | None, titles: str) -> None:
    columns = [
        Column(title="NAME", cells=["one"]),
        Column(title="A", cells=["1"]),
        Column(title="LONG", cells=["123456"], right=True, optional=True),
        Column(title="B", cells=["2"], optional=True),
    ]
    assert fitting_table(columns, width).splitlines()[0] == titles


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-3, "0s"), (59.6, "1m 0s"), (200, "3m 20s"), (7500, "2h 5m"), (273600, "3d 4h")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (12, "12"),
        (2.34567, "2.3457"),
        (1234.56, "1234.6"),
        (0.0, "0.0000"),
        (2e-4, "2.00e-04"),
        (-0.5, "-0.5000"),
        (3e7, "3.00e+07"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ("during", "during"),
    ],
)
def test_numbers(value: object, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
