"""JSON Lines read by pyarrow are, cell for cell, what the exact reader gives; or they are read by that one."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.errors import UserError
from runner.recipe.rows.read import read_columns
from runner.recipe.rows.text import Span
from runner.train.data.arrow_files import ArrowColumn, unify_arrow_files, write_arrow_files
from runner.train.data.json_lines.quick import read_quickly

ODD_TEXTS = [
    "", "x", "2024-03-04", "2024-03-04T10:00:00Z", "42", "1.50", "true", "null", "NaN", "Inf",
    '"', "\\", '"role":', '"a":', "}\n{", '}\n{"a":',
    "a\r\nb", "\x00", "\u2028\u2029\x85", "é", "😀", "\x7f", "\ud7ff\ue000\uffff", "\\ud83d", "[", "{}", " ", "\t",
]  # fmt: skip
KEYS = ["a", "b", "content", "role", "é", 'q"a', "a b", "", "back\\slash"]
texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**30, -(10**19), 2**63, 1e308, 0.1234567890123456789, -0.0])
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)
messages = st.lists(
    st.fixed_dictionaries({"role": texts, "content": texts}, optional={"weight": numbers, "name": st.none() | texts}),
    max_size=3,
)
KINDS = {"texts": texts, "nulls": st.none(), "numbers": numbers, "messages": messages, "any": values}


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Lines that are mostly alike, as in real files: the same keys, in which some cells differ from the others."""
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True))
    kinds = {key: draw(st.sampled_from(list(KINDS))) for key in keys}
    lines = []
    for _ in range(draw(st.integers(1, 12))):
        row = {key: draw(KINDS[kinds[key]]) for key in keys}
        if draw(st.integers(0, 9)) == 0:
            row = {**row, draw(st.sampled_from(KEYS)): draw(values)}
        if draw(st.integers(0, 9)) == 0:
            row.pop(draw(st.sampled_from(list(row))))
        line = json.dumps(
            row,
            ensure_ascii=draw(st.booleans()),
            separators=draw(st.sampled_from([(", ", ": "), (",", ":"), (" , ", " : ")])),
        )
        if draw(st.integers(0, 19)) == 0:
            line = draw(
                st.sampled_from([f" {line}", f"{line} ", f"{line}\r", f"{line} {line}", f"{line}\n", f"\n{line}"])
            )
        lines.append(line)
    return "\n".join(lines).encode() + draw(st.sampled_from([b"", b"\n", b"\n\n", b" \n"]))


def rows(paths: list[Path]) -> tuple[dict[str, bool], list[dict[str, Any]]]:
    paths, kinds = unify_arrow_files(paths)
    found = []
    for path in paths:
        with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as reader:
            found += reader.read_all().to_pylist()
    return kinds, [
        {name: json.loads(cell) if kinds[name] and cell is not None else cell for name, cell in row.items()}
        for row in found
    ]


def exactly(path: Path, folder: Path) -> tuple[dict[str, bool], str] | None:
    try:
        kinds, found = rows(write_arrow_files(read_columns(path, where="a"), folder))
    except UserError:
        return None
    return kinds, repr(found)  # NaN is NaN


def quickly(path: Path, folder: Path, block_bytes: int) -> tuple[dict[str, bool], str] | None:
    span = Span(0, path.stat().st_size)
    try:
        kinds, found = rows(write_arrow_files(read_quickly(path, span, block_bytes=block_bytes), folder))
    except UserError:
        return None
    return kinds, repr(found)


@settings(max_examples=300, deadline=None)
@given(files(), st.sampled_from([1, 60, 200, 1 << 20]))
@example(b'{"a": "x", "a": "y"}\n', 100)
@example(b'{"a": [1], "a": [2]}\n', 100)
@example(b'{"a": "x"} {"a": "y"}\n{"a":\n"z"}\n', 100)
@example(b'{"a": [{"b": 1, "c": "\\"b\\":"}], "b": 2}\n', 100)
@example(b'{"a": [{"\\u0062": 1}], "b": [2]}\n', 100)
@example(b'{"a": {"x\\"b": 1}, "b": [2]}\n', 100)
@example(b'{"a": [NaN, Infinity, -Infinity], "b": NaN}\n', 100)
@example(b'{"a": [Inf]}\n', 100)
@example(b'{"a": Inf}\n', 100)
@example(b'{"a": ' + b"1" * 5000 + b"}\n", 100)
@example(b'{"a": [' + b"1" * 5000 + b"]}\n", 100)
@example(b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}\n", 100)
@example(b'{"a": "\\ud83d"}\n', 100)
@example(b'{"a": ["\\udc00"]}\n', 100)
@example(b'{"a": "\\ud83d\\ude00"}\n', 100)
@example(b'{"a": "\\ud83dx"}\n', 100)
@example(b'{"a": "\\ud83d\\ud83d"}\n', 100)
@example(b'{"a": "\\uDE00\\uD83D"}\n', 100)
@example(b'{"a": [{"\\ud83d": "x"}]}\n', 100)
@example(b'{"\\udc00": "x"}\n', 100)
@example(b'{"a": "\xff"}\n', 100)
@example(b'{"a": "\xed\xa0\x80"}\n', 100)
@example(b'{"a": "x\x00y"}\n', 100)
@example(b'{"a": "x\ry"}\n', 100)
@example(b'{"a": "x"}\r{"a": "y"}\n', 100)
@example(b'{"a": "x"}\r\n{"a": "y"}\r\n', 100)
@example(b'\xef\xbb\xbf{"a": "x"}\n', 100)
@example(b'{"a": "x"}\n[{"a": "y"}]\n', 1)
@example(b'{"a": "x"}\n[{"a": "y"}]\n', 100)
@example(b'{"a": "x"}\nnull\n', 100)
@example(b'{"a": "x"}\n{"a": "y"', 100)
@example(b'{"a": null}\n{"a": null}\n{"a": 1}\n', 13)
@example(b'{"a": "x"}\n{"a": "y"}\n{"a": 1}\n', 13)
@example(b'{"a": [1]}\n{ "a": [1]}\n{"a" : [1]}\n{"a":null}\n', 100)
@example(b'{"a": "x"}\n{"b": "y", "c": "z"}\n{"c": "z", "b": "y"}\n', 100)
@example(b'{"b": "' + b"y" * 100_000 + b'"}\n' + b'{"b": "2024-03-04"}\n', 100)
def test_each_cell_is_what_the_exact_reader_gives(data: bytes, block_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.jsonl"
        path.write_bytes(data)
        read = quickly(path, Path(name), block_bytes)
        if read is None and data.count(b"{}"):
            return  # a block of rows without columns ends the quick reading
        assert read == exactly(path, Path(name))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2024-03-04 é", "completion": "\x00 \n"},
        {
            "messages": [
                {"role": "user", "content": '"messages": 😀'},
                {"role": "assistant", "content": "", "weight": 0},
            ]
        },
        {
            "id": 1,
            "messages": [{"role": "user", "content": "x"}],
            "source": "y",
            "score": 1.5,
            "ok": True,
            "none": None,
        },
        {"prompt": [{"role": "user", "content": "x"}], "chosen": [{"role": "a", "content": "é"}], "rejected": []},
    ],
)
@pytest.mark.parametrize("escaped", [True, False])
def test_usual_rows_are_read_by_pyarrow(tmp_path: Path, row: dict[str, Any], escaped: bool) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text((json.dumps(row, ensure_ascii=escaped) + "\n") * 50)
    batches = list(read_quickly(path, Span(0, path.stat().st_size), block_bytes=500))
    assert len(batches) > 1
    assert all(isinstance(column, ArrowColumn) for batch in batches for column in batch.values())
