"""What is read from a data file is what stands in it, by rows and by columns alike."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import UserError
from runner.recipe.rows.columns import Column
from runner.recipe.rows.numbers import WrittenFloat, written_text
from runner.recipe.rows.read import read_columns, read_rows, row_word
from runner.recipe.rows.text import PIECE_BYTES

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "2024-03-04",
        "02130",
        "4",
        "True",
        "None",
        "NA",
        "null",
        '{"city": "Oslo"}',
        "1.50",
        "",
        " ",
        "\\ud800",
        "\U0001f600",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "é", "", "messages"]), VALUES, min_size=1), min_size=1, max_size=8
)
FLAT_ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), SCALARS, min_size=1), min_size=1, max_size=8)


def rows_of(path: Path, content: str | bytes) -> list[tuple[int, dict[str, Any]]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(path, where=path.name))


def by_column(path: Path) -> dict[str, list[Any]]:
    """Return all cells by column, as the training side understands them."""
    count, columns = 0, dict[str, list[Any]]()
    for batch in read_columns(path, where=path.name):
        for name, column in batch.items():
            columns.setdefault(name, [None] * count).extend(map(decoder(column), column.cells))
        count += len(next(iter(batch.values())).cells)
        for cells in columns.values():
            cells += [None] * (count - len(cells))
    return columns


def decoder(column: Column) -> Any:
    return (lambda cell: None if cell is None else json.loads(cell)) if column.is_json else lambda cell: cell


@settings(max_examples=60, deadline=None)
@given(rows=ROWS | FLAT_ROWS, ascii_only=st.booleans(), form=st.sampled_from(["jsonl", "lines", "array", "indented"]))
def test_json_is_read_as_json_loads_reads_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ascii_only: bool, form: str
) -> None:
    path = tmp_path_factory.mktemp("rows") / ("a.jsonl" if form == "jsonl" else "a.json")
    if form in ("jsonl", "lines"):
        text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    else:
        text = json.dumps(rows, ensure_ascii=ascii_only, indent=2 if form == "indented" else None)
    if "\\u0000" not in text:
        expected = json.loads(json.dumps(rows))
        assert [row for _, row in rows_of(path, text)] == expected
        names = dict.fromkeys(name for row in rows for name in row)
        assert by_column(path) == {name: [row.get(name) for row in expected] for name in names}


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_csv_is_read_as_csv_reads_it_and_every_cell_is_text(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], end: str
) -> None:
    cells = [(a.replace("\0", ""), b.replace("\0", "")) for a, b in cells]
    path, text = tmp_path_factory.mktemp("rows") / "a.csv", io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *cells])
    assert [(row["a"], row["b"]) for _, row in rows_of(path, text.getvalue())] == cells
    assert by_column(path) == {"a": [a for a, _ in cells], "b": [b for _, b in cells]}


def test_rows_longer_than_what_is_read_at_a_time_are_read_whole(tmp_path: Path) -> None:
    rows = [{"text": "é" * (PIECE_BYTES + 7), "n": [1]}, {"text": "short"}, {"text": "x" * (3 * PIECE_BYTES)}]
    for name, text in (("a.jsonl", "\n".join(map(json.dumps, rows))), ("a.json", json.dumps(rows))):
        assert [row for _, row in rows_of(tmp_path / name, text)] == rows
        assert by_column(tmp_path / name)["text"] == [row["text"] for row in rows]
    assert rows_of(tmp_path / "a.csv", f"t\n{rows[2]['text']}\n") == [(2, {"t": rows[2]["text"]})]


def test_a_number_is_shown_as_it_is_written(tmp_path: Path) -> None:
    [(_, row)] = rows_of(tmp_path / "a.jsonl", '{"price": 1.50, "large": 1e3, "n": 12345678901234567890123}')
    assert {name: written_text(value) for name, value in row.items()} == {
        "price": "1.50",
        "large": "1e3",
        "n": "12345678901234567890123",
    }
    assert row["price"] == 1.5
    assert isinstance(row["price"], WrittenFloat)
    [columns] = read_columns(tmp_path / "a.jsonl", where="a")
    assert {name: column.cells for name, column in columns.items()} == {
        "price": ["1.50"],
        "large": ["1e3"],
        "n": ["12345678901234567890123"],
    }


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.txt", "\ufefffirst\r\nsecond\r\n\r\n", [(1, "first"), (2, "second"), (3, "")]),
        ("a.txt", "one\rtwo\x0c\u2028same", [(1, "one"), (2, "two\x0c\u2028same")]),
        ("a.jsonl", '\ufeff{"text": "a"}\r\n \r\n{"text": "b"}', [(1, "a"), (3, "b")]),
        ("a.jsonl", '{"text": "a"}\r{"text": "b"}\r', [(1, "a"), (2, "b")]),
        ("a.json", '\n[{"text": "a"},\n {"text": "b"}]\n', [(1, "a"), (2, "b")]),
        ("a.json", '{\n"text": "a"}\n\n{"text":\n"b"}', [(1, "a"), (4, "b")]),
        ("a.csv", '\ufefftext\n"a\r\nb"\n\nNA\n', [(2, "a\r\nb"), (5, "NA")]),
    ],
)
def test_line_ends_marks_and_numbers(tmp_path: Path, name: str, content: str, rows: list[tuple[int, str]]) -> None:
    """The byte order mark and the ends of lines are not part of a text, and lines are counted as an editor does."""
    assert [(number, row["text"]) for number, row in rows_of(tmp_path / name, content)] == rows


def test_only_the_rows_of_an_array_are_counted_by_themselves(tmp_path: Path) -> None:
    for name, content, word in (("a.json", " [{}]", "row"), ("b.json", "{}", "line"), ("a.csv", "a\n", "line")):
        (tmp_path / name).write_text(content)
        assert row_word(tmp_path / name, where=name) == word


def test_a_csv_row_that_is_too_short_has_nulls_and_empty_cells_too_many_are_left_out(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.csv", "a,,b\n1\n1,2,3,,\n,,\n   \n")
    assert rows == [
        (2, {"a": "1", "Unnamed: 1": None, "b": None}),
        (3, {"a": "1", "Unnamed: 1": "2", "b": "3"}),
        (4, {"a": "", "Unnamed: 1": "", "b": ""}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": \n{"a": 2}', "line 2 is not JSON: Expecting value, at its character 7"),
        ("a.jsonl", '{"a": 1} {"a": 2}\n', "line 1 is not JSON: Extra data"),
        ("a.jsonl", '{"a": 1}\n[1]\n', "line 2 is not an object"),
        ("a.jsonl", '{"a": "\\ud83d"}\n', "line 1 holds half of a character, \\ud83d"),
        ("a.jsonl", '{"a": [{"b": "\\udc00"}]}\n', "line 1 holds half of a character, \\udc00"),
        ("a.jsonl", '{"a": %s}' % ("1" * 5000), "more than 4300 digits"),
        ("a.jsonl", '{"a": %s}' % ("[" * 100_000), "nested too deeply"),
        ("a.jsonl", b'{"a": "x"}\n{"a": "caf\xe9"}\n', "line 2 is not UTF-8 text (byte 0xE9)"),
        ("a.jsonl", b'{"a": "x"}\n\0\0\0\0', "line 2 holds a NUL byte"),
        ("a.jsonl", '{"a": 1}\n'.encode("utf-16"), "the file is UTF-16 text"),
        ("a.csv", "a\n1\n".encode("utf-16-le"), "it is UTF-16, or not text"),
        ("a.txt", "text\n".encode("utf-32"), "the file is UTF-32 text"),
        ("a.json", '[{"a": 1}, {"a": tru}]', "row 2 is not JSON: Expecting value, at its character 7"),
        ("a.json", '[{"a": 1} {"a": 2}]', "behind row 1, `,` or `]` is expected, not `{`"),
        ("a.json", '[{"a": 1}', "not the end of the file"),
        ("a.json", '[{"a": 1}] []', "text follows the `]`"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, and the header 2"),
        ("a.csv", 'a,b\n1,2\n3,"4\n5,6\n', "line 3 is not CSV: a quote that opens a cell there is never closed"),
        ("a.csv", 'a,b\n"x" y,2\n', "line 2 is not CSV: text follows the quote"),
        ("a.csv", "a,b,a\n1,2,3\n", "names `a` twice"),
    ],
)
def test_a_broken_row_is_named_by_its_number(tmp_path: Path, name: str, content: str | bytes, what: str) -> None:
    """By either way of reading, with what is wrong and the file."""
    with pytest.raises(UserError) as caught:
        rows_of(tmp_path / name, content)
    assert what in caught.value.what
    assert caught.value.where == name
    with pytest.raises(UserError) as again:
        list(read_columns(tmp_path / name, where=name))
    assert again.value.what == caught.value.what


def test_what_stands_before_a_broken_row_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xe9"}\n')
    assert next(read_rows(path, where="a")) == (1, {"a": 1})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'a;b\n"x;1";2,5\n'),
        ("a.csv", "a\tb\nx;1\t2,5\n"),
        ("a.csv", "\na|b\nx;1|2,5\n"),
        ("a.tsv", "a\tb\nx;1\t2,5\n"),
        ("a.csv", 'a,b\nx;1,"2,5"\n'),
    ],
)
def test_the_header_says_what_separates_cells(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert [row for _, row in read_rows(tmp_path / name, where=name)] == [{"a": "x;1", "b": "2,5"}]


def test_a_header_of_one_column_is_one_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\na;b\n")
    assert [row for _, row in read_rows(tmp_path / "a.csv", where="a.csv")] == [{"text": "a;b"}]
